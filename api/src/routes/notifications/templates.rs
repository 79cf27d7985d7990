//! The texts that staff write (S002-3 to S002-10, S002-44 to S002-46).

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use recado_kernel::clock::Timestamp;
use recado_kernel::errors::explain;
use recado_kernel::ids::Id;
use recado_kernel::language::Language;
use recado_notifications::catalogue::Catalogue;
use recado_notifications::catalogue_version;
use recado_notifications::channels::Channel;
use recado_notifications::dispatch::{CUSTOM, EVENT_TYPES};
use recado_notifications::orchestration;
use recado_notifications::sent_variables;
use recado_notifications::targets::Target;
use recado_notifications::templates::rendering::{CompiledTemplate, Context, Rendered, VARIABLES, sample_context};
use recado_notifications::templates::{self, Template, TemplateDraft, TemplateFilter, TemplateKey, TemplateScope};
use recado_notifications::test_sends::{self, NewTest, Refusal, TestSend, To};
use serde::Serialize;
use serde_json::{Map, Value};
use utoipa::{IntoParams, ToSchema};

use crate::auth::{Admin, May, Read};
use crate::extract::body::{Changes, Form, Json, Written};
use crate::extract::fields::{Fields, Verbatim};
use crate::extract::language::{Spoken, SpokenQuery};
use crate::extract::once::{Created, IdempotencyHeader, Once};
use crate::extract::page::{Page, Paging};
use crate::extract::path::Segment;
use crate::extract::query::Query;
use crate::extract::request::request;
use crate::problem::{FieldErrors, MissingVariables, Problem};
use crate::routing::routes;
use crate::state::{Api, Routes};

pub(crate) fn routes() -> Routes {
    Routes::new()
        .routes(routes!(list, create))
        .routes(routes!(preview))
        .routes(routes!(variables))
        .routes(routes!(for_context))
        .routes(routes!(send_test))
        .routes(routes!(show_test))
        .routes(routes!(show, replace, change, delete))
}

/// Templates, by name.
#[utoipa::path(get, path = "/", tag = "templates", params(TemplateQuery, Paging),
    responses((status = 200, description = "A page of templates", body = Page<TemplateView>)))]
async fn list(
    _: May<Read>,
    State(api): State<Arc<Api>>,
    Query(query): Query<TemplateQuery>,
    paging: Paging,
) -> Result<axum::Json<Page<TemplateView>>, Problem> {
    let catalogue = api.catalogue().await?;
    let filter = query.filter(&catalogue)?;
    let page = off_runtime(move || {
        let mut found: Vec<&Template> = catalogue.templates.iter().filter(|template| filter.takes(template)).collect();
        found.sort_by_key(|template| (&template.name, template.id));
        paging.cut(&found, |template| TemplateView::of(template, &catalogue, &api))
    });
    Ok(axum::Json(page.await??))
}

/// Writes a new template. Texts that could never be rendered are refused.
#[utoipa::path(post, path = "/", tag = "templates", params(IdempotencyHeader, SpokenQuery), request_body = TemplateDraft,
    responses(
        (status = 201, description = "The template", body = TemplateView),
        (status = 422, description = "The Idempotency-Key was used for another request"),
    ))]
async fn create(
    may: May<Admin>,
    Spoken(language): Spoken,
    State(api): State<Arc<Api>>,
    Once { key, body: sent }: Once<Changes>,
) -> Result<Created<TemplateView>, Problem> {
    let (draft, place) = checked(&api, &*api.catalogue().await?, sent.whole(TemplateDraft::default())).await?;
    let mut session = api.context.db.begin().await?;
    if let Some(made) = key.made::<Id>(&mut session, &may.caller, api.context.clock.now()).await? {
        return Ok(Created::Before(view(&api, made).await?.0));
    }
    catalogue_version::touch(&mut session).await?;
    let id = templates::insert(&mut session, &draft, place, &may.actor(), api.context.clock.now()).await?;
    key.keep(&mut session, &may.caller, &id).await?;
    session.commit().await?;
    Ok(Created::Now(written(&api, id, language).await?.0))
}

/// One template.
#[utoipa::path(get, path = "/{id}", tag = "templates", params(("id" = Id, Path, description = "Id of the template")),
    responses((status = 200, description = "The template", body = TemplateView)))]
