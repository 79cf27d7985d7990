//! The commercial application's end: presences and sales, each once per id of the CRM.

use recado_kernel::clock::Timestamp;
use recado_kernel::db::filter::{Filter, List};
use recado_kernel::db::keyset::{Cursor, Order};
use recado_kernel::db::{Result, Session};
use recado_kernel::ids::Id;
use recado_kernel::sql;
use serde_json::{Map, Value};
use sqlx::types::Json;

/// What a CRM tells of a presence.
#[derive(Clone, Debug, Default, sqlx::FromRow)]
pub struct Told {
    pub id_presencia_crm: String,
    pub client_name: String,
    pub document_type: Option<String>,
    pub document_number: String,
    pub phone: Option<String>,
    pub email: Option<String>,
    pub address: Option<String>,
    pub district: Option<String>,
    pub attended_at: Timestamp,
    pub project: Option<String>,
    pub medium: Option<String>,
    pub modality: Option<String>,
    pub status: Option<String>,
    pub result: Option<String>,
    pub notes: Option<String>,
}

/// A sale that came of a presence.
#[derive(Clone, Debug, Default)]
pub struct NewSale {
    pub sold_on: Option<String>,
    pub lot: Option<String>,
    pub kind: Option<String>,
    pub credit_months: Option<i32>,
    pub seller: Option<String>,
    /// As it was written.
    pub lot_value: Option<String>,
    pub down_payment: Option<String>,
    /// What else was told.
    pub details: Map<String, Value>,
}

/// The ids under which it is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kept {
    pub presence_id: Id,
    pub sale_id: Option<Id>,
}

/// Keeps a presence, once however often it is told: the first telling stays. A sale joins the presence that is there; it too
/// is kept once (S004-3, S004-4).
pub async fn keep(session: &mut Session, told: &Told, sale: Option<&NewSale>, now: Timestamp) -> Result<Kept> {
    let presence_id = keep_presence(session, told, now).await?;
    if let Some(sale) = sale {
        keep_sale(session, presence_id, sale, now).await?;
    }
    let sale: Option<(Id,)> = sql!(one(Id,), session, "select id from crm_sales where presence_id = $1", presence_id)?;
    Ok(Kept { presence_id, sale_id: sale.map(|(id,)| id) })
}

async fn keep_presence(session: &mut Session, told: &Told, now: Timestamp) -> Result<Id> {
    let id = Id::new(now);
    // The update changes nothing; it makes the row that is there be returned, and others wait for this transaction.
    let kept: Option<(Id,)> = sql!(
        one(Id,),
        session,
        "insert into crm_presences (id, id_presencia_crm, client_name, document_type, document_number, phone, email, address,
             district, attended_at, project, medium, modality, status, result, notes, created_at, updated_at)
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $17)
         on conflict (id_presencia_crm) do update set updated_at = crm_presences.updated_at
         returning id",
        id,
        told.id_presencia_crm.as_str(),
        told.client_name.as_str(),
        told.document_type.as_deref(),
        told.document_number.as_str(),
        told.phone.as_deref(),
        told.email.as_deref(),
        told.address.as_deref(),
        told.district.as_deref(),
        told.attended_at,
        told.project.as_deref(),
        told.medium.as_deref(),
        told.modality.as_deref(),
        told.status.as_deref(),
        told.result.as_deref(),
        told.notes.as_deref(),
        now
    )?;
    Ok(kept.map_or(id, |(id,)| id))
}

async fn keep_sale(session: &mut Session, presence_id: Id, sale: &NewSale, now: Timestamp) -> Result<()> {
    sql!(
        run,
        session,
        "insert into crm_sales (id, presence_id, sold_on, lot, kind, credit_months, seller, lot_value, down_payment, details,
             created_at)
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11) on conflict (presence_id) do nothing",
        Id::new(now),
        presence_id,
        sale.sold_on.as_deref(),
        sale.lot.as_deref(),
        sale.kind.as_deref(),
        sale.credit_months,
        sale.seller.as_deref(),
        sale.lot_value.as_deref(),
        sale.down_payment.as_deref(),
        Json(&sale.details),
        now
    )?;
    Ok(())
}

/// A presence that is kept.
#[derive(Clone, Debug, sqlx::FromRow)]
pub struct Presence {
    pub id: Id,
    #[sqlx(flatten)]
    pub told: Told,
    pub created_at: Timestamp,
    pub sale_id: Option<Id>,
}

/// Which presences to list; `None` leaves a question out.
#[derive(Clone, Debug, Default)]
pub struct PresenceFilter {
    pub id_presencia_crm: Option<String>,
    pub document_number: Option<String>,
    pub attended_from: Option<Timestamp>,
    pub attended_until: Option<Timestamp>,
}

const SELECT: &str =
    "select id, id_presencia_crm, client_name, document_type, document_number, phone, email, address, district,
            attended_at, project, medium, modality, status, result, notes, created_at,
            (select s.id from crm_sales s where s.presence_id = crm_presences.id) as sale_id
     from crm_presences";

impl PresenceFilter {
    fn asked(&self) -> Filter {
        let mut asked = Filter::default();
        asked.equal("id_presencia_crm", self.id_presencia_crm.as_deref());
        asked.equal("document_number", self.document_number.as_deref());
        asked.when("attended_at >= ?", self.attended_from);
        asked.when("attended_at < ?", self.attended_until);
        asked
    }
}

/// A page of the presences that fit, the newest first, and how many fit in all.
pub async fn list(
    session: &mut Session,
    filter: &PresenceFilter,
    limit: i64,
    offset: i64,
) -> Result<(Vec<Presence>, i64)> {
    let list = List { select: SELECT, from: "crm_presences", key: "id", order: &["id"], descending: true };
    list.page(session, &filter.asked(), limit, offset).await
}

/// A page of the presences that fit, the newest first, and whether there are more in its direction.
pub async fn page(
    session: &mut Session,
    filter: &PresenceFilter,
    cursor: Cursor<Id>,
    limit: i64,
) -> Result<(Vec<Presence>, bool)> {
    filter.asked().page(session, SELECT, ("id", Order::Descending), cursor, limit).await
}
