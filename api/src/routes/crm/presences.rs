//! Where a CRM tells of presences (S004-2), and the list of those that are kept.

use std::sync::Arc;

use axum::extract::State;
use recado_crm::commercial::inbound_secrets;
use recado_crm::moments;
use recado_crm::presences::{self, NewSale, Presence, PresenceFilter, Told};
use recado_kernel::clock::Timestamp;
use recado_kernel::fields::check_text;
use recado_kernel::ids::Id;
use recado_webhooks::dialect::{self, Refusal, Rules, Signed};
use serde::Serialize;
use serde_json::{Map, Value};
use utoipa::{IntoParams, ToSchema};

use super::appointments::UNREADABLE_TIME;
use crate::auth::{CrmCaller, May, Read};
use crate::extract::body::RawBody;
use crate::extract::fields::{Field, Fields};
use crate::extract::page::{Page, Paging};
use crate::extract::query::Query;
use crate::extract::request::request;
use crate::problem::{Credential, Problem};
use crate::routing::routes;
use crate::state::{Api, Routes};

/// What a CRM calls.
pub(crate) fn webhook() -> Routes {
    Routes::new().routes(routes!(receive))
}

/// The same under the name that the public application has for it.
pub(crate) fn webhook_alias() -> Routes {
    Routes::new().routes(routes!(receive_alias))
}

pub(crate) fn routes() -> Routes {
    Routes::new().routes(routes!(list))
}

/// Takes a presence in, and a sale if there is one. The same `id_presencia_crm` is kept once, and answered alike each time; a
/// sale that comes later joins it.
#[utoipa::path(post, path = "/", tag = "crm", security(("crmToken" = [])), request_body = PresenceWrite,
    responses(
    (status = 200, description = "It is kept", body = Received),
    (status = 401, description = "The token is wrong, or a signature is demanded and missing, wrong or stale")))]
async fn receive(_: CrmCaller, State(api): State<Arc<Api>>, body: RawBody) -> Result<axum::Json<Received>, Problem> {
    check_signature(&api, &body)?;
    let (told, _) = body.read::<PresenceWrite>()?;
    let (presence, sale) = told.split(api.context.config.crm.time_zone);
    let mut session = api.context.db.begin().await?;
    let kept = presences::keep(&mut session, &presence, sale.as_ref(), api.context.clock.now()).await?;
    session.commit().await?;
    Ok(axum::Json(Received {
        detail: "Presencia y vinculación procesadas correctamente.",
        id_presencia: kept.presence_id,
        id_venta: kept.sale_id,
    }))
}

/// The same as `/api/webhook-presencia-crm/`.
#[utoipa::path(post, path = "/", tag = "crm", security(("crmToken" = [])), request_body = PresenceWrite,
    responses(
    (status = 200, description = "It is kept", body = Received),
    (status = 401, description = "The token is wrong, or a signature is demanded and missing, wrong or stale")))]
async fn receive_alias(
    caller: CrmCaller,
    state: State<Arc<Api>>,
    body: RawBody,
) -> Result<axum::Json<Received>, Problem> {
    receive(caller, state, body).await
}

/// A token can be replayed by anyone who saw it once. Where the operator wants more, the bytes and their time are signed (d26).
fn check_signature(api: &Api, body: &RawBody) -> Result<(), Problem> {
    let config = &api.context.config;
    if !config.crm.require_signature {
        return Ok(());
    }
    let headers = body.header_pairs();
    let received = dialect::Received { headers: &headers, body: body.as_slice() };
    let tolerance_seconds = config.webhook_tolerance_seconds;
    let rules = Rules { strict_raw: true, tolerance_seconds, payload_tolerance_seconds: 0 };
    let verdict = dialect::verify(&inbound_secrets(&config.crm), &rules, received, api.context.clock.now());
    let refused = |refusal: Option<Refusal>| {
        let why = refusal.map_or_else(|| "its signature has no time in it".to_owned(), |refusal| refusal.to_string());
        tracing::warn!("a presence is refused: {why}");
        Problem::Unauthenticated(Credential::PartnerSignature)
    };
    match verdict {
        Ok(dialect) if dialect.signed == Signed::Standard => Ok(()),
        Ok(_) => Err(refused(None)),
        Err(refusal) => Err(refused(Some(refusal))),
    }
}

/// Presences that are kept, the newest first.
#[utoipa::path(get, path = "/", tag = "crm", params(PresenceQuery, Paging),
    responses((status = 200, description = "A page of presences", body = Page<PresenceView>)))]
async fn list(
    _: May<Read>,
    State(api): State<Arc<Api>>,
    Query(query): Query<PresenceQuery>,
    paging: Paging,
) -> Result<axum::Json<Page<PresenceView>>, Problem> {
    let mut session = api.context.db.read().await?;
    let (found, count) = presences::list(&mut session, &query.into(), paging.limit(), paging.offset()).await?;
    Ok(axum::Json(paging.page(found.into_iter().map(PresenceView::from).collect(), count)?))
}