async fn show(
    _: May<Read>,
    State(api): State<Arc<Api>>,
    Segment(id): Segment<Id>,
) -> Result<axum::Json<TemplateView>, Problem> {
    view(&api, id).await
}

/// Writes a template as a whole. What is required must be sent; the rest stays as it is where it is not.
#[utoipa::path(put, path = "/{id}", tag = "templates",
    params(("id" = Id, Path, description = "Id of the template"), SpokenQuery),
    request_body = TemplateDraft, responses((status = 200, description = "The template", body = TemplateView)))]
async fn replace(
    may: May<Admin>,
    Spoken(language): Spoken,
    State(api): State<Arc<Api>>,
    Segment(id): Segment<Id>,
    Json(sent): Json<Changes>,
) -> Result<axum::Json<TemplateView>, Problem> {
    write(&api, (&may, language), id, |template| sent.whole(TemplateDraft::from(template))).await
}

/// Changes the fields that are sent. The next event is told in the new words; what was accepted before keeps the old ones.
#[utoipa::path(patch, path = "/{id}", tag = "templates",
    params(("id" = Id, Path, description = "Id of the template"), SpokenQuery),
    request_body = TemplateDraft, responses((status = 200, description = "The template", body = TemplateView)))]
async fn change(
    may: May<Admin>,
    Spoken(language): Spoken,
    State(api): State<Arc<Api>>,
    Segment(id): Segment<Id>,
    Json(changes): Json<Changes>,
) -> Result<axum::Json<TemplateView>, Problem> {
    write(&api, (&may, language), id, |template| changes.over(TemplateDraft::from(template))).await
}

/// Deletes a template. Cells of the matrix that name it go back to the best match. Its versions stay, and each can be restored.
#[utoipa::path(delete, path = "/{id}", tag = "templates", params(("id" = Id, Path, description = "Id of the template")),
    responses((status = 204, description = "It is gone")))]
async fn delete(may: May<Admin>, State(api): State<Arc<Api>>, Segment(id): Segment<Id>) -> Result<StatusCode, Problem> {
    let mut session = api.context.db.begin().await?;
    catalogue_version::touch(&mut session).await?;
    let deleted = templates::delete(&mut session, id, &may.actor(), api.context.clock.now()).await?;
    deleted.ok_or(Problem::NotFound)?;
    session.commit().await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Shows what a text would say, without saving it. Values are escaped as in the message itself.
#[utoipa::path(post, path = "/preview", tag = "templates", params(SpokenQuery), request_body = PreviewRequest, responses(
    (status = 200, description = "The message", body = Preview),
    (status = 400, description = "Variables are missing in `context`; or fields are wrong, as everywhere",
        body = MissingVariables)))]
async fn preview(
    _: May<Read>,
    Spoken(language): Spoken,
    State(api): State<Arc<Api>>,
    Json(request): Json<PreviewRequest>,
) -> Result<axum::Json<Preview>, Problem> {
    let strict_case = api.context.config.template_strict_case;
    let subject = request.subject.clone().unwrap_or_default();
    let (body, event_type) = (request.body.0.clone(), request.event_type.clone());
    let shown = off_runtime(move || request.render(strict_case)).await??;
    let warnings = warnings(&api, &subject, &body, event_type.as_deref(), language).await?;
    Ok(axum::Json(Preview { warnings, ..shown }))
}

/// The variables that every template may use.
#[utoipa::path(get, path = "/variables", tag = "templates",
    responses((status = 200, description = "The variables, in the order of the documents", body = [VariableView])))]
async fn variables(_: May<Read>) -> axum::Json<Vec<VariableView>> {
    axum::Json(VariableView::all())
}

/// The template that fits a context best, or with `all=true` all that fit, the best first.
///
/// A cell of the matrix may name a template; then that one is sent, whatever fits best.
#[utoipa::path(get, path = "/for_context", tag = "templates", params(TemplateContextQuery), responses(
    (status = 200, description = "The best match, or the list", body = Fitting),
    (status = 404, description = "Nothing fits, or there is no such service or phase",
        body = ref("#/components/schemas/Detail"))))]
