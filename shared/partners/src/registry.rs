//! What can be done with partners. Each is done in the caller's transaction, together with the event that tells of it, and
//! holds the partner's row meanwhile: two changes at once come one after the other.

use recado_kernel::audit::{self, Act, Actor};
use recado_kernel::clock::Timestamp;
use recado_kernel::db::{self, Session, Violation};
use recado_kernel::ids::Id;
use recado_kernel::language::Sentence;
use recado_queue::ring::Ring;
use secrecy::SecretString;
use serde_json::{Value, json};
use sqlx::types::Json;

use crate::erasure;
use crate::events::{self, Event};
use crate::gate;
use crate::integrations::{self, Integration, IntegrationDraft, KeepError, MOST_IN_FORCE};
use crate::kyc::{self, Entry, KycStatus, Verification};
use crate::partners::{self, EMAIL_KEY, Partner, PartnerDraft, Status};
use crate::standing::Policy;

/// Why an integration of a partner that is deleted was revoked, as its clients read it.
const REVOKED_WITH_PARTNER: &str = "Partner eliminado";

/// Why something was not done. The sentences are for the people who use the registry.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    #[error("Ya hay un partner registrado con este email.")]
    EmailTaken,
    #[error("No hay ningún partner con este id.")]
    PartnerNotFound,
    #[error("El partner está eliminado.")]
    PartnerDeleted,
    #[error("No hay ninguna integración con este id.")]
    IntegrationNotFound,
    #[error("La integración ya está revocada.")]
    IntegrationRevoked,
    #[error("estado_kyc: \"{}\" no es un estado de KYC. Use: {}.", .0.escape_debug(), KycStatus::WORDS.join(", "))]
    UnknownKycStatus(String),
    /// The field, as on the wire, and what is wrong with it.
    #[error("{field}: {error}")]
    Field { field: &'static str, error: Sentence },
}

impl Refusal {
    /// The word for programs (S001-11).
    pub const fn code(&self) -> &'static str {
        match self {
            Self::EmailTaken => "EMAIL_EXISTENTE",
            Self::PartnerNotFound => "PARTNER_NO_ENCONTRADO",
            Self::PartnerDeleted => "PARTNER_ELIMINADO",
            Self::IntegrationNotFound => "INTEGRACION_NO_ENCONTRADA",
            Self::IntegrationRevoked => "INTEGRACION_YA_REVOCADA",
            Self::UnknownKycStatus(_) => "KYC_INVALIDO",
            Self::Field { .. } => "DATOS_INVALIDOS",
        }
    }

    /// What is said to the person who wanted it, without the name of a field.
    pub fn sentence(&self) -> Sentence {
        let english = match self {
            Self::EmailTaken => "There is a partner with this email already.",
            Self::PartnerNotFound => "There is no partner with this id.",
            Self::PartnerDeleted => "The partner is deleted.",
            Self::IntegrationNotFound => "There is no integration with this id.",
            Self::IntegrationRevoked => "The integration is revoked already.",
            Self::UnknownKycStatus(_) => "This is not a state of a verification.",
            Self::Field { error, .. } => return error.clone(),
        };
        Sentence::new(self.to_string(), english)
    }

    fn field(field: &'static str, error: Sentence) -> Self {
        Self::Field { field, error }
    }
}

