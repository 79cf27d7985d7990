//! Integrations: how a partner's systems are connected with ours. This module alone writes their table, whose name is that of
//! the registry before (S001-15).
//!
//! A configuration is whatever the integration needs. Its secrets are kept apart from it and sealed, so that what is read
//! holds none ([`masking`]).

use recado_kernel::clock::Timestamp;
use recado_kernel::db::{Result, Session};
use recado_kernel::fields::{Wrong, blank, check_text};
use recado_kernel::ids::Id;
use recado_kernel::language::Sentence;
use recado_kernel::sealed::{self, SealError};
use recado_kernel::{sql, word_enum};
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Map, Value};
use sqlx::types::Json;
use utoipa::ToSchema;

use crate::masking;
use crate::partners::{LONGEST_NAME, check_paragraph};

/// The most integrations of a partner that are in force at a time.
pub const MOST_IN_FORCE: i64 = 200;

/// The most integrations that are shown with their partner: the newest.
pub const MOST_SHOWN: i64 = 500;

/// The most that a configuration takes as JSON, in bytes.
pub const MOST_CONFIGURATION_BYTES: usize = 64 * 1024;

/// How an integration exchanges data (S001-10).
#[derive(Clone, Copy, Debug, PartialEq, Eq, strum::IntoStaticStr, strum::VariantArray, ToSchema)]
#[strum(serialize_all = "SCREAMING_SNAKE_CASE", const_into_str)]
#[schema(as = IntegrationKind, rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Kind {
    Api,
    Webhook,
    Batch,
    RealTime,
}

word_enum!(Kind, "a kind of integration");

/// An integration as the database has it.
#[derive(Clone, Debug, sqlx::FromRow)]
pub struct Integration {
    pub id: Id,
    pub partner_id: Id,
    pub kind: Kind,
    pub name: String,
    pub description: Option<String>,
    /// An object with [`masking::MASK`] in the place of every secret.
    pub configuration: Json<Value>,
    /// The secrets by JSON pointer, sealed for the integration's id ([`sealed::seal`]).
    pub secrets: Option<String>,
    pub created_at: Timestamp,
    /// `None`: it is in force.
    pub revoked_at: Option<Timestamp>,
    pub revocation_reason: Option<String>,
}

impl Integration {
    pub fn is_in_force(&self) -> bool {
        self.revoked_at.is_none()
    }

    /// The configuration with its secrets in clear.
    ///
    /// # Errors
    /// When they were sealed with another `SECRET_KEY`, or none is set now.
    pub fn open_configuration(&self, key: Option<&SecretString>) -> std::result::Result<Value, SealError> {
        let Some(secrets) = &self.secrets else { return Ok(self.configuration.0.clone()) };
        let opened = sealed::open(key.ok_or(SealError::Foreign)?, &self.id.to_string(), secrets)?;
        let secrets: Map<String, Value> =
            serde_json::from_str(opened.expose_secret()).map_err(|_| SealError::Foreign)?;
        Ok(masking::join(self.configuration.0.clone(), secrets))
    }
}

/// An integration that is to be made.
#[derive(Clone, Debug)]
pub struct IntegrationDraft {
    pub kind: Kind,
    pub name: String,
    pub description: Option<String>,
    /// With its secrets in clear.
    pub configuration: Map<String, Value>,
}

impl IntegrationDraft {
    /// What is wrong with it; every error names its field as it is called on the wire.
    pub fn errors(&self) -> Wrong {
        let mut errors = Wrong::new();
        if self.name.trim().is_empty() {
            errors.push(("nombre", blank()));
        }
        check_text(&mut errors, "nombre", Some(&self.name), LONGEST_NAME);
        check_paragraph(&mut errors, "descripcion", self.description.as_deref());
        if serde_json::to_string(&self.configuration).map_or(0, |text| text.len()) > MOST_CONFIGURATION_BYTES {
            errors.push(("configuracion", Sentence::new("Ocupa más de 64 KiB.", "It takes more than 64 KiB.")));
        }
        errors
    }
}

const _: () = assert!(MOST_CONFIGURATION_BYTES == 64 * 1024, "the refusal names the limit");

/// A configuration as it is kept: what may be shown, and the sealed secrets, if there are any.
#[derive(Clone, Debug)]
pub struct Kept {
    pub shown: Value,
    pub secrets: Option<String>,
}

/// Why a configuration cannot be kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeepError {
    /// It has secrets, and there is no `SECRET_KEY` to seal them with.
    #[error("SECRET_KEY is not set")]
    NoKey,
    #[error(transparent)]
    Seal(#[from] SealError),
}

/// Takes a configuration apart for the integration of this id.
///
/// # Errors
/// When there are secrets, and they cannot be sealed.
pub fn keep(
    id: Id,
    configuration: Map<String, Value>,
    key: Option<&SecretString>,
) -> std::result::Result<Kept, KeepError> {
    let (shown, secrets) = masking::split(Value::Object(configuration));
    if secrets.is_empty() {
        return Ok(Kept { shown, secrets: None });
    }
    let secrets: SecretString = Value::Object(secrets).to_string().into();
    let sealed = sealed::seal(key.ok_or(KeepError::NoKey)?, &id.to_string(), &secrets)?;
    Ok(Kept { shown, secrets: Some(sealed) })
}