async fn for_context(
    _: May<Read>,
    State(api): State<Arc<Api>>,
    Query(query): Query<TemplateContextQuery>,
) -> Result<axum::Json<Fitting>, Problem> {
    let catalogue = api.catalogue().await?;
    let found = off_runtime(move || {
        let fitting = templates::fitting(catalogue.templates.iter(), &query.key(&catalogue)?);
        let shown = |template: &&Template| TemplateView::of(template, &catalogue, &api);
        match fitting.first() {
            _ if query.all.unwrap_or_default() => Ok(Fitting::All(fitting.iter().map(shown).collect())),
            Some(best) => Ok(Fitting::Best(Box::new(shown(best)))),
            None => Err(Problem::Nothing("No hay una plantilla activa para este contexto.".to_owned())),
        }
    });
    found.await?.map(axum::Json)
}

/// Sends a text to yourself, to see how it arrives: to an address, or as a push to the devices of a customer.
///
/// It leaves through the accounts that a message would take, begins with `[Prueba]`, and is tried once. It is no notification: no list,
/// count or failure knows it, and the address is forgotten when it has ended. Ten within an hour. `tests/{id}/` tells what became of it.
#[utoipa::path(post, path = "/{id}/test", tag = "templates", params(("id" = Id, Path, description = "Id of the template")),
    request_body = TestRequest, responses(
        (status = 202, description = "It is on its way", body = TestSend),
        (status = 400, description = "Variables are missing in `context`; or fields are wrong, as everywhere",
            body = MissingVariables)))]
async fn send_test(
    may: May<Admin>,
    State(api): State<Arc<Api>>,
    Segment(id): Segment<Id>,
    Json(request): Json<TestRequest>,
) -> Result<(StatusCode, axum::Json<TestSend>), Problem> {
    let template = api.catalogue().await?.template(id).cloned().ok_or(Problem::NotFound)?;
    let to = match (&request.address, &request.customer_id) {
        (Some(address), None) => To::Address(address.clone()),
        (None, Some(customer_id)) => To::Devices(customer_id.clone()),
        _ => return Err(refused(&Refusal::WrongKind)),
    };
    let strict_case = api.context.config.template_strict_case;
    let texts = PreviewRequest {
        subject: Some(request.subject.unwrap_or_else(|| template.subject.clone())),
        body: request.body.unwrap_or_else(|| Verbatim(template.body.clone())),
        context: request.context,
        event_type: None,
    };
    let words = off_runtime(move || texts.rendered(strict_case)).await??;
    let test = NewTest { template_id: id, channel: template.channel, taller_id: template.taller_id, to, words };
    let sent = test_sends::start(&api.context, test, &may.actor()).await?.map_err(|refusal| refused(&refusal))?;
    let sent = test_sends::find(&mut api.context.db.read().await?, sent).await?.ok_or(Problem::NotFound)?;
    Ok((StatusCode::ACCEPTED, axum::Json(sent)))
}

fn refused(refusal: &Refusal) -> Problem {
    FieldErrors::one(refusal.field(), refusal.sentence()).into()
}

/// What became of a test.
#[utoipa::path(get, path = "/tests/{id}", tag = "templates", params(("id" = Id, Path, description = "Id of the test")),
    responses((status = 200, description = "The test", body = TestSend)))]
async fn show_test(
    _: May<Read>,
    State(api): State<Arc<Api>>,
    Segment(id): Segment<Id>,
) -> Result<axum::Json<TestSend>, Problem> {
    let found = test_sends::find(&mut api.context.db.read().await?, id).await?;
    found.map(axum::Json).ok_or(Problem::NotFound)
}

request! {
    /// Where a test goes, and what it says if not the text as it is saved.
    #[derive(Debug, ToSchema)]
    #[schema(as = TemplateTest)]
    struct TestRequest {
        /// A mail address or a number, for an email or a WhatsApp.
        #[schema(examples("ana@example.com"))]
        address: Option<String>,
        /// A customer, whose devices get a push.
        customer_id: Option<String>,
        /// Another subject than the one that is saved.
        subject: Option<String>,
        /// Another message than the one that is saved.
        #[schema(value_type = Option<String>)]
        body: Option<Verbatim>,
        /// Values for the variables. Without it the examples of `variables/` stand in.
        #[schema(value_type = Option<Object>)]
        context: Option<Map<String, Value>>,
    }
}

