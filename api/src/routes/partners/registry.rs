//! Partners and their verification (S001-1 to S001-6).

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use recado_kernel::clock::Timestamp;
use recado_kernel::db::Session;
use recado_kernel::ids::Id;
use recado_notifications::erasure as notifications;
use recado_partners::erasure;
use recado_partners::integrations::{self, MOST_SHOWN};
use recado_partners::kyc::{self, KycStatus, Step, Verification};
use recado_partners::partners::{self, Listed, Partner, PartnerDraft, PartnerFilter, Status, check_paragraph};
use recado_partners::registry::{self, Refusal};
use serde::Serialize;
use serde_json::{Map, Value};
use utoipa::{IntoParams, ToSchema};

use super::integrations::IntegrationView;
use super::{PartnerId, policy, settle};
use crate::auth::{Admin, May, Read};
use crate::extract::body::{Changes, Form, Json, Whole};
use crate::extract::fields::{Field, Fields, choice};
use crate::extract::query::Query;
use crate::extract::request::request;
use crate::problem::{FieldErrors, Problem};
use crate::routing::routes;
use crate::state::{Api, Routes};

/// The most partners, or lines of a history, in one answer. The list of seed 001 has no pages, so that what a usual
/// registry holds comes at once.
const MOST_LISTED: i64 = 1_000;

pub(crate) fn routes() -> Routes {
    Routes::new()
        .routes(routes!(list, create))
        .routes(routes!(show, change, delete))
        .routes(routes!(show_verification, verify))
}

/// Registers a partner (S001-1).
#[utoipa::path(post, path = "/", tag = "partners", request_body = PartnerDraft, responses(
    (status = 201, description = "It is registered", body = PartnerAnswer),
    (status = 409, description = "`EMAIL_EXISTENTE`: a partner has this e-mail, maybe one that is deleted")))]
async fn create(
    may: May<Admin>,
    State(api): State<Arc<Api>>,
    Json(Whole(draft)): Json<Whole<PartnerDraft>>,
) -> Result<(StatusCode, axum::Json<PartnerAnswer>), Problem> {
    if draft.email.is_none() {
        return Err(FieldErrors::one("email", "Este campo no puede ser nulo.").into());
    }
    let mut session = api.context.db.begin().await?;
    let done = registry::register(&mut session, &draft, &may.actor(), api.context.clock.now()).await?;
    let partner = settle(&api, session, done).await?;
    Ok((StatusCode::CREATED, axum::Json(PartnerAnswer::of("Partner creado exitosamente", partner, Map::new()))))
}

/// Partners, oldest first; deleted ones among them (S001-2).
#[utoipa::path(get, path = "/", tag = "partners", params(PartnerQuery, Window),
    responses((status = 200, description = "The partners", body = PartnerList)))]
async fn list(
    _: May<Read>,
    State(api): State<Arc<Api>>,
    Query(query): Query<PartnerQuery>,
    Query(window): Query<Window>,
) -> Result<axum::Json<PartnerList>, Problem> {
    let mut session = api.context.db.read().await?;
    let (found, total) = partners::list(&mut session, &query.into(), window.page_size, window.offset()).await?;
    Ok(axum::Json(PartnerList { partners: found.into_iter().map(ListedView::from).collect(), total }))
}

/// One partner with its documents and integrations, also after it was deleted (S001-3).
#[utoipa::path(get, path = "/{id}", tag = "partners", params(("id" = Id, Path, description = "Id of the partner")),
    responses((status = 200, description = "The partner", body = DetailAnswer)))]
async fn show(
    _: May<Read>,
    State(api): State<Arc<Api>>,
    PartnerId(id): PartnerId,
) -> Result<axum::Json<DetailAnswer>, Problem> {
    let mut session = api.context.db.read().await?;
    let partner = found(&mut session, id).await?;
    let documents = partners::documents(&mut session, id).await?;
    let integrations = integrations::of_partner(&mut session, id).await?;
    let contact_email = partner.contact_email.clone();
    let partner = PartnerDetail {
        partner: PartnerView::of(partner, documents),
        contact_email,
        integraciones: integrations.into_iter().map(IntegrationView::from).collect(),
    };
    Ok(axum::Json(DetailAnswer { partner }))
}