/// The answer to a CRM.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = PresenceReceived)]
struct Received {
    /// A sentence.
    #[schema(examples("Presencia y vinculación procesadas correctamente."))]
    detail: &'static str,
    /// Id of the presence.
    id_presencia: Id,
    /// Id of its sale; null for none.
    id_venta: Option<Id>,
}

request! {
    /// A presence, as a CRM tells of it.
    #[derive(ToSchema)]
    struct PresenceWrite {
        /// The CRM's id of the presence.
        #[schema(min_length = 1, max_length = 100, examples("CRM-123"))]
        id_presencia_crm: String,
        /// The person.
        cliente: ClientWrite,
        /// When it took place; without a zone it is of CRM_TIME_ZONE.
        #[schema(examples("2024-01-15T14:30:00"))]
        fecha_hora_presencia: String,
        /// The project.
        #[schema(examples("OASIS 2 (AUCALLAMA)"))]
        proyecto_interes: Option<String>,
        /// How the person was won.
        #[schema(examples("campo_opc"))]
        medio_captacion: Option<String>,
        /// `presencial` or `virtual`.
        #[schema(examples("presencial"))]
        modalidad: Option<String>,
        /// How it ended.
        #[schema(examples("realizada"))]
        status_presencia: Option<String>,
        /// What came of it.
        #[schema(examples("interesado_seguimiento"))]
        resultado_interaccion: Option<String>,
        /// Notes.
        observaciones: Option<String>,
        /// A sale that came of it.
        venta: Option<SaleWrite>,
    }

    fn errors(&self) -> Vec<(&'static str, String)> {
        let mut errors = Vec::new();
        required(&mut errors, "id_presencia_crm", &self.id_presencia_crm, 100);
        if moments::read(&self.fecha_hora_presencia, chrono_tz::UTC).is_none() {
            errors.push(("fecha_hora_presencia", UNREADABLE_TIME.to_owned()));
        }
        let optional = [
            ("proyecto_interes", &self.proyecto_interes, 255),
            ("medio_captacion", &self.medio_captacion, 100),
            ("modalidad", &self.modalidad, 100),
            ("status_presencia", &self.status_presencia, 100),
            ("resultado_interaccion", &self.resultado_interaccion, 100),
            ("observaciones", &self.observaciones, 5_000),
        ];
        for (field, text, longest) in optional {
            check_text(&mut errors, field, text.as_deref(), longest);
        }
        errors
    }
}

request! {
    /// The person of a presence.
    #[derive(ToSchema)]
    struct ClientWrite {
        /// Full name, or that of a company.
        #[schema(min_length = 1, max_length = 255, examples("Juan Pérez"))]
        nombres_completos_razon_social: String,
        /// Kind of document.
        #[schema(examples("DNI"))]
        tipo_documento: Option<String>,
        /// Its number.
        #[schema(min_length = 1, max_length = 50, examples("12345678"))]
        numero_documento: String,
        /// Telephone.
        telefono_principal: Option<String>,
        /// Mail address.
        email_principal: Option<String>,
        /// Address.
        direccion: Option<String>,
        /// District.
        distrito: Option<String>,
    }

    fn errors(&self) -> Vec<(&'static str, String)> {
        let mut errors = Vec::new();
        required(&mut errors, "nombres_completos_razon_social", &self.nombres_completos_razon_social, 255);
        required(&mut errors, "numero_documento", &self.numero_documento, 50);
        let optional = [
            ("tipo_documento", &self.tipo_documento, 50),
            ("telefono_principal", &self.telefono_principal, 50),
            ("email_principal", &self.email_principal, 254),
            ("direccion", &self.direccion, 500),
            ("distrito", &self.distrito, 255),
        ];
        for (field, text, longest) in optional {
            check_text(&mut errors, field, text.as_deref(), longest);
        }
        errors
    }
}

