//! Partners with webhooks (seed 000): how they and we know each other. This module alone writes `partner_webhooks`.

use recado_kernel::clock::Timestamp;
use recado_kernel::db::{Result, Session};
use recado_kernel::ids::Id;
use recado_kernel::sealed::{self, SealError};
use recado_kernel::sql;
use recado_webhooks::dialect::Rules;
use recado_webhooks::endpoints::OVERLAP;
use recado_webhooks::signature::Secret;
use secrecy::SecretString;

use crate::partners::{COLUMNS, Partner};
use crate::standing::{Policy, Standing};

/// A partner, and how webhooks are exchanged with it.
#[derive(Clone, Debug, sqlx::FromRow)]
pub struct Connection {
    #[sqlx(flatten)]
    pub partner: Partner,
    /// Its integration in the registry, and its endpoint among the webhooks.
    pub endpoint_id: Id,
    inbound_secret: String,
    former_inbound_secret: Option<String>,
    former_inbound_until: Option<Timestamp>,
    pub strict_raw: bool,
    /// `None`: as [`rules`](Self::rules) says.
    pub tolerance_seconds: Option<i64>,
    /// Links to its portal are good that carry this number.
    pub portal_epoch: i64,
    /// When its integration was revoked.
    pub revoked_at: Option<Timestamp>,
}

impl Connection {
    /// How it stands, its endpoint apart.
    pub fn standing(&self, policy: Policy) -> Standing {
        Standing::of(&self.partner, self.revoked_at.is_some(), policy)
    }

    /// What it may sign with, the secret in force first; after a rotation also the one before, for a day (d4).
    ///
    /// # Errors
    /// When they were sealed with another `SECRET_KEY`.
    pub fn inbound_secrets(&self, key: &SecretString, now: Timestamp) -> std::result::Result<Vec<Secret>, SealError> {
        let mut secrets = vec![open(key, self.partner.id, &self.inbound_secret)?];
        if self.former_inbound_until.is_some_and(|until| now < until)
            && let Some(former) = &self.former_inbound_secret
        {
            secrets.push(open(key, self.partner.id, former)?);
        }
        Ok(secrets)
    }

    /// What its requests are held to (d5). Where it has no tolerance of its own, the installation's counts for Standard Webhooks,
    /// and a time in the payload is not looked at: partners of seed 000 send an old webhook again as it was.
    pub fn rules(&self, usual_tolerance_seconds: i64) -> Rules {
        Rules {
            strict_raw: self.strict_raw,
            tolerance_seconds: self.tolerance_seconds.unwrap_or(usual_tolerance_seconds),
            payload_tolerance_seconds: self.tolerance_seconds.unwrap_or(0),
        }
    }
}

/// What a sealed secret is bound to, so that it opens in its own row only.
fn owner(partner: Id) -> String {
    format!("partner_inbound:{partner}")
}

fn open(key: &SecretString, partner: Id, sealed: &str) -> std::result::Result<Secret, SealError> {
    sealed::open(key, &owner(partner), sealed).map(Secret::from)
}

fn seal(key: &SecretString, partner: Id, secret: &Secret) -> Result<String> {
    sealed::seal(key, &owner(partner), secret.text()).map_err(|error| sqlx::Error::Encode(Box::new(error)))
}

fn select() -> String {
    format!(
        "select {COLUMNS}, endpoint_id, inbound_secret, former_inbound_secret, former_inbound_until, strict_raw,
             tolerance_seconds, portal_epoch, (select revoked_at from integraciones i where i.id = endpoint_id) as revoked_at
         from partners join partner_webhooks on partner = id"
    )
}

/// The partner of this slug or `partner_id` (d6).
pub async fn find(session: &mut Session, reference: &str) -> Result<Option<Connection>> {
    sql!(one Connection, session, (&format!("{} where slug = $1 or partner_id = $1", select())), reference)
}

/// The same partner by the id of its row.
pub async fn of_partner(session: &mut Session, partner: Id) -> Result<Option<Connection>> {
    sql!(one Connection, session, (&format!("{} where id = $1", select())), partner)
}

/// The partner whose webhook integration this is.
pub async fn of_endpoint(session: &mut Session, endpoint: Id) -> Result<Option<Connection>> {
    sql!(one Connection, session, (&format!("{} where endpoint_id = $1", select())), endpoint)
}

/// The next of them behind this partner, in the order of their ids.
pub(crate) async fn behind(session: &mut Session, partner: Id, limit: i64) -> Result<Vec<Connection>> {
    sql!(all Connection, session, (&format!("{} where id > $1 order by id limit $2", select())), partner, limit)
}

/// Makes all links to the portal of a partner useless that were given out so far.
pub(crate) async fn revoke_portal_links(session: &mut Session, partner: Id) -> Result<()> {
    sql!(run, session, "update partner_webhooks set portal_epoch = portal_epoch + 1 where partner = $1", partner)?;
    Ok(())
}

/// The oldest of them, deleted ones among them.
pub async fn list(session: &mut Session, limit: i64, offset: i64) -> Result<Vec<Connection>> {
    sql!(all Connection, session, (&format!("{} order by id limit $1 offset $2", select())), limit, offset)
}

/// Connects a partner, or connects it again with another endpoint.
pub(crate) async fn put(
    session: &mut Session,
    key: &SecretString,
    partner: Id,
    endpoint: Id,
    inbound: &Secret,
) -> Result<()> {
    sql!(
        run,
        session,
        "insert into partner_webhooks (partner, endpoint_id, inbound_secret, strict_raw, tolerance_seconds, portal_epoch)
         values ($1, $2, $3, false, null, 0)
         on conflict (partner) do update set endpoint_id = excluded.endpoint_id, inbound_secret = excluded.inbound_secret,
             former_inbound_secret = null, former_inbound_until = null",
        partner,
        endpoint,
        seal(key, partner, inbound)?
    )?;
    Ok(())
}

/// What a partner's requests are held to from now on.
pub async fn set_rules(
    session: &mut Session,
    partner: Id,
    strict_raw: bool,
    tolerance_seconds: Option<i64>,
) -> Result<()> {
    sql!(
        run,
        session,
        "update partner_webhooks set strict_raw = $2, tolerance_seconds = $3 where partner = $1",
        partner,
        strict_raw,
        tolerance_seconds
    )?;
    Ok(())
}

/// Puts a new inbound secret in force; the one before it is accepted for another [`OVERLAP`] (d4).
pub(crate) async fn rotate(
    session: &mut Session,
    key: &SecretString,
    partner: Id,
    secret: &Secret,
    now: Timestamp,
) -> Result<()> {
    sql!(
        run,
        session,
        "update partner_webhooks
         set former_inbound_secret = inbound_secret, former_inbound_until = $3, inbound_secret = $2 where partner = $1",
        partner,
        seal(key, partner, secret)?,
        now + OVERLAP
    )?;
    Ok(())
}