/// Changes the fields that are sent (S001-4). `estado` suspends a partner and lets it go on; deleting is a request of its own.
#[utoipa::path(put, path = "/{id}", tag = "partners", params(("id" = Id, Path, description = "Id of the partner")),
    request_body = PartnerChanges, responses(
    (status = 200, description = "The partner", body = PartnerAnswer),
    (status = 409, description = "`EMAIL_EXISTENTE`: another partner has this e-mail"),
    (status = 410, description = "`PARTNER_ELIMINADO`")))]
async fn change(
    may: May<Admin>,
    State(api): State<Arc<Api>>,
    PartnerId(id): PartnerId,
    Json(changes): Json<Changes>,
) -> Result<axum::Json<PartnerAnswer>, Problem> {
    let now = api.context.clock.now();
    let mut session = api.context.db.begin().await?;
    let with_changes = |partner: &Partner| changes.onto(PartnerDraft::from(partner));
    let done = registry::change::<Problem>(&mut session, id, with_changes, policy(&api), &may.actor(), now).await?;
    let documents = partners::documents(&mut session, id).await?;
    let partner = settle(&api, session, done).await?;
    Ok(axum::Json(PartnerAnswer::of("Partner actualizado exitosamente", partner, documents)))
}

/// Deletes a partner (S001-5). It stays as `ELIMINADO`, its integrations are revoked, and its e-mail stays taken.
///
/// With `erase=true` the people behind it are forgotten too, also when it was deleted before: name, addresses, documents,
/// comments and configurations are emptied, and what was mailed to them. Ids, states and times stay; its e-mail is free again.
#[utoipa::path(delete, path = "/{id}", tag = "partners",
    params(("id" = Id, Path, description = "Id of the partner"), DeleteQuery), responses(
    (status = 200, description = "It is deleted", body = Deleted),
    (status = 410, description = "`PARTNER_ELIMINADO`: it was deleted before")))]
async fn delete(
    may: May<Admin>,
    State(api): State<Arc<Api>>,
    PartnerId(id): PartnerId,
    Query(DeleteQuery { erase }): Query<DeleteQuery>,
) -> Result<axum::Json<Deleted>, Problem> {
    let now = api.context.clock.now();
    let mut session = api.context.db.begin().await?;
    let done = if erase.unwrap_or_default() {
        notifications::erase(&mut session, &erasure::recipient(id), now).await?;
        registry::erase(&mut session, id, &may.actor(), now).await?
    } else {
        registry::delete(&mut session, id, &may.actor(), now).await?
    };
    settle(&api, session, done).await?;
    Ok(axum::Json(Deleted { mensaje: "Partner eliminado exitosamente", partner_id: id }))
}

/// Decides about the verification of a partner (S001-6). Documents are added to those that are there; null removes one.
#[utoipa::path(put, path = "/{id}/kyc", tag = "partners", params(("id" = Id, Path, description = "Id of the partner")),
    request_body = VerificationWrite, responses(
    (status = 200, description = "The partner", body = PartnerAnswer),
    (status = 410, description = "`PARTNER_ELIMINADO`")))]
async fn verify(
    may: May<Admin>,
    State(api): State<Arc<Api>>,
    PartnerId(id): PartnerId,
    Json(body): Json<VerificationWrite>,
) -> Result<axum::Json<PartnerAnswer>, Problem> {
    let verification = body.verification()?;
    let mut session = api.context.db.begin().await?;
    let now = api.context.clock.now();
    let done =
        registry::verify(&mut session, id, &verification, &may.caller.name, policy(&api), &may.actor(), now).await?;
    let documents = partners::documents(&mut session, id).await?;
    let partner = settle(&api, session, done).await?;
    Ok(axum::Json(PartnerAnswer::of("KYC del partner actualizado exitosamente", partner, documents)))
}