async fn write(
    api: &Arc<Api>,
    (may, language): (&May<Admin>, Language),
    id: Id,
    draft: impl FnOnce(Template) -> Written<TemplateDraft>,
) -> Result<axum::Json<TemplateView>, Problem> {
    let catalogue = api.catalogue().await?;
    let mut session = api.context.db.begin().await?;
    catalogue_version::touch(&mut session).await?;
    let template = templates::find(&mut session, id).await?.ok_or(Problem::NotFound)?;
    let (draft, place) = checked(api, &catalogue, draft(template.clone())).await?;
    templates::replace(&mut session, &template, &draft, place, &may.actor(), api.context.clock.now()).await?;
    orchestration::forget_misfits(&mut session).await?;
    session.commit().await?;
    written(api, id, language).await
}

/// What can only be checked with the catalogue at hand: the places that are named, and the words.
async fn checked(
    api: &Api,
    catalogue: &Catalogue,
    mut written: Written<TemplateDraft>,
) -> Result<(TemplateDraft, TemplateScope), Problem> {
    let draft = written.record.clone();
    let place = catalogue.place(draft.service_type.as_deref(), draft.subtype.as_deref(), draft.phase.as_deref());
    let place = place.map_err(|unknown| written.check(unknown)).unwrap_or_default();
    let strict_case = api.context.config.template_strict_case;
    written.check(off_runtime(move || draft.flaws(strict_case)).await?);
    Ok((written.finish()?, place))
}

pub(super) async fn view(api: &Arc<Api>, id: Id) -> Result<axum::Json<TemplateView>, Problem> {
    let (api, catalogue) = (api.clone(), api.catalogue().await?);
    let shown =
        off_runtime(move || catalogue.template(id).map(|template| TemplateView::of(template, &catalogue, &api)));
    shown.await?.map(axum::Json).ok_or(Problem::NotFound)
}

/// A template that was just written, with the variables that callers do not send.
pub(super) async fn written(api: &Arc<Api>, id: Id, language: Language) -> Result<axum::Json<TemplateView>, Problem> {
    let axum::Json(shown) = view(api, id).await?;
    let warnings = warnings(api, &shown.subject, &shown.body, shown.event_type.as_deref(), language).await?;
    Ok(axum::Json(TemplateView { warnings, ..shown }))
}

/// The variables that these texts need and that not all callers have sent lately.
async fn warnings(
    api: &Arc<Api>,
    subject: &str,
    body: &str,
    event_type: Option<&str>,
    language: Language,
) -> Result<Vec<String>, Problem> {
    // What this process has noted itself counts at once; if that cannot be written now, it will be within a minute.
    if let Err(error) = api.notifications.sent_variables.write(&api.context.db).await {
        tracing::debug!(error = %explain(&error), "the names of variables are written later");
    }
    let now = api.context.clock.now();
    let sent = sent_variables::lately(&mut api.context.db.read().await?, event_type, now).await?;
    let (subject, body, strict_case) = (subject.to_owned(), body.to_owned(), api.context.config.template_strict_case);
    off_runtime(move || {
        let Ok(compiled) = CompiledTemplate::compile(&subject, &body, strict_case) else { return Vec::new() };
        let gaps = sent_variables::gaps(&compiled, &sent, strict_case);
        gaps.iter().map(|gap| gap.sentence(language)).collect()
    })
    .await
}

/// Compiling and rendering take milliseconds where a template is meant to be costly: other requests do not wait for that.
pub(super) async fn off_runtime<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, Problem> {
    tokio::task::spawn_blocking(work).await.map_err(|_| Problem::Panicked)
}

