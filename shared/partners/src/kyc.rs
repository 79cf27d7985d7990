//! Whether a partner is who it says it is (KYC): the states, what a verification changes, and the history of all of them.

use recado_kernel::clock::Timestamp;
use recado_kernel::db::{Result, Session};
use recado_kernel::ids::Id;
use recado_kernel::language::Sentence;
use recado_kernel::{sql, word_enum};
use serde_json::{Map, Value};
use sqlx::types::Json;
use utoipa::ToSchema;

/// The most documents of a partner.
pub const MOST_DOCUMENTS: usize = 100;

/// The most that all documents of a partner take as JSON, in bytes. They are names and links, not files.
pub const MOST_DOCUMENT_BYTES: usize = 64 * 1024;

/// Where a partner's verification stands (S001-10).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, strum::IntoStaticStr, strum::VariantArray, ToSchema)]
#[strum(const_into_str)]
pub enum KycStatus {
    /// It has not been decided yet.
    #[default]
    #[strum(serialize = "PENDIENTE")]
    #[schema(rename = "PENDIENTE")]
    Pending,
    #[strum(serialize = "APROBADO")]
    #[schema(rename = "APROBADO")]
    Approved,
    #[strum(serialize = "RECHAZADO")]
    #[schema(rename = "RECHAZADO")]
    Rejected,
    /// It waits for the partner.
    #[strum(serialize = "REQUIERE_DOCUMENTOS")]
    #[schema(rename = "REQUIERE_DOCUMENTOS")]
    DocumentsRequired,
}

word_enum!(KycStatus, "a state of a verification");

/// What a verification meant for the partner.
#[derive(Clone, Copy, Debug, PartialEq, Eq, strum::IntoStaticStr, strum::VariantArray, ToSchema)]
#[strum(serialize_all = "SCREAMING_SNAKE_CASE", const_into_str)]
#[schema(as = VerificationStep, rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Step {
    /// It may go on.
    Aprobacion,
    /// It may not.
    Rechazo,
    /// Documents are wanted before anybody decides.
    SolicitudDeDocumentos,
    /// The decision was taken back, and another one is to come.
    Reapertura,
    /// The state is the same; documents or comments came.
    Complemento,
}

word_enum!(Step, "a step of a verification");

/// The step from one state to another. Staff may take every one: an approval is withdrawn when papers turn out to be forged,
/// a refusal when they were misread.
pub fn step(before: KycStatus, after: KycStatus) -> Step {
    match after {
        same if same == before => Step::Complemento,
        KycStatus::Approved => Step::Aprobacion,
        KycStatus::Rejected => Step::Rechazo,
        KycStatus::DocumentsRequired => Step::SolicitudDeDocumentos,
        KycStatus::Pending => Step::Reapertura,
    }
}

/// What staff say about a partner.
#[derive(Clone, Debug, Default)]
pub struct Verification {
    pub status: KycStatus,
    /// By name. A document of a name that is known replaces it; null removes it; the others stay.
    pub documents: Map<String, Value>,
    pub comments: Option<String>,
}

/// How a partner stands after a verification.
#[derive(Clone, Debug, PartialEq)]
pub struct Verified {
    pub status: KycStatus,
    pub step: Step,
    pub documents: Map<String, Value>,
}

/// What a verification makes of a partner. `None`: it says nothing new, and leaves no trace.
///
/// # Errors
/// Why the documents cannot be kept.
pub fn verify(
    before: KycStatus,
    documents: &Map<String, Value>,
    verification: &Verification,
) -> std::result::Result<Option<Verified>, Sentence> {
    let step = step(before, verification.status);
    let mut merged = documents.clone();
    for (name, document) in &verification.documents {
        if document.is_null() {
            merged.remove(name);
        } else {
            merged.insert(name.clone(), document.clone());
        }
    }
    if merged.len() > MOST_DOCUMENTS {
        return Err(Sentence::new(
            format!("Un partner tiene como máximo {MOST_DOCUMENTS} documentos."),
            format!("A partner has {MOST_DOCUMENTS} documents at most."),
        ));
    }
    if merged != *documents && serde_json::to_string(&merged).map_or(0, |text| text.len()) > MOST_DOCUMENT_BYTES {
        return Err(Sentence::new(
            "Los documentos de un partner ocupan más de 64 KiB. Envíe nombres o enlaces, no archivos.",
            "The documents of a partner take more than 64 KiB. Send names or links, no files.",
        ));
    }
    if step == Step::Complemento && merged == *documents && verification.comments.is_none() {
        return Ok(None);
    }
    Ok(Some(Verified { status: verification.status, step, documents: merged }))
}

const _: () = assert!(MOST_DOCUMENT_BYTES == 64 * 1024, "the refusal names the limit");

