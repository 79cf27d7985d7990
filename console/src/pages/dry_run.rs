//! The dry run: what would become of an event, now or as if it were another moment, by the path on which events are taken in; and then
//! the same event in earnest.

use std::sync::Arc;

use askama::Template;
use axum::extract::State;
use axum::response::Response;
use chrono::{LocalResult, NaiveDateTime, TimeZone};
use chrono_tz::Tz;
use recado_kernel::clock::Timestamp;
use recado_kernel::ids::Id;
use recado_kernel::language::Language;
use recado_notifications::channels::Channel;
use recado_notifications::dispatch::{
    self, CUSTOM, EVENT_TYPES, Event, FARTHEST, Preview, PreviewMessage, Rejection, Request,
};
use recado_notifications::orchestration;
use recado_notifications::targets::Target;
use serde_json::{Map, Value};
use url::form_urlencoded;

use crate::Console;
use crate::auth::{Look, May, Operate};
use crate::bubble;
use crate::failure::Failure;
use crate::form::Form;
use crate::notice::{Notice, then};
use crate::page::{Markup, Page, html, refused};
use crate::pages::inbox;

const PATH: &str = "/admin/try/";

/// How the fields of variables are called: `var_nombre`.
const VARIABLE: &str = "var_";

/// Variables that most texts have.
const USUAL: [&str; 5] = ["nombre", "placa", "vehiculo", "fecha", "hora"];

/// What a `custom` event brings along.
const OWN_WORDS: [&str; 2] = ["subject", "body"];

/// The example of the document, which `recado up` knows.
const SAMPLE: [(&str, &str); 9] = [
    ("event_type", "appointment_scheduled"),
    ("service_type_id", "mantenimiento-preventivo"),
    ("phase_id", "phase-schedule"),
    ("target", "clients"),
    ("var_nombre", "Carlos Mendoza"),
    ("var_placa", "ABC123"),
    ("var_vehiculo", "Haval H6 2024"),
    ("var_fecha", "20 de Enero, 2026"),
    ("var_hora", "14:30"),
];

/// The example's customer.
const SAMPLE_CUSTOMER: &str = "customer-001";

/// A frame asks for what it shows with the fields in its URL, which servers limit.
const LONGEST_URL: usize = 6_000;

/// A choice of a list: what is sent, and what is read.
type Choice = (String, String);

#[derive(Template)]
#[template(path = "dry_run/show.html")]
struct TryPage {
    page: Page,
    form: Form,
    event_types: Vec<Choice>,
    services: Vec<Choice>,
    phases: Vec<Choice>,
    targets: Vec<Choice>,
    channels: Vec<Choice>,
    /// The fields of variables: what they are called, and the variable.
    variables: Vec<(String, String)>,
    /// What is wrong with the event as a whole.
    wrong: Vec<String>,
    result: Option<Outcome>,
    /// The event as JSON, for curl.
    body: String,
    as_if: Option<Timestamp>,
}