/// A template (S002-44).
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Template)]
pub(super) struct TemplateView {
    /// Id of the template.
    id: Id,
    /// How staff call it.
    name: String,
    /// Subject of an email, title of a push; WhatsApp has none.
    subject: String,
    /// The message, with variables.
    body: String,
    /// The channel that it is written for.
    channel: Channel,
    /// Whom it addresses.
    target: Target,
    /// Only for this type of event; null for all.
    event_type: Option<String>,
    /// Only for this type of service; null for all.
    service_type: Option<Id>,
    /// The same as `service_type`.
    service_type_id: Option<Id>,
    /// Name of the type of service.
    service_type_name: Option<String>,
    /// Only for this subtype; null for all.
    subtype: Option<Id>,
    /// The same as `subtype`.
    subtype_id: Option<Id>,
    /// Name of the subtype.
    subtype_name: Option<String>,
    /// Only in this phase; null for all.
    phase: Option<Id>,
    /// The same as `phase`.
    phase_id: Option<Id>,
    /// Name of the phase.
    phase_name: Option<String>,
    /// Only for this workshop; null for all.
    taller_id: Option<String>,
    /// Wins over a template that fits as well.
    is_default: bool,
    /// Only templates in use are sent.
    is_active: bool,
    /// The number of this text among all that it ever was, from 1.
    version: i32,
    /// What the texts ask for, as it stands in them, in the order in which they ask. Those that `variables/` does not list must
    /// come with the event; case and accents do not matter there.
    #[schema(examples(json!(["Nombre", "Vehículo"])))]
    variables: Vec<String>,
    /// The beginning of the message with example values, about 300 characters.
    preview: String,
    /// When it was first written.
    created_at: Timestamp,
    /// When it was last written.
    updated_at: Timestamp,
    /// Told to who writes it: variables that it needs and that not all callers have sent within 30 days. Absent where there are none.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(required = false, examples(json!(["Orden: 2 de 3 emisores no la enviaron en 30 días."])))]
    warnings: Vec<String>,
}

impl TemplateView {
    fn of(template: &Template, catalogue: &Catalogue, api: &Api) -> Self {
        let strict_case = api.context.config.template_strict_case;
        // The catalogue compiles only templates that are in use.
        let now = || CompiledTemplate::compile(&template.subject, &template.body, strict_case).ok();
        let made = if template.is_active { None } else { now() };
        let compiled = catalogue.compiled(template.id).or(made.as_ref());
        let service = |id: Option<Id>| id.and_then(|id| catalogue.service(id)).map(|service| service.name.clone());
        let phase = template.phase_id.and_then(|id| catalogue.phases.iter().find(|phase| phase.id == id));
        let used = compiled.map(CompiledTemplate::variables).unwrap_or_default();
        Self {
            id: template.id,
            name: template.name.clone(),
            subject: template.subject.clone(),
            channel: template.channel,
            target: template.target,
            event_type: template.event_type.clone(),
            service_type: template.service_type_id,
            service_type_id: template.service_type_id,
            service_type_name: service(template.service_type_id),
            subtype: template.subtype_id,
            subtype_id: template.subtype_id,
            subtype_name: service(template.subtype_id),
            phase: template.phase_id,
            phase_id: template.phase_id,
            phase_name: phase.map(|phase| phase.name.clone()),
            taller_id: template.taller_id.clone(),
            is_default: template.is_default,
            is_active: template.is_active,
            version: template.version,
            variables: used.iter().map(|variable| variable.label.clone()).collect(),
            preview: templates::preview(&template.body, compiled, strict_case),
            body: template.body.clone(),
            created_at: template.created_at,
            updated_at: template.updated_at,
            warnings: Vec::new(),
        }
    }
}

impl Form for TemplateDraft {
    /// `null` for a type of service or a phase is the general text, and has to be said.
    const REQUIRED: &'static [&'static str] = &["name", "channel", "target", "body", "service_type", "phase"];

    fn fill(&mut self, fields: &mut Fields) {
        fields.set("name", &mut self.name);
        fields.set("subject", &mut self.subject);
        fields.set_verbatim("body", &mut self.body);
        fields.set_nullable("channel", &mut self.channel);
        fields.set("target", &mut self.target);
        fields.set_nullable("event_type", &mut self.event_type);
        fields.set_nullable("service_type", &mut self.service_type);
        fields.set_nullable("subtype", &mut self.subtype);
        fields.set_nullable("phase", &mut self.phase);
        fields.set_nullable("taller_id", &mut self.taller_id);
        fields.set("is_default", &mut self.is_default);
        fields.set("is_active", &mut self.is_active);
        // A form sends an empty text where nothing was chosen.
        let open =
            [&mut self.event_type, &mut self.service_type, &mut self.subtype, &mut self.phase, &mut self.taller_id];
        for value in open {
            *value = value.take().filter(|text| !text.trim().is_empty());
        }
        fields.check(self.errors());
        fields.check(self.event_type.as_deref().and_then(unused_event_type).into_iter().collect());
    }
}