/// How the verification of a partner stands, and who decided what, newest first.
#[utoipa::path(get, path = "/{id}/kyc", tag = "partners", params(("id" = Id, Path, description = "Id of the partner"), Window),
    responses((status = 200, description = "Its verification", body = VerificationView)))]
async fn show_verification(
    _: May<Read>,
    State(api): State<Arc<Api>>,
    PartnerId(id): PartnerId,
    Query(window): Query<Window>,
) -> Result<axum::Json<VerificationView>, Problem> {
    let mut session = api.context.db.read().await?;
    let partner = found(&mut session, id).await?;
    let documents = partners::documents(&mut session, id).await?;
    let (entries, total) = kyc::history(&mut session, id, window.page_size, window.offset()).await?;
    Ok(axum::Json(VerificationView {
        partner_id: id,
        estado_kyc: partner.kyc_status,
        documentos_kyc: documents,
        historial: entries.into_iter().map(EntryView::from).collect(),
        total,
    }))
}

async fn found(session: &mut Session, id: Id) -> Result<Partner, Problem> {
    Ok(partners::find(session, id).await?.ok_or(Refusal::PartnerNotFound)?)
}

impl Form for PartnerDraft {
    const REQUIRED: &'static [&'static str] = &["nombre", "email"];

    /// An e-mail never becomes null: it is how a partner is known.
    fn fill(&mut self, fields: &mut Fields) {
        fields.set("nombre", &mut self.name);
        let email = self.email.take();
        self.email = fields.optional("email").or(email);
        fields.set_clearable("telefono", &mut self.phone);
        fields.set_clearable("direccion", &mut self.address);
        fields.set_clearable("contact_email", &mut self.contact_email);
        if fields.has("estado") {
            let status = fields.mandatory::<WritableStatus>("estado");
            self.status = status.map_or(self.status, |WritableStatus(status)| status);
        }
        let errors = self.tidy();
        fields.check(errors);
    }
}

/// A state that a request may give to a partner.
struct WritableStatus(Status);

impl Field for WritableStatus {
    fn read(value: Value) -> Result<Self, String> {
        choice(value, [Status::Active, Status::Inactive, Status::Suspended], Status::as_str).map(Self)
    }
}

impl Field for Status {
    fn read(value: Value) -> Result<Self, String> {
        choice(value, Self::ALL, Self::as_str)
    }
}

impl Field for KycStatus {
    fn read(value: Value) -> Result<Self, String> {
        choice(value, Self::ALL, Self::as_str)
    }
}

/// What may be changed about a partner; what is left out stays.
#[derive(ToSchema)]
#[expect(dead_code, reason = "describes what `Changes` reads")]
struct PartnerChanges {
    /// Name of the business.
    #[schema(min_length = 1, max_length = 255)]
    nombre: Option<String>,
    /// E-mail address; null leaves it as it is.
    #[schema(max_length = 254)]
    email: Option<String>,
    /// Telephone number; null removes it.
    #[schema(max_length = 50)]
    telefono: Option<String>,
    /// Postal address; null removes it.
    #[schema(max_length = 2000)]
    direccion: Option<String>,
    /// Where people of the partner are reached; null removes it.
    #[schema(max_length = 254)]
    contact_email: Option<String>,
    /// How it stands with us: `ACTIVO`, `INACTIVO` or `SUSPENDIDO`.
    #[schema(examples("SUSPENDIDO"))]
    estado: Option<String>,
}

