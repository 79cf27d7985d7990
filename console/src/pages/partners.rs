//! Partners: the registry, how each stands, and what is done for one.

use std::sync::Arc;
use std::time::Duration;

use askama::Template;
use axum::extract::State;
use axum::response::Response;
use recado_kernel::clock::Timestamp;
use recado_kernel::db::Session;
use recado_kernel::ids::Id;
use recado_partners::connections::{self, Connection};
use recado_partners::events::PortalAction;
use recado_partners::integrations::{self, Integration, IntegrationDraft, Kind};
use recado_partners::kyc::{self, Entry, KycStatus, Verification};
use recado_partners::partners::{self, Listed, Partner, PartnerDraft, PartnerFilter, Status};
use recado_partners::portal;
use recado_partners::registration::{self, FINDYOURWORK_EVENTS, Registration};
use recado_partners::registry::{self, Done, Refusal};
use recado_partners::standing::Standing;
use recado_webhooks::deliveries::{self, DeliveryFilter};
use recado_webhooks::endpoints;
use recado_webhooks::operations;
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Map, Value};

use crate::Console;
use crate::auth::{Administer, Look, May, Operate};
use crate::failure::Failure;
use crate::form::Form;
use crate::lists::{Around, Query, ROWS};
use crate::masking;
use crate::notice::{Notice, then};
use crate::page::{Page, html, refused};
use crate::pages::deliveries::Row as DeliveryRow;
use crate::pages::endpoints::{
    Facts as EndpointFacts, TEST_EVENT, check_endpoint_url, commit, policy, read_events, test_of,
};
use crate::path::Path;

const PATH: &str = "/admin/partners/";

/// Lines of a history, and deliveries, on the page of a partner.
const FEW: i64 = 10;

/// How a state is coloured.
pub(crate) fn tone(status: Status) -> &'static str {
    match status {
        Status::Active => "success",
        Status::Inactive => "cancelled",
        Status::Suspended => "warning",
        Status::Deleted => "dead",
    }
}

fn kyc_tone(status: KycStatus) -> &'static str {
    match status {
        KycStatus::Approved => "success",
        KycStatus::Rejected => "dead",
        KycStatus::Pending => "started",
        KycStatus::DocumentsRequired => "warning",
    }
}

// --- The list ---

#[derive(Template)]
#[template(path = "partners/list.html")]
struct ListPage {
    page: Page,
    search: String,
    status: Option<Status>,
    statuses: [Status; 4],
    kyc: Option<KycStatus>,
    verifications: [KycStatus; 4],
    rows: Vec<Row>,
    around: Around,
    is_filtered: bool,
}

struct Row {
    id: Id,
    name: String,
    slug: String,
    status: Status,
    tone: &'static str,
    kyc: KycStatus,
    kyc_tone: &'static str,
    integrations: i64,
    created_at: Timestamp,
}

impl From<Listed> for Row {
    fn from(Listed { partner, integrations }: Listed) -> Self {
        Self {
            id: partner.id,
            tone: tone(partner.status),
            kyc_tone: kyc_tone(partner.kyc_status),
            name: partner.name,
            slug: partner.slug.unwrap_or_default(),
            status: partner.status,
            kyc: partner.kyc_status,
            integrations,
            created_at: partner.created_at,
        }
    }
}

/// `/admin/partners/`
pub(crate) async fn list(may: May<Look>, State(console): State<Arc<Console>>) -> Result<Response, Failure> {
    let asked = Query::read(&may.visit.query);
    let filter = PartnerFilter {
        status: asked.get("status"),
        kyc_status: asked.get("kyc"),
        search: asked.text("search"),
        ..PartnerFilter::default()
    };
    let mut session = console.context.db.read().await?;
    let (found, has_more) = partners::page(&mut session, &filter, asked.cursor(), ROWS).await?;
    drop(session);
    let ends = (found.first().map(|one| one.partner.id), found.last().map(|one| one.partner.id));
    html(&ListPage {
        page: Page::new(&console, &may.visit, "partners", "partners-title"),
        is_filtered: filter.status.is_some() || filter.kyc_status.is_some() || filter.search.is_some(),
        search: filter.search.unwrap_or_default(),
        status: filter.status,
        statuses: Status::ALL,
        kyc: filter.kyc_status,
        verifications: KycStatus::ALL,
        around: Around::of(&asked, PATH, ends.0, ends.1, has_more),
        rows: found.into_iter().map(Row::from).collect(),
    })
}

