//! Who changed what, when and from where.

use std::sync::Arc;

use axum::extract::State;
use recado_kernel::audit::{self, ActorKind, AuditFilter, Entry};
use recado_kernel::clock::Timestamp;
use recado_kernel::ids::Id;
use serde::Serialize;
use serde_json::Value;
use utoipa::{IntoParams, ToSchema};

use crate::auth::{Admin, May, Read};
use crate::extract::page::{Keyset, Slice};
use crate::extract::path::Segments;
use crate::extract::query::Query;
use crate::extract::request::request;
use crate::problem::Problem;
use crate::routing::routes;
use crate::state::{Api, Routes};

pub(crate) fn routes() -> Routes {
    Routes::new().routes(routes!(list_entries)).routes(routes!(list_history))
}

/// Every write by a person, a key, a command or a schedule, the newest first.
///
/// An entry is written in the transaction of what it tells. It names things by their ids and holds no secret and no address of a person.
/// That somebody looked at an address is an entry too (`reveal`).
#[utoipa::path(get, path = "/", tag = "audit", params(AuditQuery, Keyset),
    responses((status = 200, description = "A page of entries", body = Slice<EntryView>)))]
async fn list_entries(
    _: May<Admin>,
    State(api): State<Arc<Api>>,
    Query(asked): Query<AuditQuery>,
    keyset: Keyset,
) -> Result<axum::Json<Slice<EntryView>>, Problem> {
    let AuditQuery { actor, action, subject_kind, subject, from } = asked;
    page(&api, &keyset, &AuditFilter { actor, action, subject_kind, subject, since: from }).await
}

/// What was done to one thing, the newest first: its history.
#[utoipa::path(get, path = "/{subject_kind}/{subject}", tag = "audit",
    params(("subject_kind" = String, Path, description = "What it is: `task`, `template`, `customer`, `user`, …"),
           ("subject" = String, Path, description = "Its id or name"), Keyset),
    responses((status = 200, description = "A page of entries; empty when nothing was done to it", body = Slice<EntryView>)))]
async fn list_history(
    _: May<Read>,
    State(api): State<Arc<Api>>,
    Segments(kind, subject): Segments<String, String>,
    keyset: Keyset,
) -> Result<axum::Json<Slice<EntryView>>, Problem> {
    let filter = AuditFilter { subject_kind: Some(kind), subject: Some(subject), ..AuditFilter::default() };
    page(&api, &keyset, &filter).await
}

async fn page(api: &Api, keyset: &Keyset, filter: &AuditFilter) -> Result<axum::Json<Slice<EntryView>>, Problem> {
    let found = audit::page(&mut api.context.db.read().await?, filter, keyset.after(), keyset.limit()).await?;
    Ok(axum::Json(keyset.slice(found, |entry| entry.id, EntryView::from)))
}

request! {
    /// Which entries to list.
    #[derive(Debug, IntoParams)]
    #[into_params(parameter_in = Query)]
    struct AuditQuery {
        /// Only those of this person, key or command, as entries name them.
        #[param(example = "ana@example.com")]
        actor: Option<String>,
        /// Only this action.
        #[param(example = "retry")]
        action: Option<String>,
        /// Only about things of this kind.
        #[param(example = "template")]
        subject_kind: Option<String>,
        /// Only about the thing with this id or name.
        subject: Option<String>,
        /// Only what was done at this time or later (RFC 3339).
        from: Option<Timestamp>,
    }
}

/// What somebody did.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = AuditEntry)]
struct EntryView {
    /// Id of the entry.
    id: Id,
    /// When it was done.
    at: Timestamp,
    /// What sort of actor it was.
    actor_kind: ActorKind,
    /// Who: the name of a person, the beginning of a key, a command.
    #[schema(examples("ana@example.com"))]
    actor: String,
    /// From where it was asked; null where it was not asked over a network.
    #[schema(examples("192.0.2.7"))]
    address: Option<String>,
    /// What was done.
    #[schema(examples("change"))]
    action: String,
    /// To what.
    #[schema(examples("template"))]
    subject_kind: String,
    /// Its id or name.
    subject: String,
    /// The fields that changed, as they were; null where there was nothing.
    #[schema(value_type = Option<Object>)]
    before: Option<Value>,
    /// The same as they are since.
    #[schema(value_type = Option<Object>)]
    after: Option<Value>,
    /// The request, as the log names it; null where there was none.
    request_id: Option<String>,
}

impl From<Entry> for EntryView {
    fn from(entry: Entry) -> Self {
        let said = |text: String| Some(text).filter(|text| !text.is_empty());
        Self {
            id: entry.id,
            at: entry.at,
            actor_kind: entry.actor_kind,
            actor: entry.actor,
            address: said(entry.address),
            action: entry.action,
            subject_kind: entry.subject_kind,
            subject: entry.subject,
            before: entry.before.map(|before| before.0),
            after: entry.after.map(|after| after.0),
            request_id: said(entry.request_id),
        }
    }
}
