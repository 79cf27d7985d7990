//! Partners: businesses whose systems work with ours. This module alone writes their table.

use recado_kernel::addresses::normalise_email;
use recado_kernel::clock::Timestamp;
use recado_kernel::db::filter::{Filter, List};
use recado_kernel::db::keyset::{Cursor, Order};
use recado_kernel::db::{Ids, Result, Session, contains};
use recado_kernel::fields::{Wrong, blank, check_text};
use recado_kernel::ids::Id;
use recado_kernel::language::Sentence;
use recado_kernel::{sql, word_enum};
use serde_json::{Map, Value};
use sqlx::types::Json;
use utoipa::ToSchema;

use crate::kyc::KycStatus;

/// The longest name, in characters.
pub const LONGEST_NAME: usize = 255;

/// The longest telephone number as people write it, in characters.
const LONGEST_PHONE: usize = 50;

/// The longest text of several lines, in characters: an address, a description, a reason, comments.
pub const LONGEST_TEXT: usize = 2_000;

/// How a partner stands with us (S001-10).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, strum::IntoStaticStr, strum::VariantArray, ToSchema)]
#[strum(const_into_str)]
#[schema(as = PartnerStatus)]
pub enum Status {
    #[default]
    #[strum(serialize = "ACTIVO")]
    #[schema(rename = "ACTIVO")]
    Active,
    #[strum(serialize = "INACTIVO")]
    #[schema(rename = "INACTIVO")]
    Inactive,
    #[strum(serialize = "SUSPENDIDO")]
    #[schema(rename = "SUSPENDIDO")]
    Suspended,
    /// The row stays, so that what was exchanged with it can be explained.
    #[strum(serialize = "ELIMINADO")]
    #[schema(rename = "ELIMINADO")]
    Deleted,
}

word_enum!(Status, "a state of a partner");

/// A partner as the database has it, without the documents of its verification ([`documents`]).
#[derive(Clone, Debug, sqlx::FromRow)]
pub struct Partner {
    pub id: Id,
    pub name: String,
    /// Unique whatever its case, and kept by a partner that is deleted. `None` where it registered without one (d22).
    pub email: Option<String>,
    /// Where people of the partner are reached; not unique.
    pub contact_email: Option<String>,
    /// As people write it: it is shown and never called.
    pub phone: Option<String>,
    pub address: Option<String>,
    pub status: Status,
    pub kyc_status: KycStatus,
    /// What seed 000 calls it, e.g. `partner_findyourwork`; unique.
    pub partner_id: Option<String>,
    /// Its short name in URLs of seed 000, e.g. `findyourwork`; unique.
    pub slug: Option<String>,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
    /// Set exactly when it is [`Status::Deleted`].
    pub deleted_at: Option<Timestamp>,
}

/// What is written about a partner.
#[derive(Clone, Debug, Default, PartialEq, Eq, ToSchema)]
#[schema(as = PartnerWrite)]
pub struct PartnerDraft {
    /// Name of the business.
    #[schema(rename = "nombre", min_length = 1, max_length = 255, examples("Empresa ABC"))]
    pub name: String,
    /// E-mail address, unique whatever its case.
    #[schema(value_type = String, max_length = 254, examples("contacto@empresaabc.com"))]
    pub email: Option<String>,
    /// Telephone number, as people write it.
    #[schema(rename = "telefono", max_length = 50, examples("+57 300 123 4567"))]
    pub phone: Option<String>,
    /// Postal address.
    #[schema(rename = "direccion", max_length = 2000, examples("Calle 123 #45-67, Bogotá"))]
    pub address: Option<String>,
    /// Where people of the partner are reached, where that is another address.
    #[schema(max_length = 254)]
    pub contact_email: Option<String>,
    /// How it stands with us. Deleting is a request of its own.
    #[schema(ignore)]
    pub status: Status,
    /// What seed 000 calls it.
    #[schema(ignore)]
    pub partner_id: Option<String>,
    /// Its short name in URLs of seed 000.
    #[schema(ignore)]
    pub slug: Option<String>,
}

impl PartnerDraft {
    /// Brings the fields into the form in which they are kept. What is wrong with one names it as it is called on the wire.
    pub fn tidy(&mut self) -> Wrong {
        let mut errors = Wrong::new();
        self.name = self.name.trim().to_owned();
        if self.name.is_empty() {
            errors.push(("nombre", blank()));
        }
        check_text(&mut errors, "nombre", Some(&self.name), LONGEST_NAME);
        for (field, email) in [("email", &mut self.email), ("contact_email", &mut self.contact_email)] {
            match email.as_deref().map(normalise_email).transpose() {
                Ok(normalised) => *email = normalised,
                Err(error) => errors.push((field, error.into())),
            }
        }
        check_text(&mut errors, "telefono", self.phone.as_deref(), LONGEST_PHONE);
        check_paragraph(&mut errors, "direccion", self.address.as_deref());
        errors
    }

    /// What tells two addresses apart.
    fn email_key(&self) -> Option<String> {
        self.email.as_deref().map(str::to_lowercase)
    }
}

