//! Browsers that a customer allowed to show pushes (RFC 8030).

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use openssl::bn::BigNumContext;
use openssl::ec::{EcGroup, EcPoint};
use openssl::nid::Nid;
use serde_json::json;
use url::{Host, Url};

use crate::customers::LONGEST_CUSTOMER_ID;
use std::time::Duration;

use recado_kernel::audit::{self, Act, Actor};
use recado_kernel::clock::Timestamp;
use recado_kernel::db::{Ids, Result, Session, Texts};
use recado_kernel::fields::check_text;
use recado_kernel::ids::Id;
use recado_kernel::sql;

/// Devices that one customer may have; of more, those that are used least go. Every message is sent to all of them at once,
/// so this bounds what one message costs.
pub const MOST_DEVICES: i64 = 20;

/// A device that failed so often in a way that speaks against itself is removed.
const MOST_FAILURES: i32 = 3;

/// A device that nothing reached for so long is removed, whatever the reason was: a push service is not away for a week.
const LONGEST_SILENCE: Duration = Duration::from_secs(7 * 24 * 60 * 60);

/// A browser's subscription, as the PWA hands it over (S002-55).
/// No `Debug`: the keys allow sending to that browser.
#[derive(Clone)]
pub struct NewSubscription {
    pub customer_id: String,
    pub endpoint: String,
    /// The browser's public key: an uncompressed P-256 point, base64url.
    pub p256dh: String,
    /// 16 random bytes, base64url.
    pub auth: String,
    pub user_agent: Option<String>,
}

impl NewSubscription {
    /// Checks every field, and brings the keys into the form that encryption needs (base64url without padding). What could
    /// never be reached is refused here: a key that is no point of the curve, a host that exists nowhere.
    pub fn checked(mut self) -> std::result::Result<Self, Vec<(&'static str, String)>> {
        let mut errors = Vec::new();
        self.endpoint = self.endpoint.trim().to_owned();
        if Url::parse(&self.endpoint).is_ok_and(|url| leads_nowhere(&url)) {
            errors.push((
                "endpoint",
                "El dominio no existe: este navegador no tiene servicio de notificaciones.".to_owned(),
            ));
        }
        self.p256dh = check_key(&mut errors, "p256dh", &self.p256dh, is_point);
        self.auth = check_key(&mut errors, "auth", &self.auth, |bytes| bytes.len() == 16);
        check_text(&mut errors, "endpoint", Some(&self.endpoint), LONGEST_ENDPOINT);
        // Its index counts bytes (PostgreSQL: at most 2,704 in a page of a B-tree).
        if self.endpoint.len() > LONGEST_ENDPOINT && errors.iter().all(|(field, _)| *field != "endpoint") {
            let bytes = self.endpoint.len();
            errors.push(("endpoint", format!("Tiene {bytes} bytes: la URL no debe tener más de {LONGEST_ENDPOINT}.")));
        }
        check_text(&mut errors, "customer_id", Some(&self.customer_id), LONGEST_CUSTOMER_ID);
        if self.customer_id.trim().is_empty() {
            errors.push(("customer_id", "Este campo no puede estar en blanco.".to_owned()));
        }
        check_text(&mut errors, "user_agent", self.user_agent.as_deref(), 1000);
        if errors.is_empty() { Ok(self) } else { Err(errors) }
    }
}

/// The longest endpoint, in bytes. Those of today's push services have some hundreds.
const LONGEST_ENDPOINT: usize = 2000;