/// One line of the history.
#[derive(Clone, Debug, sqlx::FromRow)]
pub struct Entry {
    pub id: Id,
    pub partner_id: Id,
    pub at: Timestamp,
    pub status_before: KycStatus,
    pub status_after: KycStatus,
    /// Names of the documents that came.
    pub documents: Json<Vec<String>>,
    pub comments: Option<String>,
    /// The beginning of the digest of the key that decided, or `anonymous`.
    pub decided_by: String,
}

pub(crate) async fn record(session: &mut Session, entry: &Entry) -> Result<()> {
    sql!(
        run,
        session,
        "insert into partner_kyc_history (id, partner_id, at, status_before, status_after, documents, comments, decided_by)
         values ($1, $2, $3, $4, $5, $6, $7, $8)",
        entry.id,
        entry.partner_id,
        entry.at,
        entry.status_before,
        entry.status_after,
        &entry.documents,
        entry.comments.as_deref(),
        entry.decided_by.as_str()
    )?;
    Ok(())
}

/// The newest lines of a partner's history, newest first, and how many there are.
pub async fn history(session: &mut Session, partner: Id, limit: i64, offset: i64) -> Result<(Vec<Entry>, i64)> {
    let entries = sql!(
        all Entry, session,
        "select id, partner_id, at, status_before, status_after, documents, comments, decided_by
         from partner_kyc_history where partner_id = $1 order by id desc limit $2 offset $3",
        partner, limit, offset
    )?;
    let count: Option<(i64,)> =
        sql!(one(i64,), session, "select count(*) from partner_kyc_history where partner_id = $1", partner)?;
    Ok((entries, count.map_or(0, |(count,)| count)))
}

/// Empties what staff wrote about a partner and which documents there were; who decided what and when stays.
pub(crate) async fn forget(session: &mut Session, partner: Id) -> Result<()> {
    sql!(
        run,
        session,
        "update partner_kyc_history set comments = null, documents = '[]' where partner_id = $1",
        partner
    )?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn object(value: Value) -> Map<String, Value> {
        let Value::Object(object) = value else { panic!("an object") };
        object
    }

    /// S001-6, S001-10: every way from one state to another.
    #[test]
    fn every_step_has_its_meaning() {
        use KycStatus::{Approved, DocumentsRequired, Pending, Rejected};
        use Step::{Aprobacion, Complemento, Reapertura, Rechazo, SolicitudDeDocumentos};
        // Rows: before. Columns: after, in the order of KycStatus::ALL.
        let table = [
            (Pending, [Complemento, Aprobacion, Rechazo, SolicitudDeDocumentos]),
            (Approved, [Reapertura, Complemento, Rechazo, SolicitudDeDocumentos]),
            (Rejected, [Reapertura, Aprobacion, Complemento, SolicitudDeDocumentos]),
            (DocumentsRequired, [Reapertura, Aprobacion, Rechazo, Complemento]),
        ];
        assert_eq!(KycStatus::WORDS, ["PENDIENTE", "APROBADO", "RECHAZADO", "REQUIERE_DOCUMENTOS"]);
        for (before, steps) in table {
            assert_eq!(KycStatus::ALL.map(|after| step(before, after)), steps, "{before}");
        }
    }

    #[test]
    fn documents_are_added_and_nothing_new_leaves_no_trace() {
        let known = object(json!({"rut": "rut.pdf", "cedula": "vieja.pdf"}));
        let verified = |verification: Verification| verify(KycStatus::Approved, &known, &verification);
        let says = |status, documents| Verification { status, documents: object(documents), comments: None };

        let nothing_new = says(KycStatus::Approved, json!({"rut": "rut.pdf"}));
        assert_eq!(verified(nothing_new.clone()), Ok(None));
        let commented = Verification { comments: Some("Revisado".into()), ..nothing_new };
        assert_eq!(verified(commented).unwrap().unwrap().step, Step::Complemento);

        let more = verified(says(KycStatus::Rejected, json!({"cedula": "nueva.pdf", "rut": null}))).unwrap().unwrap();
        assert_eq!((more.status, more.step), (KycStatus::Rejected, Step::Rechazo));
        assert_eq!(more.documents, object(json!({"cedula": "nueva.pdf"})));
    }

    #[test]
    fn documents_are_bounded() {
        let says = |documents| Verification { documents, ..Verification::default() };
        let many = (0..=MOST_DOCUMENTS).map(|number| (number.to_string(), json!("x"))).collect();
        assert!(verify(KycStatus::Pending, &Map::new(), &says(many)).unwrap_err().to_string().contains("100"));
        let long = object(json!({"archivo": "x".repeat(MOST_DOCUMENT_BYTES)}));
        assert!(verify(KycStatus::Pending, &Map::new(), &says(long)).unwrap_err().to_string().contains("64 KiB"));
    }
}
