//! What a text says before it is saved: on all channels of its key, by the renderer of the messages themselves, with what there is
//! to say about it at its line.

use std::sync::Arc;

use axum::extract::State;
use axum::http::header::CONTENT_SECURITY_POLICY;
use axum::response::{IntoResponse, Response};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use recado_kernel::clock::Timestamp;
use recado_kernel::db::Session;
use recado_kernel::errors::explain;
use recado_kernel::ids::Id;
use recado_kernel::language::{Language, Sentence};
use recado_notifications::catalogue::Catalogue;
use recado_notifications::channels::Channel;
use recado_notifications::customers::{self, Customer, SearchIn};
use recado_notifications::mail_body::MailBody;
use recado_notifications::sent_variables::{self, Sent};
use recado_notifications::templates::all_channels::{PUSH_BODY, PUSH_TITLE, Said, on_all_channels};
use recado_notifications::templates::remarks::{About, Remark, remarks};
use recado_notifications::templates::rendering::{
    CompiledTemplate, Context, Part, Rendered, VARIABLES, normalise, sample_context,
};
use recado_notifications::templates::{self, Template, TemplateDraft, TemplateKey, TemplateScope, filled};
use recado_notifications::vehicles::{self, VehicleFilter};
use recado_notifications::workshops::Workshop;
use serde::{Deserialize, Serialize};

use super::texts::template_path;
use crate::Console;
use crate::auth::{Look, May};
use crate::bubble::bubble;
use crate::failure::Failure;
use crate::form::Form;
use crate::page::{Markup, Page};
use recado_kernel::users::Role;

/// Of a mail: nothing is loaded, nothing runs, and its styles stand in it.
const FRAME_POLICY: &str = "sandbox; default-src 'none'; img-src data:; style-src 'unsafe-inline'";

/// What fits into the address of a frame past every proxy. Longer texts are shown as HTML on demand.
const LONGEST_ADDRESS: usize = 6_000;

/// Customers that are offered for a name.
const OFFERED: i64 = 5;

/// The preview, ready to be drawn.
#[derive(Default)]
pub(super) struct Preview {
    pub(super) said: Vec<Shown>,
    pub(super) remarks: Vec<Told>,
    pub(super) customer: Option<Offered>,
    /// Customers who may be meant.
    pub(super) offered: Vec<Offered>,
    pub(super) is_unknown: bool,
}

pub(super) struct Offered {
    pub(super) id: String,
    pub(super) name: String,
}

/// A remark.
pub(super) struct Told {
    pub(super) is_fatal: bool,
    pub(super) part: &'static str,
    pub(super) line: Option<usize>,
    pub(super) sentence: String,
}

/// The words of one channel.
pub(super) struct Shown {
    pub(super) channel: Channel,
    /// Where the template is, and its name; none for the text that is being written.
    pub(super) template: Option<(String, String)>,
    pub(super) problem: Option<String>,
    pub(super) subject: String,
    pub(super) body: String,
    /// As phones show a WhatsApp.
    pub(super) bubble: Markup,
    /// A push: what is shown and what is cut, with how long they are.
    pub(super) title: Cut,
    pub(super) text: Cut,
    /// Where a mail is shown as HTML; none when it is too long for that.
    pub(super) frame: Option<String>,
}

/// A text of which a phone shows the beginning.
#[derive(Default)]
pub(super) struct Cut {
    pub(super) kept: String,
    pub(super) cut: String,
    pub(super) length: usize,
    pub(super) most: usize,
}

impl Cut {
    fn of(text: &str, most: usize) -> Self {
        let end = text.char_indices().nth(most).map_or(text.len(), |(end, _)| end);
        let (kept, cut) = text.split_at(end);
        Self { kept: kept.to_owned(), cut: cut.to_owned(), length: text.chars().count(), most }
    }
}

/// What the frame of a mail is asked for.
#[derive(Default, Serialize, Deserialize)]
struct Framed {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    id: Option<Id>,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    subject: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    body: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    customer: String,
}