fn required(errors: &mut Vec<(&'static str, String)>, field: &'static str, text: &str, longest: usize) {
    if text.trim().is_empty() {
        errors.push((field, "Este campo no puede estar en blanco.".to_owned()));
    }
    check_text(errors, field, Some(text), longest);
}

/// A sale: what is known of it by name, and whatever else a CRM tells.
#[derive(ToSchema)]
struct SaleWrite {
    /// Day of the sale.
    #[schema(examples("2024-01-15"))]
    fecha_venta: Option<String>,
    /// The lot.
    lote: Option<String>,
    /// `contado` or `credito`.
    #[schema(examples("contado"))]
    tipo_venta: Option<String>,
    /// Months of credit.
    plazo_meses_credito: Option<i32>,
    /// Who sold it.
    vendedor_principal: Option<String>,
    /// Price of the lot.
    #[schema(examples("45000.00"))]
    valor_lote_venta: Option<String>,
    /// Down payment.
    cuota_inicial_requerida: Option<String>,
    #[schema(ignore)]
    details: Map<String, Value>,
}

impl Field for SaleWrite {
    fn read(value: Value) -> Result<Self, String> {
        Fields::as_field(value, |fields| Self {
            fecha_venta: fields.optional("fecha_venta"),
            lote: fields.optional("lote"),
            tipo_venta: fields.optional("tipo_venta"),
            plazo_meses_credito: fields.optional("plazo_meses_credito"),
            vendedor_principal: fields.optional("vendedor_principal"),
            valor_lote_venta: fields.optional("valor_lote_venta"),
            cuota_inicial_requerida: fields.optional("cuota_inicial_requerida"),
            details: fields.rest(),
        })
    }
}

impl PresenceWrite {
    /// The presence, and the sale that came of it.
    fn split(self, zone: chrono_tz::Tz) -> (Told, Option<NewSale>) {
        let given = |text: Option<String>| text.map(|text| text.trim().to_owned()).filter(|text| !text.is_empty());
        let told = Told {
            id_presencia_crm: self.id_presencia_crm.trim().to_owned(),
            client_name: self.cliente.nombres_completos_razon_social.trim().to_owned(),
            document_type: given(self.cliente.tipo_documento),
            document_number: self.cliente.numero_documento.trim().to_owned(),
            phone: given(self.cliente.telefono_principal),
            email: given(self.cliente.email_principal),
            address: given(self.cliente.direccion),
            district: given(self.cliente.distrito),
            attended_at: moments::read(&self.fecha_hora_presencia, zone).unwrap_or_default(),
            project: given(self.proyecto_interes),
            medium: given(self.medio_captacion),
            modality: given(self.modalidad),
            status: given(self.status_presencia),
            result: given(self.resultado_interaccion),
            notes: given(self.observaciones),
        };
        let sale = self.venta.map(|sale| NewSale {
            sold_on: given(sale.fecha_venta),
            lot: given(sale.lote),
            kind: given(sale.tipo_venta),
            credit_months: sale.plazo_meses_credito,
            seller: given(sale.vendedor_principal),
            lot_value: given(sale.valor_lote_venta),
            down_payment: given(sale.cuota_inicial_requerida),
            details: sale.details,
        });
        (told, sale)
    }
}

/// A presence that is kept, in the fields of the webhook.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Presence)]
struct PresenceView {
    /// Id of the presence.
    id_presencia: Id,
    /// The CRM's id of it.
    id_presencia_crm: String,
    /// The person.
    cliente: ClientView,
    /// When it took place, in UTC.
    fecha_hora_presencia: Timestamp,
    /// The project.
    proyecto_interes: Option<String>,
    /// How the person was won.
    medio_captacion: Option<String>,
    /// `presencial` or `virtual`.
    modalidad: Option<String>,
    /// How it ended.
    status_presencia: Option<String>,
    /// What came of it.
    resultado_interaccion: Option<String>,
    /// Notes.
    observaciones: Option<String>,
    /// Id of its sale; null for none.
    id_venta: Option<Id>,
    /// When it was first told.
    created_at: Timestamp,
}

/// The person of a presence.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = PresenceClient)]
struct ClientView {
    /// Full name, or that of a company.
    nombres_completos_razon_social: String,
    /// Kind of document.
    tipo_documento: Option<String>,
    /// Its number.
    numero_documento: String,
    /// Telephone.
    telefono_principal: Option<String>,
    /// Mail address.
    email_principal: Option<String>,
    /// Address.
    direccion: Option<String>,
    /// District.
    distrito: Option<String>,
}

impl From<Presence> for PresenceView {
    fn from(Presence { id, told, created_at, sale_id }: Presence) -> Self {
        Self {
            id_presencia: id,
            id_presencia_crm: told.id_presencia_crm,
            cliente: ClientView {
                nombres_completos_razon_social: told.client_name,
                tipo_documento: told.document_type,
                numero_documento: told.document_number,
                telefono_principal: told.phone,
                email_principal: told.email,
                direccion: told.address,
                distrito: told.district,
            },
            fecha_hora_presencia: told.attended_at,
            proyecto_interes: told.project,
            medio_captacion: told.medium,
            modalidad: told.modality,
            status_presencia: told.status,
            resultado_interaccion: told.result,
            observaciones: told.notes,
            id_venta: sale_id,
            created_at,
        }
    }
}

request! {
    /// Which presences to list.
    #[derive(IntoParams)]
    #[into_params(parameter_in = Query)]
    struct PresenceQuery {
        /// Only the presence of this id of the CRM.
        id_presencia_crm: Option<String>,
        /// Only those of this document.
        numero_documento: Option<String>,
        /// Only those that took place at this moment or later.
        from: Option<Timestamp>,
        /// Only those that took place before this moment.
        until: Option<Timestamp>,
    }
}

impl From<PresenceQuery> for PresenceFilter {
    fn from(query: PresenceQuery) -> Self {
        Self {
            id_presencia_crm: query.id_presencia_crm,
            document_number: query.numero_documento,
            attended_from: query.from,
            attended_until: query.until,
        }
    }
}