/// The columns of an [`Integration`], by name: a star would break the prepared statements of running processes when a newer
/// version adds one.
const COLUMNS: &str =
    "id, partner_id, kind, name, description, configuration, secrets, created_at, revoked_at, revocation_reason";

/// The integration, held until the end of the transaction.
pub async fn lock(session: &mut Session, id: Id) -> Result<Option<Integration>> {
    sql!(one Integration, session, (&format!("select {COLUMNS} from integraciones where id = $1 for update")), id)
}

/// The newest [`MOST_SHOWN`] integrations of a partner, oldest first, revoked ones among them.
pub async fn of_partner(session: &mut Session, partner: Id) -> Result<Vec<Integration>> {
    let mut newest = sql!(
        all Integration, session,
        (&format!("select {COLUMNS} from integraciones where partner_id = $1 order by id desc limit $2")),
        partner, MOST_SHOWN
    )?;
    newest.reverse();
    Ok(newest)
}

/// How many integrations of a partner are in force.
pub(crate) async fn count_in_force(session: &mut Session, partner: Id) -> Result<i64> {
    let count: Option<(i64,)> = sql!(
        one(i64,),
        session,
        "select count(*) from integraciones where partner_id = $1 and revoked_at is null",
        partner
    )?;
    Ok(count.map_or(0, |(count,)| count))
}

pub(crate) async fn insert(session: &mut Session, integration: &Integration) -> Result<()> {
    sql!(
        run,
        session,
        "insert into integraciones (id, partner_id, kind, name, description, configuration, secrets, created_at)
         values ($1, $2, $3, $4, $5, $6, $7, $8)",
        integration.id,
        integration.partner_id,
        integration.kind,
        integration.name.as_str(),
        integration.description.as_deref(),
        &integration.configuration,
        integration.secrets.as_deref(),
        integration.created_at
    )?;
    Ok(())
}

/// Writes what is shown of an integration. Its secrets stay as they are.
pub(crate) async fn set_configuration(session: &mut Session, id: Id, shown: &Json<Value>) -> Result<()> {
    sql!(run, session, "update integraciones set configuration = $2 where id = $1", id, shown)?;
    Ok(())
}

pub(crate) async fn revoke(session: &mut Session, id: Id, reason: Option<&str>, now: Timestamp) -> Result<()> {
    sql!(
        run,
        session,
        "update integraciones set revoked_at = $2, revocation_reason = $3 where id = $1",
        id,
        now,
        reason
    )?;
    Ok(())
}

/// Revokes everything of a partner that is in force; returns what that was.
pub(crate) async fn revoke_all(session: &mut Session, partner: Id, reason: &str, now: Timestamp) -> Result<Vec<Id>> {
    let revoked: Vec<(Id,)> = sql!(
        all(Id,),
        session,
        "update integraciones set revoked_at = $2, revocation_reason = $3
         where partner_id = $1 and revoked_at is null returning id",
        partner,
        now,
        reason
    )?;
    Ok(revoked.into_iter().map(|(id,)| id).collect())
}

/// Empties what a partner told of its systems.
pub(crate) async fn forget(session: &mut Session, partner: Id) -> Result<()> {
    sql!(
        run,
        session,
        "update integraciones set name = $2, description = null, configuration = '{}', secrets = null, revocation_reason = null
         where partner_id = $1",
        partner,
        crate::partners::FORGOTTEN
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

    /// S001-10.
    #[test]
    fn the_kinds_are_the_documents() {
        assert_eq!(Kind::WORDS, ["API", "WEBHOOK", "BATCH", "REAL_TIME"]);
    }

    /// S001-13: sealed at rest, and for this row alone.
    #[test]
    fn secrets_are_sealed_for_their_integration() {
        let key: SecretString = "k".repeat(32).into();
        let (now, whole) = (Timestamp::from_micros(0), json!({"endpoint": "https://a.example", "api_key": "s3cret"}));
        let id = Id::of_name("one");
        let kept = keep(id, object(whole.clone()), Some(&key)).expect("it is kept");
        assert!(!kept.shown.to_string().contains("s3cret"));
        let integration = |id| Integration {
            id,
            partner_id: Id::of_name("partner"),
            kind: Kind::Api,
            name: "API".into(),
            description: None,
            configuration: Json(kept.shown.clone()),
            secrets: kept.secrets.clone(),
            created_at: now,
            revoked_at: None,
            revocation_reason: None,
        };
        assert!(!format!("{:?}", integration(id)).contains("s3cret"));
        assert_eq!(integration(id).open_configuration(Some(&key)), Ok(whole));
        assert_eq!(integration(Id::of_name("other")).open_configuration(Some(&key)), Err(SealError::Foreign));
        assert_eq!(integration(id).open_configuration(None), Err(SealError::Foreign));

        assert_eq!(keep(id, object(json!({"token": "x"})), None).map(drop), Err(KeepError::NoKey));
        assert!(keep(id, object(json!({"endpoint": "x"})), None).expect("nothing to seal").secrets.is_none());
    }

    #[test]
    fn every_wrong_field_is_named_as_on_the_wire() {
        let draft = IntegrationDraft {
            kind: Kind::Batch,
            name: " ".into(),
            description: Some("\u{1b}".into()),
            configuration: object(json!({"a": "x".repeat(MOST_CONFIGURATION_BYTES)})),
        };
        let fields: Vec<_> = draft.errors().into_iter().map(|(field, _)| field).collect();
        assert_eq!(fields, ["nombre", "descripcion", "configuracion"]);
    }
}
