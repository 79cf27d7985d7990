//! Browsers that a customer allowed to show pushes (RFC 8030).

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::customers::LONGEST_CUSTOMER_ID;
use recado_kernel::clock::Timestamp;
use recado_kernel::db::{Ids, Result, Session, Texts};
use recado_kernel::fields::check_text;
use recado_kernel::ids::Id;
use recado_kernel::sql;

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
    /// Checks every field, and brings the keys into the form that encryption needs (base64url without padding).
    pub fn checked(mut self) -> std::result::Result<Self, Vec<(&'static str, String)>> {
        let mut errors = Vec::new();
        self.p256dh = check_key(&mut errors, "p256dh", &self.p256dh, |bytes| bytes.len() == 65 && bytes[0] == 4);
        self.auth = check_key(&mut errors, "auth", &self.auth, |bytes| bytes.len() == 16);
        check_text(&mut errors, "endpoint", Some(&self.endpoint), 2000);
        check_text(&mut errors, "customer_id", Some(&self.customer_id), LONGEST_CUSTOMER_ID);
        if self.customer_id.trim().is_empty() {
            errors.push(("customer_id", "Este campo no puede estar en blanco.".to_owned()));
        }
        check_text(&mut errors, "user_agent", self.user_agent.as_deref(), 1000);
        if errors.is_empty() { Ok(self) } else { Err(errors) }
    }
}

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

/// No `Debug`: the keys allow sending to that browser.
#[derive(Clone, sqlx::FromRow)]
pub struct Subscription {
    pub id: Id,
    pub customer_id: String,
    pub endpoint: String,
    pub p256dh: String,
    pub auth: String,
}

/// Creates the subscription, or gives an existing endpoint to the customer who subscribes now.
pub async fn subscribe(session: &mut Session, new: &NewSubscription, now: Timestamp) -> Result<Id> {
    let row: Option<(Id,)> =
        sql!(one (Id,), session,
        "insert into push_subscriptions (id, customer_id, endpoint, p256dh, auth, user_agent, created_at, updated_at)
         values ($1, $2, $3, $4, $5, $6, $7, $7)
         on conflict (endpoint) do update set customer_id = excluded.customer_id, p256dh = excluded.p256dh,
             auth = excluded.auth, user_agent = excluded.user_agent, updated_at = excluded.updated_at
         returning id",
        Id::new(now), new.customer_id.as_str(), new.endpoint.as_str(), new.p256dh.as_str(), new.auth.as_str(),
        new.user_agent.as_deref(), now
    )?;
    row.map(|(id,)| id).ok_or(sqlx::Error::RowNotFound)
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

pub async fn of_customers(session: &mut Session, customer_ids: &[String]) -> Result<Vec<Subscription>> {
    sql!(all Subscription, session,
        "select id, customer_id, endpoint, p256dh, auth from push_subscriptions where customer_id = any($1) order by id",
        Texts(customer_ids)
    )
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

    #[test]
    fn both_alphabets_and_padding_are_understood() {
        let mut point = [251_u8; 65];
        point[0] = 4;
        let checked = subscription(&point, &[255; 16]).checked().expect("valid");
        assert!(!checked.p256dh.contains(['+', '/', '=']) && !checked.auth.contains(['+', '/', '=']));
    }

    #[test]
    fn keys_of_another_length_are_refused() {
        let errors = subscription(&[4; 64], &[0; 15]).checked().err().expect("both are short");
        assert_eq!(errors.iter().map(|(field, _)| *field).collect::<Vec<_>>(), ["p256dh", "auth"]);
    }
}