impl From<&Partner> for PartnerDraft {
    fn from(partner: &Partner) -> Self {
        Self {
            name: partner.name.clone(),
            email: partner.email.clone(),
            phone: partner.phone.clone(),
            address: partner.address.clone(),
            status: partner.status,
            contact_email: partner.contact_email.clone(),
            partner_id: partner.partner_id.clone(),
            slug: partner.slug.clone(),
        }
    }
}

/// Checks a text that may have several lines; no other control characters.
pub fn check_paragraph<E: From<Sentence>>(
    errors: &mut Vec<(&'static str, E)>,
    field: &'static str,
    value: Option<&str>,
) {
    let one_line = value.map(|text| text.replace(['\n', '\r', '\t'], " "));
    check_text(errors, field, one_line.as_deref(), LONGEST_TEXT);
}

/// The unique index on the e-mail, as PostgreSQL and as SQLite name it ([`recado_kernel::db::Violation`]).
pub(crate) const EMAIL_KEY: (&str, &str) = ("partners_email_key", "partners.email_key");

/// The columns of a [`Partner`], by name: a star would break the prepared statements of running processes when a newer
/// version adds one.
pub(crate) const COLUMNS: &str = "id, name, email, contact_email, phone, address, status, kyc_status, partner_id, slug, created_at, \
     updated_at, deleted_at";

pub async fn find(session: &mut Session, id: Id) -> Result<Option<Partner>> {
    sql!(one Partner, session, (&format!("select {COLUMNS} from partners where id = $1")), id)
}

/// The id of the partner with this slug.
pub(crate) async fn find_by_slug(session: &mut Session, slug: &str) -> Result<Option<Id>> {
    let row: Option<(Id,)> = sql!(one(Id,), session, "select id from partners where slug = $1", slug)?;
    Ok(row.map(|(id,)| id))
}

/// Frees the names of a partner of seed 000, for another registration.
pub(crate) async fn give_up_names(session: &mut Session, id: Id, now: Timestamp) -> Result<()> {
    sql!(run, session, "update partners set partner_id = null, slug = null, updated_at = $2 where id = $1", id, now)?;
    Ok(())
}

/// What these partners are called, by id.
pub async fn names(session: &mut Session, ids: &[Id]) -> Result<Vec<(Id, String)>> {
    sql!(all(Id, String), session, "select id, name from partners where id = any($1)", Ids(ids))
}

/// The partner, held until the end of the transaction, so that two changes of it do not lose each other.
pub async fn lock(session: &mut Session, id: Id) -> Result<Option<Partner>> {
    sql!(one Partner, session, (&format!("select {COLUMNS} from partners where id = $1 for update")), id)
}

/// What was handed in for the verification of a partner, by name.
pub async fn documents(session: &mut Session, id: Id) -> Result<Map<String, Value>> {
    let row: Option<(Json<Map<String, Value>>,)> =
        sql!(one(Json<Map<String, Value>>), session, "select kyc_documents from partners where id = $1", id)?;
    Ok(row.map(|(documents,)| documents.0).unwrap_or_default())
}

/// Which partners to list; `None` leaves a question out.
#[derive(Clone, Debug, Default)]
pub struct PartnerFilter {
    pub status: Option<Status>,
    pub kyc_status: Option<KycStatus>,
    /// The whole name.
    pub name: Option<String>,
    /// Part of a name or an address, in either case.
    pub search: Option<String>,
}

/// A partner in a list.
#[derive(Clone, Debug, sqlx::FromRow)]
pub struct Listed {
    #[sqlx(flatten)]
    pub partner: Partner,
    /// How many integrations it has, revoked ones among them.
    pub integrations: i64,
}

/// A page of the partners that fit, oldest first, and how many fit in all.
pub async fn list(
    session: &mut Session,
    filter: &PartnerFilter,
    limit: i64,
    offset: i64,
) -> Result<(Vec<Listed>, i64)> {
    let list = List {
        select: &format!("{} from partners", listed()),
        from: "partners",
        key: "id",
        order: &["id"],
        descending: false,
    };
    list.page(session, &filter.asked(), limit, offset).await
}

/// A page of the partners that fit, the newest first, and whether there are more in its direction.
pub async fn page(
    session: &mut Session,
    filter: &PartnerFilter,
    cursor: Cursor<Id>,
    limit: i64,
) -> Result<(Vec<Listed>, bool)> {
    filter.asked().page(session, &format!("{} from partners", listed()), ("id", Order::Descending), cursor, limit).await
}

fn listed() -> String {
    format!("select {COLUMNS}, (select count(*) from integraciones i where i.partner_id = partners.id) as integrations")
}

impl PartnerFilter {
    fn asked(&self) -> Filter {
        let filter = self;
        let mut asked = Filter::default();
        asked.equal("status", filter.status.map(Status::as_str));
        asked.equal("kyc_status", filter.kyc_status.map(KycStatus::as_str));
        asked.equal("name", filter.name.as_deref());
        if let Some(search) = &filter.search {
            let text = asked.value(contains(search.trim()));
            let columns =
                ["name", "email", "contact_email", "slug"].map(|column| format!("{column} ilike {text} escape '\\'"));
            asked.require(format!("({})", columns.join(" or ")));
        }
        asked
    }
}

/// Writes a new partner. An e-mail that is taken violates [`EMAIL_KEY`].
pub(crate) async fn insert(session: &mut Session, draft: &PartnerDraft, now: Timestamp) -> Result<Partner> {
    let partner = Partner {
        id: Id::new(now),
        name: draft.name.clone(),
        email: draft.email.clone(),
        contact_email: draft.contact_email.clone(),
        phone: draft.phone.clone(),
        address: draft.address.clone(),
        status: draft.status,
        kyc_status: KycStatus::Pending,
        partner_id: draft.partner_id.clone(),
        slug: draft.slug.clone(),
        created_at: now,
        updated_at: now,
        deleted_at: None,
    };
    sql!(
        run,
        session,
        "insert into partners (id, name, email, email_key, contact_email, phone, address, status, kyc_status, kyc_documents,
             partner_id, slug, created_at, updated_at)
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $13)",
        partner.id,
        partner.name.as_str(),
        partner.email.as_deref(),
        draft.email_key(),
        partner.contact_email.as_deref(),
        partner.phone.as_deref(),
        partner.address.as_deref(),
        partner.status,
        partner.kyc_status,
        Json(Map::new()),
        partner.partner_id.as_deref(),
        partner.slug.as_deref(),
        now
    )?;
    Ok(partner)
}