/// The complaint about a type of event for which no template is ever looked up.
fn unused_event_type(event_type: &str) -> Option<(&'static str, String)> {
    let known: Vec<&str> = EVENT_TYPES.into_iter().filter(|known| *known != CUSTOM).collect();
    let error = || {
        let known = known.join(", ");
        format!("\"{}\" no es una elección válida. Use: {known}.", event_type.escape_debug())
    };
    (!known.contains(&event_type)).then(|| ("event_type", error()))
}

request! {
    /// Which templates to list.
    #[derive(IntoParams)]
    #[into_params(parameter_in = Query)]
    struct TemplateQuery {
        /// Only this channel's.
        channel: Option<Channel>,
        /// Only those for this audience.
        target: Option<Target>,
        /// Only those of this type of service, by UUID or slug.
        service_type_id: Option<String>,
        /// Only those of this subtype, by UUID or slug.
        subtype_id: Option<String>,
        /// Only those of this phase, by UUID or slug.
        phase_id: Option<String>,
        /// Only this workshop's; `null` for those that belong to none.
        taller_id: Option<String>,
        /// Only those for this type of event.
        event_type: Option<String>,
        /// Only those that are in use, or only the others.
        is_active: Option<bool>,
        /// Part of the name, whatever its case and accents.
        search: Option<String>,
    }
}

impl TemplateQuery {
    /// With ids for slugs. An unknown id finds nothing; an unknown slug is an error.
    fn filter(self, catalogue: &Catalogue) -> Result<TemplateFilter, Problem> {
        let mut errors = FieldErrors::default();
        let mut filter = TemplateFilter {
            channel: self.channel,
            target: self.target,
            event_type: self.event_type,
            taller_id: self.taller_id.map(|taller| (taller != "null").then_some(taller)),
            is_active: self.is_active,
            search: self.search,
            ..TemplateFilter::default()
        };
        if let Some(reference) = self.service_type_id {
            let found = reference.parse().or_else(|_| catalogue.known_service_type(&reference));
            filter.service_type_id = found.map_err(|error| errors.add("service_type_id", error)).ok();
        }
        if let Some(reference) = self.subtype_id {
            let found = reference.parse().map(|id| vec![id]).or_else(|_| catalogue.known_subtypes(&reference));
            filter.subtype_ids = found.map_err(|error| errors.add("subtype_id", error)).ok();
        }
        if let Some(reference) = self.phase_id {
            let found = reference.parse().or_else(|_| catalogue.known_phase(&reference));
            filter.phase_id = found.map_err(|error| errors.add("phase_id", error)).ok();
        }
        errors.none_or_problem().map(|()| filter)
    }
}

request! {
    /// A text that is not saved.
    #[derive(Debug, ToSchema)]
    #[schema(as = TemplatePreviewRequest)]
    struct PreviewRequest {
        /// Subject or title, with variables.
        #[schema(examples("Su {{Vehículo}} está listo"))]
        subject: Option<String>,
        /// The message, with variables.
        #[schema(value_type = String, examples("Hola, {{Nombre}}: su {{Vehículo}} está listo."))]
        body: Verbatim,
        /// Values for the variables: texts, numbers, true or false. Without it the examples of `variables/` stand in; `fase` may
        /// always be left out, because an event brings its own.
        #[schema(value_type = Option<Object>, examples(json!({"nombre": "Carlos Mendoza", "vehiculo": "Haval H6 2024"})))]
        context: Option<Map<String, Value>>,
        /// The type of event that it is for: `warnings` then tell what callers send with that one. Without it, with any.
        event_type: Option<String>,
    }

    fn errors(&self) -> Vec<(&'static str, String)> {
        let error = || ("body", "Este campo no puede estar en blanco.".to_owned());
        self.body.0.trim().is_empty().then(error).into_iter().collect()
    }
}

impl PreviewRequest {
    fn render(&self, strict_case: bool) -> Result<Preview, Problem> {
        let rendered = self.rendered(strict_case)?;
        let subject = self.subject.is_some().then_some(rendered.subject);
        Ok(Preview { preview: rendered.body, subject, is_html: rendered.html, warnings: Vec::new() })
    }