/// Something was refused, or the database failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(transparent)]
    Refused(#[from] Refusal),
    #[error(transparent)]
    Database(#[from] db::Error),
    /// A secret could not be sealed: OpenSSL has no cipher or no randomness.
    #[error("a secret could not be sealed")]
    Unsealable,
}

pub type Result<T> = std::result::Result<T, Error>;

/// Something was done, and is to be committed.
#[derive(Debug)]
#[must_use = "what is to be rung is rung after the commit"]
pub struct Done<T> {
    pub value: T,
    /// The tasks that tell of it.
    pub rings: Vec<Ring>,
}

/// Registers a partner (S001-1). The draft is [tidy](PartnerDraft::tidy).
///
/// # Errors
/// [`Refusal::EmailTaken`], also when another registration is faster.
pub async fn register(
    session: &mut Session,
    draft: &PartnerDraft,
    actor: &Actor,
    now: Timestamp,
) -> Result<Done<Partner>> {
    let partner = partners::insert(session, draft, now).await.map_err(taken)?;
    write_down(session, actor, "create", partner.id, None, facts(&partner), now).await?;
    let rings = events::publish(session, &[Event::partner_created(&partner)], now).await?;
    Ok(Done { value: partner, rings })
}

/// Changes a partner (S001-4). `change` makes a tidy draft of what there is.
///
/// # Errors
/// When there is none, it is deleted, or its new e-mail is another's; and what `change` refuses.
pub async fn change<E: From<Error>>(
    session: &mut Session,
    id: Id,
    change: impl FnOnce(&Partner) -> std::result::Result<PartnerDraft, E>,
    policy: Policy,
    actor: &Actor,
    now: Timestamp,
) -> std::result::Result<Done<Partner>, E> {
    let before = present(session, id).await?;
    let draft = change(&before)?;
    Ok(replace(session, before, draft, policy, actor, now).await?)
}

async fn replace(
    session: &mut Session,
    before: Partner,
    draft: PartnerDraft,
    policy: Policy,
    actor: &Actor,
    now: Timestamp,
) -> Result<Done<Partner>> {
    let fields = changed(&PartnerDraft::from(&before), &draft);
    if fields.is_empty() {
        return Ok(Done { value: before, rings: Vec::new() });
    }
    partners::replace(session, before.id, &draft, now).await.map_err(taken)?;
    let event = Event::partner_changed(before.id, &fields, before.status, draft.status);
    let mut rings = events::publish(session, &[event], now).await?;
    if draft.status != before.status {
        rings.extend(gate::follow(session, before.id, policy, now).await?);
    }
    let was = facts(&before);
    let changed = Partner {
        name: draft.name,
        email: draft.email,
        contact_email: draft.contact_email,
        phone: draft.phone,
        address: draft.address,
        status: draft.status,
        partner_id: draft.partner_id,
        slug: draft.slug,
        updated_at: now,
        ..before
    };
    let mut is = facts(&changed);
    // Addresses of people are not written down, but that they changed is.
    is["fields"] = json!(fields);
    write_down(session, actor, "change", changed.id, Some(was), is, now).await?;
    Ok(Done { value: changed, rings })
}

/// The names, on the wire, of what differs.
fn changed(before: &PartnerDraft, after: &PartnerDraft) -> Vec<&'static str> {
    let differs = [
        ("nombre", before.name != after.name),
        ("email", before.email != after.email),
        ("telefono", before.phone != after.phone),
        ("direccion", before.address != after.address),
        ("estado", before.status != after.status),
        ("contact_email", before.contact_email != after.contact_email),
        ("partner_id", before.partner_id != after.partner_id || before.slug != after.slug),
    ];
    differs.into_iter().filter_map(|(name, differs)| differs.then_some(name)).collect()
}

/// Deletes a partner (S001-5): its row stays, and all its integrations are revoked.
///
/// # Errors
/// When there is none, or it is deleted already.
pub async fn delete(session: &mut Session, id: Id, actor: &Actor, now: Timestamp) -> Result<Done<()>> {
    let before = present(session, id).await?;
    write_down(session, actor, "delete", id, Some(facts(&before)), json!({}), now).await?;
    partners::mark_deleted(session, id, now).await?;
    let revoked = integrations::revoke_all(session, id, REVOKED_WITH_PARTNER, now).await?;
    // A deleted partner gets nothing under any policy.
    gate::follow(session, id, Policy::default(), now).await?;
    let told = |integration: Id| Event::integration_revoked(id, integration, Some(REVOKED_WITH_PARTNER));
    let all: Vec<Event> = revoked.into_iter().map(told).chain([Event::partner_deleted(id)]).collect();
    Ok(Done { value: (), rings: events::publish(session, &all, now).await? })
}

/// Deletes a partner, where that has not been done, and forgets the people behind it.
///
/// # Errors
/// When there is none.
pub async fn erase(session: &mut Session, id: Id, actor: &Actor, now: Timestamp) -> Result<Done<()>> {
    let done = match delete(session, id, actor, now).await {
        Err(Error::Refused(Refusal::PartnerDeleted)) => Done { value: (), rings: Vec::new() },
        other => other?,
    };
    erasure::forget_partner(session, id, now).await?;
    write_down(session, actor, "erase", id, None, json!({}), now).await?;
    Ok(done)
}

/// Takes down what staff decided about a partner (S001-6).
///
/// # Errors
/// When there is none, it is deleted, or the documents cannot be kept.
pub async fn verify(
    session: &mut Session,
    id: Id,
    verification: &Verification,
    decided_by: &str,
    policy: Policy,
    actor: &Actor,
    now: Timestamp,
) -> Result<Done<Partner>> {
    let before = present(session, id).await?;
    let documents = partners::documents(session, id).await?;
    let verified = kyc::verify(before.kyc_status, &documents, verification);
    let verified = verified.map_err(|error| Refusal::field("documentos", error))?;
    let Some(verified) = verified else { return Ok(Done { value: before, rings: Vec::new() }) };
    partners::set_kyc(session, id, verified.status, &verified.documents, now).await?;
    let entry = Entry {
        id: Id::new(now),
        partner_id: id,
        at: now,
        status_before: before.kyc_status,
        status_after: verified.status,
        documents: Json(verification.documents.keys().cloned().collect()),
        comments: verification.comments.clone(),
        decided_by: decided_by.to_owned(),
    };
    kyc::record(session, &entry).await?;
    let (was, is) =
        (json!({ "kyc": before.kyc_status }), json!({ "kyc": verified.status, "documents": entry.documents }));
    write_down(session, actor, "verify", id, Some(was), is, now).await?;
    let event = Event::kyc_verified(id, before.kyc_status, verified.status);
    let mut rings = events::publish(session, &[event], now).await?;
    rings.extend(gate::follow(session, id, policy, now).await?);
    Ok(Done { value: Partner { kyc_status: verified.status, updated_at: now, ..before }, rings })
}