// --- A new one ---

#[derive(Template)]
#[template(path = "partners/new.html")]
struct NewPage {
    page: Page,
    form: Form,
}

/// `/admin/partners/new/`
pub(crate) async fn new(may: May<Operate>, State(console): State<Arc<Console>>) -> Result<Response, Failure> {
    let form = Form::of([("events", FINDYOURWORK_EVENTS.join("\n"))]);
    html(&NewPage { page: Page::new(&console, &may.visit, "partners", "partner-new"), form })
}

/// Where the events of a new partner go, and which.
struct Webhooks<'k> {
    url: String,
    events: Vec<String>,
    /// With which its secret is sealed.
    key: &'k SecretString,
}

/// `None`: there shall be none, or something is wrong with them, which is added to the form.
fn read_webhooks<'k>(console: &'k Console, form: &mut Form, page: &Page) -> Option<Webhooks<'k>> {
    let url = form.optional("webhook_url")?;
    check_endpoint_url(console, form, page, "webhook_url", &url);
    let events = read_events(form, page);
    let key = console.context.config.secret_key.as_ref();
    if key.is_none() {
        form.add_error("webhook_url", page.t("partner-no-secret-key"));
    }
    Some(Webhooks { url, events, key: key? })
}

/// Registers a partner; with a URL also its webhooks, whose secret is then shown once.
pub(crate) async fn create(
    may: May<Operate>,
    State(console): State<Arc<Console>>,
    mut form: Form,
) -> Result<Response, Failure> {
    let page = Page::new(&console, &may.visit, "partners", "partner-new");
    let mut draft = PartnerDraft::default();
    read_facts(&mut form, &page, &mut draft);
    let webhooks = read_webhooks(&console, &mut form, &page);
    if form.optional("webhook_url").is_none() && draft.email.is_none() {
        form.add_error("email", page.t("partner-email-or-url"));
    }
    if form.is_wrong() {
        return refused(&NewPage { page, form });
    }
    let made = match webhooks {
        Some(webhooks) => register_with_webhooks(&console, &may, draft, webhooks).await?,
        None => register_alone(&console, &may, &draft).await?,
    };
    made.or_else(|refusal| {
        form.add_error("email", refusal);
        refused(&NewPage { page, form })
    })
}

/// What follows a registration, or why the registry refuses it.
type Made = Result<Response, String>;

async fn register_alone(console: &Console, may: &May<Operate>, draft: &PartnerDraft) -> Result<Made, Failure> {
    let mut session = console.context.db.begin().await?;
    let done = match registry::register(&mut session, draft, &may.visit.actor(), may.visit.now).await {
        Ok(done) => done,
        Err(error) => return Ok(Err(explain(may, error)?)),
    };
    let partner = settle(console, session, done).await?;
    Ok(Ok(then(&format!("{PATH}{}/", partner.id), &Notice::new("partner-made", 1))))
}

async fn register_with_webhooks(
    console: &Console,
    may: &May<Operate>,
    draft: PartnerDraft,
    Webhooks { url, events, key }: Webhooks<'_>,
) -> Result<Made, Failure> {
    let (actor, now) = (may.visit.actor(), may.visit.now);
    let registration = Registration {
        name: draft.name.clone(),
        webhook_url: url,
        events,
        contact_email: draft.contact_email.clone(),
        shared_secret: None,
        inbound_secret: None,
    };
    let mut session = console.context.db.begin().await?;
    let registered = registration::register(&mut session, &registration, key, policy(console), &actor, now).await?;
    let id = registered.connection.partner.id;
    let Some(secret) = registered.secret else {
        session.commit().await?;
        console.context.ring(&registered.rings).await;
        return Ok(Ok(then(&format!("{PATH}{id}/"), &Notice::new("partner-was-there", 1))));
    };
    let with_facts = |partner: &Partner| -> registry::Result<PartnerDraft> {
        Ok(PartnerDraft { partner_id: partner.partner_id.clone(), slug: partner.slug.clone(), ..draft })
    };
    let changed = match registry::change(&mut session, id, with_facts, policy(console), &actor, now).await {
        Ok(changed) => changed,
        Err(error) => return Ok(Err(explain(may, error)?)),
    };
    let partner = settle(console, session, changed).await?;
    console.context.ring(&registered.rings).await;
    let secret = secret.text().expose_secret().to_owned();
    shown_once(console, may, &partner, "secret-made", secret, None).map(Ok)
}