/// Replaces what is written about a partner. An e-mail that is taken violates [`EMAIL_KEY`].
pub(crate) async fn replace(session: &mut Session, id: Id, draft: &PartnerDraft, now: Timestamp) -> Result<()> {
    sql!(
        run,
        session,
        "update partners set name = $2, email = $3, email_key = $4, contact_email = $5, phone = $6, address = $7, status = $8,
             partner_id = $9, slug = $10, updated_at = $11
         where id = $1",
        id,
        draft.name.as_str(),
        draft.email.as_deref(),
        draft.email_key(),
        draft.contact_email.as_deref(),
        draft.phone.as_deref(),
        draft.address.as_deref(),
        draft.status,
        draft.partner_id.as_deref(),
        draft.slug.as_deref(),
        now
    )?;
    Ok(())
}

pub(crate) async fn set_kyc(
    session: &mut Session,
    id: Id,
    status: KycStatus,
    documents: &Map<String, Value>,
    now: Timestamp,
) -> Result<()> {
    sql!(
        run,
        session,
        "update partners set kyc_status = $2, kyc_documents = $3, updated_at = $4 where id = $1",
        id,
        status,
        Json(documents),
        now
    )?;
    Ok(())
}

pub(crate) async fn mark_deleted(session: &mut Session, id: Id, now: Timestamp) -> Result<()> {
    let deleted = Status::Deleted;
    sql!(
        run,
        session,
        "update partners set status = $2, updated_at = $3, deleted_at = $3 where id = $1",
        id,
        deleted,
        now
    )?;
    Ok(())
}

/// The name that a partner has when the people behind it are forgotten.
pub const FORGOTTEN: &str = "(borrado)";

/// Empties what tells of people. The e-mail of a forgotten partner is free for another.
pub(crate) async fn forget(session: &mut Session, id: Id, now: Timestamp) -> Result<()> {
    sql!(
        run,
        session,
        "update partners set name = $2, email = null, email_key = null, contact_email = null, phone = null, address = null,
             kyc_documents = '{}', partner_id = null, slug = null, updated_at = $3
         where id = $1",
        id,
        FORGOTTEN,
        now
    )?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_wrong_field_is_named_as_on_the_wire() {
        let good = || PartnerDraft {
            name: " Empresa ABC ".into(),
            email: Some("Ana@ABC.com".into()),
            ..PartnerDraft::default()
        };
        let fields = |mut draft: PartnerDraft| draft.tidy().into_iter().map(|(field, _)| field).collect::<Vec<_>>();
        let mut draft = good();
        assert!(draft.tidy().is_empty());
        assert_eq!((draft.name.as_str(), draft.email.as_deref()), ("Empresa ABC", Some("Ana@abc.com")));
        assert_eq!(draft.email_key().as_deref(), Some("ana@abc.com"));

        assert_eq!(fields(PartnerDraft { name: " ".into(), email: Some("ana".into()), ..good() }), ["nombre", "email"]);
        assert_eq!(fields(PartnerDraft { name: "ñ".repeat(256), ..good() }), ["nombre"]);
        assert_eq!(fields(PartnerDraft { phone: Some("1\n2".into()), ..good() }), ["telefono"]);
        assert!(fields(PartnerDraft { address: Some("Calle 1\nBogotá".into()), ..good() }).is_empty());
        assert_eq!(fields(PartnerDraft { address: Some("Calle\u{1b}".into()), ..good() }), ["direccion"]);
    }
}