/// What would become of it.
struct Outcome {
    customer_id: String,
    customer_name: Option<String>,
    send_at: Timestamp,
    /// Why not at once.
    deferred: Option<String>,
    is_sequence: bool,
    messages: Vec<Message>,
    skipped: Vec<(&'static str, String)>,
    /// The fields again, for the form that sends it.
    fields: Vec<(String, String)>,
    asks_for_customer: bool,
}

struct Message {
    channel: &'static str,
    is_push: bool,
    place: i64,
    reason: String,
    to: Option<String>,
    unusual: bool,
    template: String,
    subject: String,
    /// Where a mail's HTML is drawn.
    frame: Option<String>,
    bubble: Option<Markup>,
    body: String,
}

/// `/admin/try/`: the form, filled in as the URL says. With a customer it is tried at once.
pub(crate) async fn show(may: May<Look>, State(console): State<Arc<Console>>, form: Form) -> Result<Response, Failure> {
    let is_empty = form.value("event_type").is_empty();
    let form = if is_empty { sample_form(&console) } else { form };
    let runs = form.optional("customer_id").is_some();
    let (page, _) = decide(&console, &may, form, runs).await?;
    if is_empty && page.result.is_none() {
        // The example's customer is not known here: that is no mistake of the person who opens the page.
        let (page, _) = decide(&console, &may, sample_form(&console), false).await?;
        return html(&page);
    }
    html(&page)
}

/// Tries it. A form and not a link, because names of people stand in its fields, and URLs are kept by browsers.
pub(crate) async fn run(may: May<Look>, State(console): State<Arc<Console>>, form: Form) -> Result<Response, Failure> {
    let (page, _) = decide(&console, &may, form, true).await?;
    if page.result.is_none() { refused(&page) } else { html(&page) }
}

/// Sends it: no dry run any more.
pub(crate) async fn send(
    may: May<Operate>,
    State(console): State<Arc<Console>>,
    form: Form,
) -> Result<Response, Failure> {
    let asks = console.sandbox.is_none();
    let (mut page, request) = decide(&console, &may, form, true).await?;
    let Some(request) = request.filter(|_| page.result.is_some()) else { return refused(&page) };
    if asks && page.form.text("typed") != request.event.customer_id {
        page.form.add_error("typed", page.page.t("try-mistyped"));
        return refused(&page);
    }
    match accept(&console, &may, request).await {
        Ok(correlation_id) => Ok(then(&format!("/admin/events/{correlation_id}/"), &Notice::new("event-sent", 1))),
        Err(rejection) => {
            tell(&mut page, &rejection);
            page.result = None;
            refused(&page)
        }
    }
}

/// Sends the example, where a sandbox takes it: anywhere else its customer may be a real person.
pub(crate) async fn send_sample(
    may: May<Operate>,
    State(console): State<Arc<Console>>,
    form: Form,
) -> Result<Response, Failure> {
    if console.sandbox.is_none() {
        return Err(Failure::NotFound);
    }
    let mut sample = sample_form(&console);
    let event = event_of(&mut sample, &may.visit.words.say("try-wrong-json", None));
    let request = request_of(&console, event, Vec::new());
    Ok(match accept(&console, &may, request).await {
        Ok(_) if form.value("back") == "inbox" => then("/admin/inbox/", &Notice::new("event-sent", 1)),
        Ok(correlation_id) => then(&format!("/admin/events/{correlation_id}/"), &Notice::new("event-sent", 1)),
        Err(_) => then(PATH, &Notice::new("sample-refused", 0)),
    })
}

/// Takes an event in as the API does. Who sent it is written to the audit log in the same transaction.
async fn accept(console: &Console, may: &May<Operate>, request: Request) -> Result<Id, Rejection> {
    let request = Request { by: Some(may.visit.actor()), ..request };
    let accepted = dispatch::accept(&console.notifications, &[request]).await.pop();
    accepted.unwrap_or(Err(Rejection::Unavailable)).map(|accepted| accepted.receipt.correlation_id)
}

/// The HTML of the mail that would be sent, for the frame of the page.
pub(crate) async fn mail(may: May<Look>, State(console): State<Arc<Console>>, form: Form) -> Result<Response, Failure> {
    let mut form = form;
    let zone = may.visit.zone;
    let at = read_time(form.value("at"), zone).ok().flatten();
    let event = event_of(&mut form, "");
    let only = only(&form);
    let previews = dispatch::preview(&console.notifications, &[request_of(&console, event, only)], at).await?;
    let preview = previews.into_iter().next().and_then(Result::ok).ok_or(Failure::NotFound)?;
    let mail = preview.messages.into_iter().find(|message| message.channel == Channel::Email && message.is_html);
    Ok(inbox::framed(mail.ok_or(Failure::NotFound)?.body))
}

fn sample_form(console: &Console) -> Form {
    let customer = if console.sandbox.is_some() { SAMPLE_CUSTOMER } else { "" };
    let fields = SAMPLE.into_iter().chain([("customer_id", customer)]);
    Form::of(fields.map(|(name, value)| (name, value.to_owned())))
}

/// The page, with what would become of the event if that is asked for, and the request that was decided about.
async fn decide<P>(
    console: &Console,
    may: &May<P>,
    mut form: Form,
    runs: bool,
) -> Result<(TryPage, Option<Request>), Failure> {
    let page = Page::new(console, &may.visit, "try", "try-title");
    let mut shown = blank(console, page).await?;
    let event = event_of(&mut form, &shown.page.t("try-wrong-json"));
    shown.body = body_of(&event);
    let at = match read_time(form.value("at"), may.visit.zone) {
        Ok(at) => at,
        Err(()) => {
            form.add_error("at", shown.page.t("try-wrong-moment"));
            None
        }
    };
    let now = may.visit.now;
    if at.is_some_and(|at| at > now + FARTHEST || now > at + FARTHEST) {
        form.add_error("at", shown.page.t("try-far-moment"));
    }
    shown.as_if = at;
    let request = request_of(console, event, only(&form));
    shown.form = form;
    if runs {
        let errors = request.event.field_errors();
        if errors.is_empty() && !shown.form.is_wrong() {
            let found = dispatch::preview(&console.notifications, std::slice::from_ref(&request), at).await?.pop();
            match found.unwrap_or(Err(Rejection::Unavailable)) {
                Ok(preview) => shown.result = Some(Outcome::of(preview, &shown, may, console)),
                Err(rejection) => tell(&mut shown, &rejection),
            }
        } else {
            tell(&mut shown, &Rejection::Fields(errors));
        }
    }
    shown.variables = variables(&shown.form);
    Ok((shown, Some(request)))
}

/// The page without an answer: what can be chosen.
async fn blank(console: &Console, page: Page) -> Result<TryPage, Failure> {
    let catalogue = console.notifications.catalogue.current(&mut console.context.db.begin().await?).await?;
    let any = |page: &Page| (String::new(), page.t("try-none"));
    let mut services = vec![any(&page)];
    let types = catalogue.service_types.iter().filter(|one| one.parent_id.is_none() && one.is_active);
    services.extend(types.map(|one| (one.slug.clone(), one.name.clone())));
    let mut phases = vec![any(&page)];
    phases.extend(catalogue.phases.iter().filter(|one| one.is_active).map(|one| (one.slug.clone(), one.name.clone())));
    let mut channels = vec![(String::new(), page.t("all"))];
    channels.extend(Channel::ALL.into_iter().map(|one| (one.as_str().to_owned(), one.as_str().to_owned())));
    Ok(TryPage {
        event_types: EVENT_TYPES.into_iter().map(|one| (one.to_owned(), one.to_owned())).collect(),
        targets: Target::ALL.into_iter().map(|one| (one.as_str().to_owned(), page.word("try-target", one))).collect(),
        services,
        phases,
        channels,
        form: Form::default(),
        variables: Vec::new(),
        wrong: Vec::new(),
        result: None,
        body: String::new(),
        as_if: None,
        page,
    })
}

/// Puts what is wrong beside its field, or above all.
fn tell(shown: &mut TryPage, rejection: &Rejection) {
    match rejection {
        Rejection::Fields(errors) => {
            for (field, error) in errors {
                let error = error.told(shown.page.speaks());
                match field.strip_prefix("context.") {
                    Some(variable) => shown.form.add_error(&format!("{VARIABLE}{variable}"), error),
                    None if is_field(field) => shown.form.add_error(field, error),
                    None => shown.wrong.push(format!("{field}: {error}")),
                }
            }
        }
        Rejection::MissingVariables(missing) => {
            let text = shown.page.t("try-missing");
            for variable in missing {
                shown.form.add_error(&format!("{VARIABLE}{}", variable.to_lowercase()), text.clone());
            }
            shown.wrong.push(shown.page.t1("try-missing-all", "names", missing.join(", ")));
        }
        Rejection::Refused(sentences) => {
            let language = shown.page.speaks();
            shown.wrong.extend(sentences.iter().map(|sentence| sentence.told(language).to_owned()));
        }
        Rejection::Template { template, reason } => {
            let reason = reason.told(shown.page.speaks());
            shown.wrong.push(shown.page.t2("try-template", "name", template, "reason", reason));
        }
        Rejection::KeyReused | Rejection::Unavailable => shown.wrong.push(shown.page.t("failure-remedy-database")),
    }
}

fn is_field(name: &str) -> bool {
    ["event_type", "service_type_id", "phase_id", "subtype_id", "customer_id", "target", "taller_id"].contains(&name)
}

/// The fields of variables: the usual ones, those that were sent, and those that are missing.
fn variables(form: &Form) -> Vec<(String, String)> {
    let is_custom = form.value("event_type") == CUSTOM;
    let usual: &[&str] = if is_custom { &OWN_WORDS } else { &USUAL };
    let mut names: Vec<String> = usual.iter().map(|name| (*name).to_owned()).collect();
    for name in form.names().filter_map(|name| name.strip_prefix(VARIABLE)) {
        let is_new = !names.iter().any(|known| known == name);
        if is_new && name.len() <= 100 && names.len() < 60 && !form.value(&format!("{VARIABLE}{name}")).is_empty() {
            names.push(name.to_owned());
        }
    }
    for name in form.wrong_names().filter_map(|name| name.strip_prefix(VARIABLE)) {
        if !names.iter().any(|known| known == name) {
            names.push(name.to_owned());
        }
    }
    names.into_iter().map(|name| (format!("{VARIABLE}{name}"), name)).collect()
}

/// The event that a form says. What is wrong with the free JSON is added to the form.
fn event_of(form: &mut Form, wrong_json: &str) -> Event {
    let mut context = Map::new();
    let named: Vec<String> = form.names().filter(|name| name.starts_with(VARIABLE)).map(str::to_owned).collect();
    for name in named {
        let value = form.value(&name);
        if !value.is_empty() {
            context.insert(name[VARIABLE.len()..].to_owned(), Value::String(value.to_owned()));
        }
    }
    if let Some(text) = form.optional("context") {
        match serde_json::from_str(&text) {
            // No database keeps a NUL, however it is written.
            Ok(Value::Object(more)) if !text.contains("\\u0000") => context.extend(more),
            _ => form.add_error("context", wrong_json),
        }
    }
    Event {
        event_type: form.text("event_type"),
        service_type_id: form.optional("service_type_id"),
        phase_id: form.optional("phase_id"),
        subtype_id: form.optional("subtype_id"),
        customer_id: form.text("customer_id"),
        target: form.value("target").parse().unwrap_or_default(),
        taller_id: form.optional("taller_id"),
        context,
        correlation_id: None,
        send_at: None,
        critical: form.is_ticked("critical"),
    }
}

fn only(form: &Form) -> Vec<Channel> {
    form.value("channel").parse().into_iter().collect()
}

fn request_of(console: &Console, event: Event, only: Vec<Channel>) -> Request {
    let unknown_customer = console.context.config.unknown_customer;
    Request { event, idempotency: None, unique_key: None, unknown_customer, only, by: None }
}

/// A moment as a browser writes it, by the clocks of this zone; `None` where there is none.
fn read_time(text: &str, zone: Tz) -> Result<Option<Timestamp>, ()> {
    let text = text.trim();
    if text.is_empty() {
        return Ok(None);
    }
    let read = ["%Y-%m-%dT%H:%M", "%Y-%m-%dT%H:%M:%S"].into_iter();
    let read = read.filter_map(|format| NaiveDateTime::parse_from_str(text, format).ok()).next().ok_or(())?;
    match zone.from_local_datetime(&read) {
        LocalResult::Single(at) | LocalResult::Ambiguous(at, _) => Ok(Some(at.to_utc().into())),
        LocalResult::None => Err(()),
    }
}

/// The event as curl would send it, without what it does not say.
fn body_of(event: &Event) -> String {
    let mut body = serde_json::to_value(event).unwrap_or_default();
    if let Some(fields) = body.as_object_mut() {
        fields.retain(|_, value| !value.is_null());
    }
    serde_json::to_string_pretty(&body).unwrap_or_default().replace('\'', "'\\''")
}

impl Outcome {
    fn of<P>(preview: Preview, shown: &TryPage, may: &May<P>, console: &Console) -> Self {
        let language = may.visit.words.language;
        let preview = preview.masked();
        let fields: Vec<(String, String)> =
            shown.form.pairs().filter(|(name, _)| *name != "typed").map(owned).collect();
        let query: String = form_urlencoded::Serializer::new(String::new()).extend_pairs(&fields).finish();
        let frame = (query.len() <= LONGEST_URL).then(|| format!("{PATH}mail/?{query}"));
        let skipped = |one: &dispatch::Skipped| (one.channel.as_str(), one.reason.explanation(language).to_owned());
        Self {
            customer_id: preview.customer_id,
            customer_name: preview.customer_name,
            send_at: preview.send_at,
            deferred: preview.deferred.map(|why| why.sentence(preview.send_at, may.visit.zone, language)),
            is_sequence: preview.delivery_mode == orchestration::DeliveryMode::Fallback,
            skipped: preview.skipped.iter().map(skipped).collect(),
            messages: preview
                .messages
                .into_iter()
                .map(|message| Message::of(message, frame.as_deref(), language))
                .collect(),
            fields: fields.into_iter().filter(|(name, _)| name != "at").collect(),
            asks_for_customer: console.sandbox.is_none(),
        }
    }
}

fn owned((name, value): (&str, &str)) -> (String, String) {
    (name.to_owned(), value.to_owned())
}

impl Message {
    fn of(message: PreviewMessage, frame: Option<&str>, language: Language) -> Self {
        let is_mail = message.channel == Channel::Email && message.is_html;
        Self {
            channel: message.channel.as_str(),
            is_push: message.channel == Channel::Push,
            place: i64::from(message.fallback_order) + 1,
            reason: orchestration::reason(message.preferred, language),
            to: message.recipient_address,
            unusual: message.unusual,
            template: message.template,
            subject: message.subject,
            frame: frame.filter(|_| is_mail).map(str::to_owned),
            bubble: (message.channel == Channel::Whatsapp).then(|| bubble::bubble(&message.body)),
            body: message.body,
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_moment_is_read_by_the_clocks_of_its_zone() {
        let zone = Tz::America__Guayaquil;
        let read = |text: &str| read_time(text, zone).map(|at| at.map(|at| at.to_utc().to_rfc3339()));
        assert_eq!(read("2026-01-18T23:30"), Ok(Some("2026-01-19T04:30:00+00:00".to_owned())));
        assert_eq!(read(" "), Ok(None));
        assert_eq!((read("Sunday"), read("2026-02-30T10:00")), (Err(()), Err(())));
        // The clocks of Berlin skip this hour.
        assert_eq!(read_time("2026-03-29T02:30", Tz::Europe__Berlin), Err(()));
    }

    #[test]
    fn variables_are_fields_and_free_json() {
        let mut form = Form::of([
            ("event_type", "vehicle_ready".to_owned()),
            ("var_nombre", "Ana".to_owned()),
            ("var_extra", "x".to_owned()),
            ("context", r#"{"orden": "OT-1"}"#.to_owned()),
        ]);
        let event = event_of(&mut form, "wrong");
        assert_eq!(Value::Object(event.context), json!({"nombre": "Ana", "extra": "x", "orden": "OT-1"}));
        assert_eq!(variables(&form).last(), Some(&("var_extra".to_owned(), "extra".to_owned())));
        let mut wrong = Form::of([("context", "[1]".to_owned())]);
        event_of(&mut wrong, "wrong");
        assert_eq!(wrong.error("context"), Some("wrong"));
    }
}