fn read_facts(form: &mut Form, page: &Page, draft: &mut PartnerDraft) {
    draft.name = form.text("nombre");
    draft.email = form.optional("email");
    draft.contact_email = form.optional("contact_email");
    draft.phone = form.optional("telefono");
    draft.address = form.optional("direccion");
    form.add_errors(page.speaks(), draft.tidy());
}

/// What was refused, in the words of the registry. All else is a failure.
fn explain<P>(may: &May<P>, error: registry::Error) -> Result<String, Failure> {
    match error {
        registry::Error::Refused(Refusal::PartnerNotFound | Refusal::IntegrationNotFound) => Err(Failure::NotFound),
        registry::Error::Refused(refusal) => Ok(refusal.sentence().told(may.visit.words.language).to_owned()),
        registry::Error::Database(error) => Err(error.into()),
        registry::Error::Unsealable => Err(Failure::Malformed),
    }
}

async fn settle<T>(console: &Console, session: Session, Done { value, rings }: Done<T>) -> Result<T, Failure> {
    commit(console, session, &rings).await?;
    Ok(value)
}

// --- One ---

/// A webhook integration, as far as it is shown beside its endpoint.
struct Connected {
    endpoint: EndpointFacts,
    standing: Standing,
    standing_tone: &'static str,
}

struct IntegrationRow {
    id: Id,
    kind: Kind,
    name: String,
    configuration: String,
    has_secrets: bool,
    created_at: Timestamp,
    revoked_at: Option<Timestamp>,
    reason: Option<String>,
}

impl From<Integration> for IntegrationRow {
    fn from(one: Integration) -> Self {
        Self {
            id: one.id,
            kind: one.kind,
            name: one.name,
            configuration: serde_json::to_string_pretty(&one.configuration.0).unwrap_or_default(),
            has_secrets: one.secrets.is_some(),
            created_at: one.created_at,
            revoked_at: one.revoked_at,
            reason: one.revocation_reason,
        }
    }
}

#[derive(Template)]
#[template(path = "partners/show.html")]
pub(crate) struct ShowPage {
    page: Page,
    partner: Partner,
    tone: &'static str,
    kyc_tone: &'static str,
    /// Masked for those who only look.
    email: Option<String>,
    contact_email: Option<String>,
    phone: Option<String>,
    address: Option<String>,
    documents: Vec<(String, String)>,
    history: Vec<Entry>,
    decisions: i64,
    integrations: Vec<IntegrationRow>,
    connected: Option<Connected>,
    deliveries: Vec<DeliveryRow>,
    /// States that a button leads to.
    ways: Vec<Status>,
    facts: Form,
    kyc: Form,
    verifications: Vec<(String, String)>,
    integration: Form,
    kinds: Vec<(String, String)>,
    typed: Form,
}

/// `/admin/partners/{id}/`
pub(crate) async fn show(
    may: May<Look>,
    State(console): State<Arc<Console>>,
    Path(id): Path<Id>,
) -> Result<Response, Failure> {
    html(&load(&console, &may, id).await?)
}