/// Browsers hand out base64url without padding; some clients pad it or use the other alphabet.
fn check_key(
    errors: &mut Vec<(&'static str, String)>,
    field: &'static str,
    text: &str,
    is_valid: impl Fn(&[u8]) -> bool,
) -> String {
    let text = text.trim_end_matches('=').replace('+', "-").replace('/', "_");
    if !URL_SAFE_NO_PAD.decode(&text).is_ok_and(|bytes| is_valid(&bytes)) {
        errors.push((field, "No es una clave válida de PushSubscription.".to_owned()));
    }
    text
}

/// Whether the host of an endpoint cannot exist: `.invalid` is promised never to (RFC 6761, section 6.4), and browsers without
/// a push service name it; `.onion` needs Tor (RFC 7686). Names for tests and for private networks are left to the guard
/// against private addresses.
pub fn leads_nowhere(endpoint: &Url) -> bool {
    let Some(Host::Domain(name)) = endpoint.host() else { return false };
    let name = name.trim_end_matches('.').to_ascii_lowercase();
    ["invalid", "onion"].contains(&name.rsplit('.').next().unwrap_or_default())
}

/// Whether these bytes are an uncompressed point of P-256 (SEC 1, section 2.3.3): nothing can be encrypted for another.
fn is_point(bytes: &[u8]) -> bool {
    let on_curve = || {
        let group = EcGroup::from_curve_name(Nid::X9_62_PRIME256V1)?;
        let mut context = BigNumContext::new()?;
        let point = EcPoint::from_bytes(&group, bytes, &mut context)?;
        Ok::<bool, openssl::error::ErrorStack>(point.is_on_curve(&group, &mut context)? && !point.is_infinity(&group))
    };
    bytes.len() == 65 && bytes[0] == 4 && on_curve().unwrap_or(false)
}

/// No `Debug`: the keys allow sending to that browser.
#[derive(Clone, sqlx::FromRow)]
pub struct Subscription {
    pub id: Id,
    pub customer_id: String,
    pub endpoint: String,
    pub p256dh: String,
    pub auth: String,
    /// Since when no push has reached it; `None` when the last one did.
    pub failing_since: Option<Timestamp>,
}

/// Creates the subscription, or gives an existing endpoint to the customer who subscribes now. Of more devices
/// than [`MOST_DEVICES`] those go that fail, and then those whose browser was heard of longest ago.
pub async fn subscribe(session: &mut Session, new: &NewSubscription, now: Timestamp) -> Result<Id> {
    let row: Option<(Id,)> =
        sql!(one (Id,), session,
        "insert into push_subscriptions (id, customer_id, endpoint, p256dh, auth, user_agent, created_at, updated_at)
         values ($1, $2, $3, $4, $5, $6, $7, $7)
         on conflict (endpoint) do update set customer_id = excluded.customer_id, p256dh = excluded.p256dh,
             auth = excluded.auth, user_agent = excluded.user_agent, failing_since = null, failures = 0,
             updated_at = excluded.updated_at
         returning id",
        Id::new(now), new.customer_id.as_str(), new.endpoint.as_str(), new.p256dh.as_str(), new.auth.as_str(),
        new.user_agent.as_deref(), now
    )?;
    let (id,) = row.ok_or(sqlx::Error::RowNotFound)?;
    sql!(
        run,
        session,
        "delete from push_subscriptions where customer_id = $1 and id <> $2 and id not in (
             select id from push_subscriptions where customer_id = $1 and id <> $2
             order by failures, updated_at desc, id desc limit $3)",
        new.customer_id.as_str(),
        id,
        MOST_DEVICES - 1
    )?;
    Ok(id)
}

/// Whether there was one.
pub async fn unsubscribe(session: &mut Session, endpoint: &str) -> Result<bool> {
    Ok(sql!(run, session, "delete from push_subscriptions where endpoint = $1", endpoint)? > 0)
}

/// Whether this customer had one.
pub async fn unsubscribe_of(session: &mut Session, endpoint: &str, customer_id: &str) -> Result<bool> {
    let statement = "delete from push_subscriptions where endpoint = $1 and customer_id = $2";
    Ok(sql!(run, session, (statement), endpoint, customer_id)? > 0)
}

pub async fn remove(session: &mut Session, ids: &[Id]) -> Result<u64> {
    sql!(run, session, "delete from push_subscriptions where id = any($1)", Ids(ids))
}