/// Connects a system of a partner (S001-7). `key` is `SECRET_KEY`, which seals the secrets of the configuration.
///
/// # Errors
/// When there is no such partner, it is deleted or has too many, or there are secrets and no key.
pub async fn integrate(
    session: &mut Session,
    partner: Id,
    draft: IntegrationDraft,
    key: Option<&SecretString>,
    actor: &Actor,
    now: Timestamp,
) -> Result<Done<Integration>> {
    present(session, partner).await?;
    if integrations::count_in_force(session, partner).await? >= MOST_IN_FORCE {
        let error = Sentence::new(
            format!("El partner ya tiene {MOST_IN_FORCE} integraciones activas; revoque las que no use."),
            format!("The partner has {MOST_IN_FORCE} active integrations already; revoke those that are not used."),
        );
        return Err(Refusal::field("nombre", error).into());
    }
    let id = Id::new(now);
    let kept = integrations::keep(id, draft.configuration, key).map_err(|error| match error {
        KeepError::NoKey => Error::Refused(Refusal::field(
            "configuracion",
            Sentence::new(
                "Contiene secretos que no se pueden guardar: falta SECRET_KEY (32 caracteres o más) en el entorno.",
                "It holds secrets that cannot be kept: SECRET_KEY (32 characters or more) is missing in the environment.",
            ),
        )),
        KeepError::Seal(_) => Error::Unsealable,
    })?;
    let integration = Integration {
        id,
        partner_id: partner,
        kind: draft.kind,
        name: draft.name,
        description: draft.description,
        configuration: Json(kept.shown),
        secrets: kept.secrets,
        created_at: now,
        revoked_at: None,
        revocation_reason: None,
    };
    integrations::insert(session, &integration).await?;
    let is = json!({ "integration": id, "kind": integration.kind });
    write_down(session, actor, "integrate", partner, None, is, now).await?;
    let rings = events::publish(session, &[Event::integration_created(partner, id)], now).await?;
    Ok(Done { value: integration, rings })
}

/// Ends an integration (S001-8).
///
/// # Errors
/// When there is none, or it is revoked already.
pub async fn revoke(
    session: &mut Session,
    integration: Id,
    reason: Option<&str>,
    actor: &Actor,
    now: Timestamp,
) -> Result<Done<()>> {
    let before = integrations::lock(session, integration).await?.ok_or(Refusal::IntegrationNotFound)?;
    if !before.is_in_force() {
        return Err(Refusal::IntegrationRevoked.into());
    }
    integrations::revoke(session, integration, reason, now).await?;
    gate::follow_integration(session, integration, now).await?;
    let was = json!({ "integration": integration, "kind": before.kind });
    write_down(session, actor, "revoke", before.partner_id, Some(was), json!({}), now).await?;
    let event = Event::integration_revoked(before.partner_id, integration, reason);
    Ok(Done { value: (), rings: events::publish(session, &[event], now).await? })
}

/// What the audit log calls a partner.
pub const PARTNER: &str = "partner";

/// What it keeps of one: neither its name nor its addresses, which may be a person's and are forgotten with them.
fn facts(partner: &Partner) -> Value {
    json!({ "status": partner.status, "kyc": partner.kyc_status })
}

pub(crate) async fn write_down(
    session: &mut Session,
    actor: &Actor,
    action: &'static str,
    partner: Id,
    before: Option<Value>,
    after: Value,
    now: Timestamp,
) -> db::Result<()> {
    let act = Act::new(action, PARTNER, partner);
    let act = match before {
        Some(before) => act.changed(before, after),
        None => act.made(after),
    };
    audit::write(session, actor, &act, now).await
}

/// The partner, held until the end of the transaction, when it is there to be worked with.
async fn present(session: &mut Session, id: Id) -> Result<Partner> {
    let partner = partners::lock(session, id).await?.ok_or(Refusal::PartnerNotFound)?;
    if partner.status == Status::Deleted { Err(Refusal::PartnerDeleted.into()) } else { Ok(partner) }
}

fn taken(error: db::Error) -> Error {
    let (constraint, columns) = EMAIL_KEY;
    if error.violates(constraint, columns) { Refusal::EmailTaken.into() } else { error.into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_changed_is_named_as_on_the_wire() {
        let before = PartnerDraft { name: "A".into(), ..PartnerDraft::default() };
        let after = PartnerDraft { name: "B".into(), status: Status::Suspended, ..PartnerDraft::default() };
        assert_eq!(changed(&before, &before), [""; 0]);
        assert_eq!(changed(&before, &after), ["nombre", "estado"]);
    }
}