impl Framed {
    fn address(&self) -> Option<String> {
        let told = URL_SAFE_NO_PAD.encode(serde_json::to_vec(self).ok()?);
        (told.len() <= LONGEST_ADDRESS).then(|| format!("/admin/templates/frame/?told={told}"))
    }
}

/// What is previewed, and with whose values.
pub(super) struct Wanted<'w> {
    pub(super) draft: &'w TemplateDraft,
    pub(super) place: TemplateScope,
    /// The text that is in use.
    pub(super) saved: Option<&'w Template>,
    /// A customer, by id or name.
    pub(super) customer: String,
}

/// Draws a preview.
pub(super) async fn preview(console: &Console, page: &Page, wanted: Wanted<'_>) -> Result<Preview, Failure> {
    let Wanted { draft, place, saved, customer } = wanted;
    let (catalogue, now) = (console.catalogue().await?, page.visit.now);
    let sent = sent_lately(console, draft.event_type.as_deref(), now).await?;
    let mut session = console.context.db.read().await?;
    let (found, offered) = match customer.is_empty() || !page.may_edit() {
        true => (None, Vec::new()),
        false => meant(&mut session, &customer).await?,
    };
    let strict_case = console.context.config.template_strict_case;
    let workshop = catalogue.workshop(draft.taller_id.as_deref());
    let values = values(&mut session, found.as_ref(), workshop, strict_case).await?;
    drop(session);
    let is_unknown = !customer.is_empty() && page.may_edit() && found.is_none();
    let (draft, in_use, language) = (draft.clone(), saved.cloned(), page.visit.words.language);
    let work = move || rendered(&catalogue, &draft, place, in_use.as_ref(), &sent, &values, strict_case);
    let (draft, said, remarks) = off_runtime(work).await;
    let id = found.as_ref().map(|customer| customer.customer_id.clone()).unwrap_or_default();
    Ok(Preview {
        said: said.into_iter().map(|said| shown(said, &draft, &id, language)).collect(),
        remarks: remarks.into_iter().map(|remark| told(&remark, language)).collect(),
        customer: found.as_ref().map(offer),
        offered: offered.iter().map(offer).collect(),
        is_unknown,
    })
}

fn rendered(
    catalogue: &Catalogue,
    draft: &TemplateDraft,
    place: TemplateScope,
    in_use: Option<&Template>,
    sent: &[Sent],
    values: &Context,
    strict_case: bool,
) -> (TemplateDraft, Vec<Said>, Vec<Remark>) {
    let key = TemplateKey {
        channel: draft.channel.unwrap_or(Channel::Email),
        target: draft.target,
        event_type: draft.event_type.as_deref().unwrap_or_default(),
        service_type_id: place.service_type_id,
        subtype_id: place.subtype_id,
        phase_id: place.phase_id,
        taller_id: draft.taller_id.as_deref(),
    };
    let compile = |subject: &str, body: &str| CompiledTemplate::compile(subject, body, strict_case).ok();
    let compiled = compile(&draft.subject, &draft.body);
    let in_use = in_use.and_then(|template| compile(&template.subject, &template.body));
    let said = on_all_channels(catalogue, compiled.as_ref(), &key, values);
    let remarks = match &compiled {
        Some(compiled) => remarks((&draft.subject, &draft.body), compiled, in_use.as_ref(), sent, strict_case),
        None => {
            let flaws = templates::flaws(&draft.subject, &draft.body, strict_case).into_iter();
            flaws.map(|flaw| Remark { part: flaw.part, line: flaw.line, about: About::Flaw(flaw.problem) }).collect()
        }
    };
    (draft.clone(), said, remarks)
}

fn told(remark: &Remark, language: Language) -> Told {
    Told {
        is_fatal: remark.about.is_fatal(),
        part: match remark.part {
            Part::Subject => "subject",
            Part::Body => "body",
        },
        line: remark.line,
        sentence: remark.about.sentence(language),
    }
}