/// The devices of a customer, at most [`MOST_DEVICES`]: those that work and were heard of last.
pub async fn of_customer(session: &mut Session, customer_id: &str) -> Result<Vec<Subscription>> {
    sql!(all Subscription, session,
        "select id, customer_id, endpoint, p256dh, auth, failing_since from push_subscriptions where customer_id = $1
         order by failures, updated_at desc, id desc limit $2",
        customer_id, MOST_DEVICES
    )
}

/// A device as staff see it: without what allows sending to it.
#[derive(Clone, Debug, PartialEq, Eq, sqlx::FromRow)]
pub struct Device {
    pub id: Id,
    pub endpoint: String,
    /// What the browser calls itself.
    pub user_agent: Option<String>,
    pub failing_since: Option<Timestamp>,
    /// Failures in a row that speak against the device.
    pub failures: i32,
    pub created_at: Timestamp,
    /// When its browser was last heard of.
    pub updated_at: Timestamp,
}

impl Device {
    /// The push service that reaches it, by its host.
    pub fn service(&self) -> String {
        let url = Url::parse(&self.endpoint).ok();
        url.and_then(|url| url.host_str().map(str::to_owned)).unwrap_or_default()
    }
}

/// The devices of a customer as staff see them, in the order of [`of_customer`].
pub async fn devices(session: &mut Session, customer_id: &str) -> Result<Vec<Device>> {
    sql!(all Device, session,
        "select id, endpoint, user_agent, failing_since, failures, created_at, updated_at from push_subscriptions
         where customer_id = $1 order by failures, updated_at desc, id desc limit $2",
        customer_id, MOST_DEVICES
    )
}

/// Staff remove a device of a customer; false when there is none. Its browser subscribes again when its page asks for it.
pub async fn remove_device(
    session: &mut Session,
    customer_id: &str,
    id: Id,
    actor: &Actor,
    now: Timestamp,
) -> Result<bool> {
    let statement = "delete from push_subscriptions where id = $1 and customer_id = $2";
    let is_removed = sql!(run, session, (statement), id, customer_id)? > 0;
    if is_removed {
        let act = Act::new("remove_device", "customer", customer_id).made(json!({ "device": id }));
        audit::write(session, actor, &act, now).await?;
    }
    Ok(is_removed)
}

/// What a push found out about a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Finding {
    /// Its subscription has ended, or can never be reached.
    Gone,
    /// It failed in a way that speaks against the device: counted.
    Blamed,
    /// It could not be reached, which may pass.
    Unreached,
    /// It failed before, and was reached now.
    Recovered,
}

/// Writes down what pushes found out, and removes devices that will not be reached any more.
pub async fn record(session: &mut Session, findings: &[(Id, Finding)], now: Timestamp) -> Result<()> {
    let that_are = |wanted: Finding| {
        let of = findings.iter().filter(move |(_, finding)| *finding == wanted);
        of.map(|(id, _)| *id).collect::<Vec<Id>>()
    };
    let [gone, blamed, unreached, recovered] =
        [Finding::Gone, Finding::Blamed, Finding::Unreached, Finding::Recovered].map(that_are);
    if !gone.is_empty() {
        remove(session, &gone).await?;
    }
    // In the order of their ids, so that two workers do not wait for each other in a circle.
    let sorted = |ids: &[Id]| {
        let mut ids = ids.to_vec();
        ids.sort_unstable();
        ids
    };
    let failed = sorted(&[blamed.as_slice(), unreached.as_slice()].concat());
    if !failed.is_empty() {
        lock(session, &failed).await?;
        sql!(
            run,
            session,
            "update push_subscriptions set failing_since = coalesce(failing_since, $2),
                 failures = failures + case when id = any($3) then 1 else 0 end
             where id = any($1)",
            Ids(&failed),
            now,
            Ids(&blamed)
        )?;
        sql!(
            run,
            session,
            "delete from push_subscriptions where id = any($1) and (failures >= $2 or failing_since <= $3)",
            Ids(&failed),
            MOST_FAILURES,
            now - LONGEST_SILENCE
        )?;
    }
    if !recovered.is_empty() {
        let recovered = sorted(&recovered);
        lock(session, &recovered).await?;
        sql!(
            run,
            session,
            "update push_subscriptions set failing_since = null, failures = 0 where id = any($1)",
            Ids(&recovered)
        )?;
    }
    Ok(())
}