    fn rendered(&self, strict_case: bool) -> Result<Rendered, Problem> {
        let (subject, Verbatim(body)) = (self.subject.as_deref().unwrap_or_default(), &self.body);
        let mut errors = FieldErrors::default();
        for flaw in templates::flaws(subject, body, strict_case) {
            errors.add(flaw.part.as_str(), flaw.explanation());
        }
        errors.none_or_problem()?;
        let compiled = CompiledTemplate::compile(subject, body, strict_case)
            .map_err(|error| FieldErrors::one(error.part.as_str(), error.explanation()))?;
        let samples = sample_context(strict_case);
        let values = match &self.context {
            None => samples,
            Some(context) => Context::new(context, strict_case)
                .map_err(|error| FieldErrors::one("context", error.to_string()))?
                .with("Fase", &samples.get("Fase").unwrap_or_default()),
        };
        let missing = compiled.missing(&values);
        if !missing.is_empty() {
            let template_variables = compiled.variables().iter().map(|variable| variable.label.clone()).collect();
            return Err(Problem::MissingVariables { missing: compiled.labels(&missing), template_variables });
        }
        compiled.render(&values).map_err(|error| FieldErrors::one(error.part.as_str(), error.explanation()).into())
    }
}

/// What a text says.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = TemplatePreview)]
struct Preview {
    /// The message.
    #[schema(examples("Hola, Carlos Mendoza: su Haval H6 2024 está listo."))]
    preview: String,
    /// Its subject or title; absent when none was sent.
    #[serde(skip_serializing_if = "Option::is_none")]
    subject: Option<String>,
    /// Whether the message is HTML. Values are then escaped.
    is_html: bool,
    /// Variables that it needs and that not all callers have sent within 30 days. Absent where there are none.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(required = false)]
    warnings: Vec<String>,
}

/// A variable that every template may use (S002-46).
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = TemplateVariable)]
struct VariableView {
    /// Its key in an event's `context`.
    #[schema(examples("vehiculo"))]
    id: &'static str,
    /// As it is written in a template.
    #[schema(examples("{{Vehículo}}"))]
    label: &'static str,
    /// What it holds.
    #[schema(examples("Marca y modelo del vehículo"))]
    description: &'static str,
    /// The value that previews show.
    #[schema(examples("Haval H6 2024"))]
    example: &'static str,
}

impl VariableView {
    fn all() -> Vec<Self> {
        let view = |variable: &templates::rendering::Variable| Self {
            id: variable.id,
            label: variable.label,
            description: variable.description,
            example: variable.example,
        };
        VARIABLES.iter().map(view).collect()
    }
}

request! {
    /// What a template is looked up by.
    #[derive(IntoParams)]
    #[into_params(parameter_in = Query)]
    struct TemplateContextQuery {
        /// The type of service, by UUID or slug.
        #[param(required = true, example = "averia-revision")]
        service_type_id: String,
        /// The phase, by UUID or slug.
        #[param(required = true, example = "phase-reception")]
        phase_id: String,
        /// The channel.
        channel: Channel,
        /// The audience.
        target: Target,
        /// A subtype of the service, by UUID or slug.
        subtype_id: Option<String>,
        /// The workshop.
        taller_id: Option<String>,
        /// The type of event; without it, templates of one type of event do not fit.
        event_type: Option<String>,
        /// True: all templates that fit, the best first, and an empty list when there is none.
        all: Option<bool>,
    }
}

impl TemplateContextQuery {
    /// What is asked for, with ids for slugs; a name that leads nowhere is a 404 that says so.
    fn key(&self, catalogue: &Catalogue) -> Result<TemplateKey<'_>, Problem> {
        let place = catalogue.place(Some(&self.service_type_id), self.subtype_id.as_deref(), Some(&self.phase_id));
        let place = place.map_err(|errors| {
            let sentences: Vec<String> = errors.into_iter().map(|(_, error)| error.into()).collect();
            Problem::Nothing(sentences.join(" "))
        })?;
        Ok(TemplateKey {
            channel: self.channel,
            target: self.target,
            event_type: self.event_type.as_deref().unwrap_or_default(),
            service_type_id: place.service_type_id,
            subtype_id: place.subtype_id,
            phase_id: place.phase_id,
            taller_id: self.taller_id.as_deref(),
        })
    }
}

/// The template that fits best, or all that fit.
#[derive(Debug, Serialize, ToSchema)]
#[serde(untagged)]
enum Fitting {
    /// The one that fits best.
    Best(Box<TemplateView>),
    /// With `all=true`: all that fit, the best first.
    All(Vec<TemplateView>),
}