async fn load<P>(console: &Console, may: &May<P>, id: Id) -> Result<ShowPage, Failure> {
    let mut session = console.context.db.read().await?;
    let partner = partners::find(&mut session, id).await?.ok_or(Failure::NotFound)?;
    let documents = partners::documents(&mut session, id).await?;
    let (history, decisions) = kyc::history(&mut session, id, FEW, 0).await?;
    let integrations = integrations::of_partner(&mut session, id).await?;
    let connection = connections::of_partner(&mut session, id).await?;
    let (mut connected, mut latest) = (None, Vec::new());
    if let Some(connection) = &connection
        && let Some(endpoint) = endpoints::find(&mut session, connection.endpoint_id).await?
    {
        let filter = DeliveryFilter { endpoint_id: Some(endpoint.id), ..DeliveryFilter::default() };
        latest = deliveries::page(&mut session, &filter, Default::default(), FEW).await?.0;
        let standing = connection.standing(policy(console)).with_endpoint(&endpoint);
        connected = Some(Connected {
            endpoint: EndpointFacts::of(&mut session, &endpoint, may.visit.now).await?,
            standing,
            standing_tone: if standing.is_active() { "success" } else { "warning" },
        });
    }
    drop(session);
    let page = Page::new(console, &may.visit, "partners", "partner-title").about(&partner.name);
    let is_shown = page.may_operate();
    let shown = |text: &Option<String>, mask: fn(&str) -> String| {
        text.as_deref().map(|text| if is_shown { text.to_owned() } else { mask(text) })
    };
    let document = |value: &Value| match value {
        _ if !is_shown => "•••".to_owned(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    let verifications = KycStatus::ALL.map(|one| (one.to_string(), page.word("partner-kyc", one))).to_vec();
    Ok(ShowPage {
        tone: tone(partner.status),
        kyc_tone: kyc_tone(partner.kyc_status),
        email: shown(&partner.email, masking::text),
        contact_email: shown(&partner.contact_email, masking::text),
        phone: shown(&partner.phone, masking::phone),
        address: shown(&partner.address, masking::name),
        documents: documents.iter().map(|(name, value)| (name.clone(), document(value))).collect(),
        history,
        decisions,
        integrations: integrations.into_iter().rev().map(IntegrationRow::from).collect(),
        deliveries: DeliveryRow::all(latest, &page),
        connected,
        ways: ways(partner.status),
        facts: form_of(&partner),
        kyc: Form::of([("estado_kyc", partner.kyc_status.to_string())]),
        verifications,
        integration: Form::of([("tipo", Kind::Api.to_string()), ("configuracion", "{}".to_owned())]),
        kinds: Kind::ALL.map(|kind| (kind.to_string(), page.word("partner-kind", kind))).to_vec(),
        typed: Form::default(),
        partner,
        page,
    })
}

/// To which states a partner can be brought.
fn ways(status: Status) -> Vec<Status> {
    let all = [Status::Active, Status::Suspended, Status::Inactive];
    if status == Status::Deleted { Vec::new() } else { all.into_iter().filter(|one| *one != status).collect() }
}

fn form_of(partner: &Partner) -> Form {
    let or_empty = |text: &Option<String>| text.clone().unwrap_or_default();
    Form::of([
        ("nombre", partner.name.clone()),
        ("email", or_empty(&partner.email)),
        ("telefono", or_empty(&partner.phone)),
        ("direccion", or_empty(&partner.address)),
        ("contact_email", or_empty(&partner.contact_email)),
    ])
    .read_at(partner.updated_at.as_micros())
}

// --- What is done ---

/// Changes what is known of a partner.
pub(crate) async fn save(
    may: May<Operate>,
    State(console): State<Arc<Console>>,
    Path(id): Path<Id>,
    mut form: Form,
) -> Result<Response, Failure> {
    let mut session = console.context.db.begin().await?;
    let partner = partners::lock(&mut session, id).await?.ok_or(Failure::NotFound)?;
    let before = form_of(&partner);
    let mut draft = PartnerDraft::from(&partner);
    read_facts(&mut form, &Page::new(&console, &may.visit, "partners", "partner-title"), &mut draft);
    form.find_conflicts(partner.updated_at.as_micros(), &before);
    if !form.is_wrong() {
        let take = |_: &Partner| -> registry::Result<PartnerDraft> { Ok(draft) };
        let actor = may.visit.actor();
        match registry::change(&mut session, id, take, policy(&console), &actor, may.visit.now).await {
            Ok(done) => {
                settle(&console, session, done).await?;
                let there = format!("{PATH}{id}/");
                return Ok(then(&there, &before.undo(Notice::new("saved", 1), &there)));
            }
            Err(error) => form.add_error("email", explain(&may, error)?),
        }
    }
    drop(session);
    refused(&ShowPage { facts: form, ..load(&console, &may, id).await? })
}

/// Suspends a partner, lets it rest, or lets it go on. Its undo is the state before.
pub(crate) async fn set_state(
    may: May<Operate>,
    State(console): State<Arc<Console>>,
    Path(id): Path<Id>,
    form: Form,
) -> Result<Response, Failure> {
    let wanted = form.text("status").parse().ok().filter(|status| *status != Status::Deleted);
    let wanted: Status = wanted.ok_or(Failure::Malformed)?;
    let mut session = console.context.db.begin().await?;
    let mut before = wanted;
    let take = |partner: &Partner| -> registry::Result<PartnerDraft> {
        before = partner.status;
        Ok(PartnerDraft { status: wanted, ..PartnerDraft::from(partner) })
    };
    let there = format!("{PATH}{id}/");
    match registry::change(&mut session, id, take, policy(&console), &may.visit.actor(), may.visit.now).await {
        Ok(done) => settle(&console, session, done).await?,
        Err(error) => {
            explain(&may, error)?;
            return Ok(then(&there, &Notice::new("nothing-to-do", 0)));
        }
    };
    if before == wanted {
        return Ok(then(&there, &Notice::new("nothing-to-do", 0)));
    }
    let undo = format!("{there}state/?status={before}");
    Ok(then(&there, &Notice::new("partner-state", 1).undone_by(undo)))
}

/// Decides about the verification.
pub(crate) async fn verify(
    may: May<Operate>,
    State(console): State<Arc<Console>>,
    Path(id): Path<Id>,
    mut form: Form,
) -> Result<Response, Failure> {
    let page = Page::new(&console, &may.visit, "partners", "partner-title");
    let status: Option<KycStatus> = form.parsed("estado_kyc", || page.t("partner-wrong-kyc"));
    let comments = form.optional("comentarios");
    let mut errors = Vec::new();
    partners::check_paragraph(&mut errors, "comentarios", comments.as_deref());
    form.add_errors(page.speaks(), errors);
    let documents = read_documents(&mut form, &page);
    if let (Some(status), false) = (status, form.is_wrong()) {
        let verification = Verification { status, documents, comments };
        let (actor, now) = (may.visit.actor(), may.visit.now);
        let mut session = console.context.db.begin().await?;
        let decided =
            registry::verify(&mut session, id, &verification, &actor.name, policy(&console), &actor, now).await;
        match decided {
            Ok(done) => {
                settle(&console, session, done).await?;
                return Ok(then(&format!("{PATH}{id}/"), &Notice::new("partner-verified", 1)));
            }
            Err(error) => form.add_error("documentos", explain(&may, error)?),
        }
    }
    refused(&ShowPage { kyc: form, ..load(&console, &may, id).await? })
}

/// `name: link`, one a line; without a link the document is removed.
fn read_documents(form: &mut Form, page: &Page) -> Map<String, Value> {
    let mut documents = Map::new();
    for line in form.value("documentos").to_owned().lines().map(str::trim).filter(|line| !line.is_empty()) {
        let (name, link) = line.split_once(':').unwrap_or((line, ""));
        let (name, link) = (name.trim(), link.trim());
        if name.is_empty() || name.chars().count() > 255 || line.contains(char::is_control) {
            form.add_error("documentos", page.t("partner-wrong-document"));
            return documents;
        }
        let link = if link.is_empty() { Value::Null } else { Value::String(link.to_owned()) };
        documents.insert(name.to_owned(), link);
    }
    documents
}

/// Connects a system of the partner.
pub(crate) async fn integrate(
    may: May<Operate>,
    State(console): State<Arc<Console>>,
    Path(id): Path<Id>,
    mut form: Form,
) -> Result<Response, Failure> {
    let page = Page::new(&console, &may.visit, "partners", "partner-title");
    let kind: Option<Kind> = form.parsed("tipo", || page.t("partner-wrong-kind"));
    let configuration: Option<Map<String, Value>> = serde_json::from_str(form.value("configuracion")).ok();
    if configuration.is_none() {
        form.add_error("configuracion", page.t("partner-wrong-json"));
    }
    if let (Some(kind), Some(configuration)) = (kind, configuration) {
        let draft = IntegrationDraft {
            kind,
            name: form.text("nombre"),
            description: form.optional("descripcion"),
            configuration,
        };
        form.add_errors(page.speaks(), draft.errors());
        if !form.is_wrong() {
            let (key, now) = (console.context.config.secret_key.as_ref(), may.visit.now);
            let mut session = console.context.db.begin().await?;
            match registry::integrate(&mut session, id, draft, key, &may.visit.actor(), now).await {
                Ok(done) => {
                    settle(&console, session, done).await?;
                    return Ok(then(&format!("{PATH}{id}/"), &Notice::new("partner-integrated", 1)));
                }
                Err(error) => form.add_error("configuracion", explain(&may, error)?),
            }
        }
    }
    // What was typed may hold secrets: it is not sent back.
    let mut again = Form::of([("tipo", form.text("tipo")), ("nombre", form.text("nombre"))]);
    for field in ["tipo", "nombre", "descripcion", "configuracion"] {
        if let Some(error) = form.error(field) {
            again.add_error(field, error.to_owned());
        }
    }
    refused(&ShowPage { integration: again, ..load(&console, &may, id).await? })
}

/// Ends an integration.
pub(crate) async fn revoke(
    may: May<Operate>,
    State(console): State<Arc<Console>>,
    Path((id, integration)): Path<(Id, Id)>,
    form: Form,
) -> Result<Response, Failure> {
    let mut session = console.context.db.begin().await?;
    let theirs = integrations::of_partner(&mut session, id).await?;
    if !theirs.iter().any(|one| one.id == integration) {
        return Err(Failure::NotFound);
    }
    let reason = form.optional("reason").map(|reason| reason.chars().take(500).collect::<String>());
    let revoked =
        registry::revoke(&mut session, integration, reason.as_deref(), &may.visit.actor(), may.visit.now).await;
    let there = format!("{PATH}{id}/");
    match revoked {
        Ok(done) => settle(&console, session, done).await?,
        Err(error) => {
            explain(&may, error)?;
            return Ok(then(&there, &Notice::new("nothing-to-do", 0)));
        }
    }
    Ok(then(&there, &Notice::new("partner-revoked", 1)))
}

/// Deletes a partner, when its name was typed.
pub(crate) async fn delete(
    may: May<Administer>,
    State(console): State<Arc<Console>>,
    Path(id): Path<Id>,
    mut form: Form,
) -> Result<Response, Failure> {
    let mut session = console.context.db.begin().await?;
    let partner = partners::lock(&mut session, id).await?.ok_or(Failure::NotFound)?;
    if form.text("typed") != partner.name.trim() {
        drop(session);
        let mut shown = load(&console, &may, id).await?;
        form.add_error("typed", shown.page.t("partner-mistyped"));
        shown.typed = form;
        return refused(&shown);
    }
    match registry::delete(&mut session, id, &may.visit.actor(), may.visit.now).await {
        Ok(done) => settle(&console, session, done).await?,
        Err(error) => drop(explain(&may, error)?),
    }
    Ok(then(PATH, &Notice::new("partner-deleted", 1)))
}

// --- Secrets and links, shown once ---

#[derive(Template)]
#[template(path = "partners/once.html")]
struct OncePage {
    page: Page,
    path: String,
    name: String,
    /// The message `partner-once-…`.
    what: &'static str,
    value: String,
    until: Option<Timestamp>,
}

fn shown_once<P>(
    console: &Console,
    may: &May<P>,
    partner: &Partner,
    what: &'static str,
    value: String,
    until: Option<Timestamp>,
) -> Result<Response, Failure> {
    let page = Page::new(console, &may.visit, "partners", "partner-once");
    let (path, name) = (format!("{PATH}{}/", partner.id), partner.name.clone());
    html(&OncePage { page, path, name, what, value, until })
}

/// Its connection, held until the end of the transaction.
async fn connected(session: &mut Session, id: Id) -> Result<Connection, Failure> {
    let partner = partners::lock(session, id).await?.filter(|partner| partner.status != Status::Deleted);
    partner.ok_or(Failure::NotFound)?;
    connections::of_partner(session, id).await?.ok_or(Failure::NotFound)
}

/// Gives a partner a new secret, both ways.
pub(crate) async fn rotate(
    may: May<Administer>,
    State(console): State<Arc<Console>>,
    Path(id): Path<Id>,
) -> Result<Response, Failure> {
    let key = console.context.config.secret_key.as_ref().ok_or(Failure::NotFound)?;
    let mut session = console.context.db.begin().await?;
    let connection = connected(&mut session, id).await?;
    let now = may.visit.now;
    let secret = registration::rotate(&mut session, &connection, key, &may.visit.actor(), now).await?;
    session.commit().await?;
    let secret = secret.text().expose_secret().to_owned();
    shown_once(&console, &may, &connection.partner, "secret-rotated", secret, Some(now + endpoints::OVERLAP))
}

/// Makes a link with which a partner sees its own webhooks.
pub(crate) async fn link(
    may: May<Operate>,
    State(console): State<Arc<Console>>,
    Path(id): Path<Id>,
    form: Form,
) -> Result<Response, Failure> {
    let config = &console.context.config;
    let (Some(public_url), Some(key)) = (config.public_url.as_deref(), config.secret_key.as_ref()) else {
        return Ok(then(&format!("{PATH}{id}/"), &Notice::new("portal-not-configured", 0)));
    };
    let hours = form.text("hours").parse::<u64>().ok().filter(|hours| (1..=168).contains(hours)).unwrap_or(24);
    let (actor, now) = (may.visit.actor(), may.visit.now);
    let mut session = console.context.db.begin().await?;
    let connection = connected(&mut session, id).await?;
    let pass = portal::pass(&connection, Duration::from_secs(hours * 60 * 60), now);
    let rings = portal::record(&mut session, id, PortalAction::EnlaceCreado, None, &actor, now).await?;
    commit(&console, session, &rings).await?;
    shown_once(&console, &may, &connection.partner, "link", pass.url(public_url, key), Some(pass.expires_at))
}

/// Makes all its links useless.
pub(crate) async fn revoke_links(
    may: May<Operate>,
    State(console): State<Arc<Console>>,
    Path(id): Path<Id>,
) -> Result<Response, Failure> {
    let mut session = console.context.db.begin().await?;
    connected(&mut session, id).await?;
    let rings = portal::revoke(&mut session, id, &may.visit.actor(), may.visit.now).await?;
    commit(&console, session, &rings).await?;
    Ok(then(&format!("{PATH}{id}/"), &Notice::new("portal-revoked", 1)))
}

/// Sends a test event, and shows how it is taken.
pub(crate) async fn test(
    may: May<Operate>,
    State(console): State<Arc<Console>>,
    Path(id): Path<Id>,
) -> Result<Response, Failure> {
    let mut session = console.context.db.begin().await?;
    let connection = connected(&mut session, id).await?;
    let endpoint = endpoints::find(&mut session, connection.endpoint_id).await?.ok_or(Failure::NotFound)?;
    let is_active = connection.standing(policy(&console)).is_active();
    if !is_active || endpoint.status == endpoints::Status::Disabled {
        return Ok(then(&format!("{PATH}{id}/"), &Notice::new("endpoint-stopped", 0)));
    }
    let test = test_of(&endpoint, TEST_EVENT, may.visit.now).ok_or(Failure::Malformed)?;
    let rings = operations::test(&mut session, &test, &may.visit.actor(), may.visit.now).await?;
    commit(&console, session, &rings).await?;
    Ok(then(&format!("/admin/webhooks/deliveries/{}/", test.id), &Notice::new("test-sent", 1)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_deleted_partner_leads_nowhere() {
        assert!(ways(Status::Deleted).is_empty());
        assert_eq!(ways(Status::Active), [Status::Suspended, Status::Inactive]);
        assert_eq!(ways(Status::Suspended), [Status::Active, Status::Inactive]);
    }
}