async fn lock(session: &mut Session, ids: &[Id]) -> Result<()> {
    let _: Vec<(Id,)> = sql!(
        all(Id,),
        session,
        "select id from push_subscriptions where id = any($1) order by id for update",
        Ids(ids)
    )?;
    Ok(())
}

/// How many devices each of these customers has; those without any are absent.
pub async fn counts(session: &mut Session, customer_ids: &[String]) -> Result<Vec<(String, i64)>> {
    sql!(
        all(String, i64),
        session,
        "select customer_id, count(*) from push_subscriptions where customer_id = any($1) group by customer_id",
        Texts(customer_ids)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn subscription(p256dh: &[u8], auth: &[u8]) -> NewSubscription {
        NewSubscription {
            customer_id: "customer-001".into(),
            endpoint: "https://push.example.com/1".into(),
            p256dh: base64::engine::general_purpose::STANDARD.encode(p256dh),
            auth: base64::engine::general_purpose::URL_SAFE.encode(auth),
            user_agent: None,
        }
    }

    /// The generator of P-256.
    fn point() -> Vec<u8> {
        let x = "6b17d1f2e12c4247f8bce6e563a440f277037d812deb33a0f4a13945d898c296";
        let y = "4fe342e2fe1a7f9b8ee7eb4a7c0f9e162bce33576b315ececbb6406837bf51f5";
        hex::decode(format!("04{x}{y}")).expect("hexadecimal")
    }

    /// A key that is no point of the curve was taken, and every push to it failed (Couchers-org/couchers#8212).
    #[test]
    fn a_key_off_the_curve_is_refused() {
        for byte in 1..65 {
            let mut off = point();
            off[byte] ^= 1;
            let errors = subscription(&off, &[0; 16]).checked().err().expect("off the curve");
            assert_eq!(errors[0].0, "p256dh", "byte {byte}");
        }
        for bytes in [vec![4; 65], vec![0; 65], [vec![2], vec![7; 64]].concat()] {
            assert!(!is_point(&bytes));
        }
    }

    /// Edge and Chromium without a push service hand out `permanently-removed.invalid` (discourse/discourse#39804).
    #[test]
    fn a_host_that_exists_nowhere_is_refused() {
        for (host, exists) in [
            ("permanently-removed.invalid", false),
            ("INVALID.", false),
            ("a.b.invalid.", false),
            ("abc.onion", false),
            ("fcm.googleapis.com", true),
            ("invalid.example.com", true),
            ("10.0.0.1", true),
        ] {
            let new = NewSubscription {
                endpoint: format!("https://{host}/fcm/send/abc"),
                ..subscription(&point(), &[0; 16])
            };
            assert_eq!(new.checked().is_ok(), exists, "{host}");
        }
    }

    #[test]
    fn both_alphabets_and_padding_are_understood() {
        let checked = subscription(&point(), &[255; 16]).checked().expect("valid");
        assert!(!checked.p256dh.contains(['+', '/', '=']) && !checked.auth.contains(['+', '/', '=']));
    }

    #[test]
    fn keys_of_another_length_are_refused() {
        let errors = subscription(&point()[..64], &[0; 15]).checked().err().expect("both are short");
        assert_eq!(errors.iter().map(|(field, _)| *field).collect::<Vec<_>>(), ["p256dh", "auth"]);
    }
}