request! {
    /// What staff decided about a partner.
    #[derive(ToSchema)]
    struct VerificationWrite {
        /// The state from now on; any other word is `KYC_INVALIDO`.
        #[schema(value_type = KycStatus)]
        estado_kyc: String,
        /// Documents by name: names of files, links, or whatever describes them. At most 100 in all, and 64 KiB.
        #[schema(examples(json!({"cedula": "documento_cedula.pdf", "rut": "documento_rut.pdf"})))]
        documentos: Option<Map<String, Value>>,
        /// Why, for those who read the history.
        #[schema(max_length = 2000, examples("Documentos verificados correctamente"))]
        comentarios: Option<String>,
    }

    fn errors(&self) -> Vec<(&'static str, String)> {
        let mut errors = Vec::new();
        for name in self.documentos.iter().flat_map(Map::keys) {
            if name.trim().is_empty() || name.chars().count() > 255 || name.contains(char::is_control) {
                let error = "El nombre de un documento tiene de 1 a 255 caracteres, sin caracteres de control.";
                errors.push(("documentos", error.to_owned()));
                break;
            }
        }
        check_paragraph(&mut errors, "comentarios", self.comentarios.as_deref());
        errors
    }
}

impl VerificationWrite {
    fn verification(self) -> Result<Verification, Refusal> {
        let comments = self.comentarios.filter(|comments| !comments.trim().is_empty());
        let Ok(status) = self.estado_kyc.parse() else { return Err(Refusal::UnknownKycStatus(self.estado_kyc)) };
        Ok(Verification { status, documents: self.documentos.unwrap_or_default(), comments })
    }
}

request! {
    /// Which partners to list.
    #[derive(IntoParams)]
    #[into_params(parameter_in = Query)]
    struct PartnerQuery {
        /// Only those in this state.
        estado: Option<Status>,
        /// Only those whose verification is in this state.
        estado_kyc: Option<KycStatus>,
        /// Only those with exactly this name.
        nombre: Option<String>,
        /// Part of a name or an e-mail address.
        search: Option<String>,
    }
}

impl From<PartnerQuery> for PartnerFilter {
    fn from(query: PartnerQuery) -> Self {
        Self { status: query.estado, kyc_status: query.estado_kyc, name: query.nombre, search: query.search }
    }
}

request! {
    /// How to delete.
    #[derive(IntoParams)]
    #[into_params(parameter_in = Query)]
    struct DeleteQuery {
        /// Also forget the people behind it.
        #[param(default = false)]
        erase: Option<bool>,
    }
}

request! {
    /// Which part of a list is asked for. A page behind the last one is empty.
    #[derive(IntoParams)]
    #[into_params(parameter_in = Query)]
    struct Window {
        /// Number of the page, from 1.
        #[param(value_type = Option<i64>, minimum = 1, maximum = 1000000, default = 1)]
        page: i64 = 1,
        /// Entries per page, at most 1,000.
        #[param(value_type = Option<i64>, minimum = 1, maximum = 1000, default = 1000)]
        page_size: i64 = MOST_LISTED,
    }

    fn errors(&self) -> Vec<(&'static str, String)> {
        let bounds = [("page", self.page, 1_000_000), ("page_size", self.page_size, MOST_LISTED)];
        let outside = bounds.into_iter().filter(|(_, number, largest)| !(1..=*largest).contains(number));
        outside.map(|(field, _, largest)| (field, format!("Debe estar entre 1 y {largest}."))).collect()
    }
}

impl Window {
    fn offset(&self) -> i64 {
        (self.page - 1) * self.page_size
    }
}

/// What was done, and the partner.
#[derive(Serialize, ToSchema)]
struct PartnerAnswer {
    /// What was done, for people.
    #[schema(examples("Partner creado exitosamente"))]
    mensaje: &'static str,
    /// The partner as it is now.
    partner: PartnerView,
}

impl PartnerAnswer {
    fn of(mensaje: &'static str, partner: Partner, documents: Map<String, Value>) -> Self {
        Self { mensaje, partner: PartnerView::of(partner, documents) }
    }
}

/// What everybody sees of a partner.
#[derive(Serialize, ToSchema)]
struct PartnerHead {
    /// Id of the partner.
    id: Id,
    /// Name of the business.
    nombre: String,
    /// Unique whatever its case; null where it registered without one.
    email: Option<String>,
    /// Telephone number, as it was written.
    telefono: Option<String>,
    /// Postal address.
    direccion: Option<String>,
    /// How it stands with us.
    estado: Status,
    /// Where its verification stands.
    estado_kyc: KycStatus,
    /// When it was registered.
    fecha_creacion: Timestamp,
    /// When it was last changed.
    fecha_actualizacion: Timestamp,
}