fn shown(said: Said, draft: &TemplateDraft, customer: &str, language: Language) -> Shown {
    let Said { channel, template, words } = said;
    let (words, problem) = match words {
        Ok(words) => (words, None),
        Err(problem) => (
            Rendered { subject: String::new(), body: String::new(), html: false },
            Some(problem.told(language).to_owned()),
        ),
    };
    let framed = Framed { customer: customer.to_owned(), ..Framed::default() };
    let framed = match &template {
        Some((id, _)) => Framed { id: Some(*id), ..framed },
        None => Framed { subject: draft.subject.clone(), body: draft.body.clone(), ..framed },
    };
    let is_push = channel == Channel::Push;
    let is_shown = |channel_of: Channel| channel == channel_of && problem.is_none();
    Shown {
        frame: is_shown(Channel::Email).then(|| framed.address()).flatten(),
        template: template.map(|(id, name)| (template_path(id), name)),
        bubble: if is_shown(Channel::Whatsapp) { bubble(&words.body) } else { Markup::default() },
        title: if is_push { Cut::of(&words.subject, PUSH_TITLE) } else { Cut::default() },
        text: if is_push { Cut::of(&words.body, PUSH_BODY) } else { Cut::default() },
        body: if is_shown(Channel::Email) {
            MailBody::of(&words.subject, &words.body, words.html).text
        } else {
            words.body
        },
        subject: words.subject,
        channel,
        problem,
    }
}

fn offer(customer: &Customer) -> Offered {
    Offered { id: customer.customer_id.clone(), name: customer.full_name() }
}

/// The customer with this id, or else those whose name it is part of.
async fn meant(session: &mut Session, customer: &str) -> Result<(Option<Customer>, Vec<Customer>), Failure> {
    if let Some(found) = customers::find(session, customer).await? {
        return Ok((Some(found), Vec::new()));
    }
    let (mut offered, _) = customers::list(session, Some((customer, SearchIn::Names)), OFFERED, 0).await?;
    let only = (offered.len() == 1).then(|| offered.remove(0));
    Ok((only, offered))
}

/// What variables hold: what is known of a customer, and the examples for the rest.
async fn values(
    session: &mut Session,
    customer: Option<&Customer>,
    workshop: Option<&Workshop>,
    strict_case: bool,
) -> Result<Context, Failure> {
    let Some(customer) = customer else { return Ok(sample_context(strict_case)) };
    let filter = VehicleFilter { customer_id: Some(customer.customer_id.clone()), plate: None };
    let (vehicles, _) = vehicles::list(session, &filter, 1, 0).await?;
    let mut values = Context::empty(strict_case).with("Nombre", &customer.full_name());
    if let Some(vehicle) = vehicles.first() {
        values = values.with("Placa", &vehicle.plate).with("Vehículo", &vehicle.display_name());
    }
    if let Some(workshop) = workshop {
        values = values.with("Taller", &workshop.name);
    }
    Ok(VARIABLES.iter().fold(values, |values, variable| values.with(variable.name(), variable.example)))
}

/// What callers sent lately, what this process has noted itself included.
async fn sent_lately(console: &Console, event_type: Option<&str>, now: Timestamp) -> Result<Vec<Sent>, Failure> {
    if let Err(error) = console.notifications.sent_variables.write(&console.context.db).await {
        tracing::debug!(error = %explain(&error), "the names of variables are written later");
    }
    Ok(sent_variables::lately(&mut console.context.db.read().await?, event_type, now).await?)
}

/// A variable of the palette.
pub(super) struct Chip {
    /// What is put in: `{{Nombre}}`.
    pub(super) written: String,
    pub(super) description: &'static str,
    pub(super) example: &'static str,
}

/// The variables that a text may use: those of the documents, and the names that callers send.
pub(super) async fn palette(console: &Console, draft: &TemplateDraft, now: Timestamp) -> Result<Vec<Chip>, Failure> {
    let documented = VARIABLES.iter().map(|variable| Chip {
        written: variable.label.to_owned(),
        description: variable.description,
        example: variable.example,
    });
    let sent = sent_lately(console, draft.event_type.as_deref(), now).await?;
    let is_new = |name: &str| !name.is_empty() && VARIABLES.iter().all(|variable| variable.id != normalise(name));
    let names: std::collections::BTreeSet<&str> =
        sent.iter().map(|sent| sent.variable.as_str()).filter(|name| is_new(name)).take(60).collect();
    let more = names.into_iter().map(|name| Chip { written: format!("{{{{{name}}}}}"), description: "", example: "" });
    Ok(documented.chain(more).collect())
}