impl From<Partner> for PartnerHead {
    fn from(partner: Partner) -> Self {
        Self {
            id: partner.id,
            nombre: partner.name,
            email: partner.email,
            telefono: partner.phone,
            direccion: partner.address,
            estado: partner.status,
            estado_kyc: partner.kyc_status,
            fecha_creacion: partner.created_at,
            fecha_actualizacion: partner.updated_at,
        }
    }
}

/// A partner.
#[derive(Serialize, ToSchema)]
#[schema(as = Partner)]
struct PartnerView {
    #[serde(flatten)]
    head: PartnerHead,
    /// What was handed in for its verification, by name.
    documentos_kyc: Map<String, Value>,
}

impl PartnerView {
    fn of(partner: Partner, documents: Map<String, Value>) -> Self {
        Self { head: partner.into(), documentos_kyc: documents }
    }
}

/// A partner with its integrations.
#[derive(Serialize, ToSchema)]
struct PartnerDetail {
    #[serde(flatten)]
    partner: PartnerView,
    /// Where people of the partner are reached, where that is another address.
    contact_email: Option<String>,
    /// The newest 500, oldest first; revoked ones among them.
    integraciones: Vec<IntegrationView>,
}

const _: () = assert!(MOST_SHOWN == 500, "the description names the limit");

/// One partner.
#[derive(Serialize, ToSchema)]
struct DetailAnswer {
    /// The partner.
    partner: PartnerDetail,
}

/// A partner in a list.
#[derive(Serialize, ToSchema)]
#[schema(as = ListedPartner)]
struct ListedView {
    #[serde(flatten)]
    head: PartnerHead,
    /// How many integrations it has, revoked ones among them.
    integraciones_count: i64,
}

impl From<Listed> for ListedView {
    fn from(Listed { partner, integrations }: Listed) -> Self {
        Self { head: partner.into(), integraciones_count: integrations }
    }
}

/// Partners.
#[derive(Serialize, ToSchema)]
struct PartnerList {
    /// Those of this page.
    partners: Vec<ListedView>,
    /// How many there are on all pages; counted up to 100,000.
    total: i64,
}

/// A partner was deleted.
#[derive(Serialize, ToSchema)]
#[schema(as = DeletedPartner)]
struct Deleted {
    /// What was done, for people.
    mensaje: &'static str,
    /// Id of the partner.
    partner_id: Id,
}

/// How the verification of a partner stands.
#[derive(Serialize, ToSchema)]
#[schema(as = Verification)]
struct VerificationView {
    /// Id of the partner.
    partner_id: Id,
    /// The state now.
    estado_kyc: KycStatus,
    /// What was handed in, by name.
    documentos_kyc: Map<String, Value>,
    /// Who decided what, newest first.
    historial: Vec<EntryView>,
    /// How many decisions there are on all pages.
    total: i64,
}

/// One decision about a verification.
#[derive(Serialize, ToSchema)]
#[schema(as = VerificationEntry)]
struct EntryView {
    /// When.
    fecha: Timestamp,
    /// What it meant for the partner.
    paso: Step,
    /// The state before.
    estado_anterior: KycStatus,
    /// The state afterwards.
    estado_nuevo: KycStatus,
    /// Names of the documents that came with it.
    documentos: Vec<String>,
    /// Why.
    comentarios: Option<String>,
    /// Who: the beginning of the digest of an API key, or `anonymous` where the API is open.
    decidido_por: String,
}

impl From<kyc::Entry> for EntryView {
    fn from(entry: kyc::Entry) -> Self {
        Self {
            fecha: entry.at,
            paso: kyc::step(entry.status_before, entry.status_after),
            estado_anterior: entry.status_before,
            estado_nuevo: entry.status_after,
            documentos: entry.documents.0,
            comentarios: entry.comments,
            decidido_por: entry.decided_by,
        }
    }
}