/// A mail as HTML, for the frame of a preview: asked for with an address, or with the form itself where that is too long.
pub(crate) async fn frame(
    may: May<Look>,
    State(console): State<Arc<Console>>,
    form: Form,
) -> Result<Response, Failure> {
    let framed = match form.optional("told") {
        Some(told) => read(&told).ok_or(Failure::Malformed)?,
        None => Framed {
            id: None,
            subject: form.text("subject"),
            body: form.value("body").to_owned(),
            customer: form.text("customer"),
        },
    };
    let catalogue = console.catalogue().await?;
    let (subject, body) = match framed.id {
        Some(id) => {
            let template = catalogue.template(id).ok_or(Failure::NotFound)?;
            (template.subject.clone(), template.body.clone())
        }
        None => (framed.subject, framed.body),
    };
    let strict_case = console.context.config.template_strict_case;
    let mut session = console.context.db.read().await?;
    let customer = match framed.customer.is_empty() || !may.visit.may(Role::Editor) {
        true => None,
        false => customers::find(&mut session, &framed.customer).await?,
    };
    let values = values(&mut session, customer.as_ref(), None, strict_case).await?;
    drop(session);
    let mail = off_runtime(move || mail(&subject, &body, &values, strict_case)).await.ok_or(Failure::NotFound)?;
    let headers =
        [(CONTENT_SECURITY_POLICY, FRAME_POLICY), (axum::http::header::CONTENT_TYPE, "text/html; charset=utf-8")];
    Ok((headers, mail).into_response())
}

/// The words of a text for a customer or the examples. `Err` within: with these values it says nothing.
pub(super) async fn words_for(
    console: &Console,
    draft: &TemplateDraft,
    customer: &str,
) -> Result<Result<Rendered, Sentence>, Failure> {
    let (catalogue, mut session) = (console.catalogue().await?, console.context.db.read().await?);
    let customer = if customer.is_empty() { None } else { customers::find(&mut session, customer).await? };
    let strict_case = console.context.config.template_strict_case;
    let workshop = catalogue.workshop(draft.taller_id.as_deref());
    let values = values(&mut session, customer.as_ref(), workshop, strict_case).await?;
    drop(session);
    let (subject, body) = (draft.subject.clone(), draft.body.clone());
    let work = move || {
        let compiled = CompiledTemplate::compile(&subject, &body, strict_case)?;
        compiled.render(&filled(&compiled, &values))
    };
    Ok(off_runtime(work).await.map_err(|error| error.explanation()))
}

fn read(told: &str) -> Option<Framed> {
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(told).ok()?).ok()
}

fn mail(subject: &str, body: &str, values: &Context, strict_case: bool) -> Option<String> {
    let compiled = CompiledTemplate::compile(subject, body, strict_case).ok()?;
    let rendered = compiled.render(&filled(&compiled, values)).ok()?;
    Some(MailBody::of(&rendered.subject, &rendered.body, rendered.html).html)
}

/// Compiling and rendering take milliseconds where a text is meant to be costly: other requests do not wait for that.
pub(super) async fn off_runtime<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    tokio::task::spawn_blocking(work).await.expect("a text is rendered or refused, and no reason to panic")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_push_is_cut_where_phones_cut_it() {
        let cut = Cut::of(&"ñ".repeat(70), 60);
        assert_eq!((cut.kept.chars().count(), cut.cut.chars().count(), cut.length), (60, 10, 70));
        assert!(Cut::of("corto", 60).cut.is_empty());
    }

    #[test]
    fn what_a_frame_shows_comes_back_from_its_address() {
        let framed = Framed { subject: "Añ & <b>".into(), body: "x".into(), ..Framed::default() };
        let address = framed.address().expect("it is short");
        let told = address.split_once("told=").expect("it is told").1;
        assert_eq!(read(told).expect("it is read").subject, framed.subject);
        assert!(Framed { body: "x".repeat(10_000), ..Framed::default() }.address().is_none());
        assert!(read("zz!").is_none());
    }
}
