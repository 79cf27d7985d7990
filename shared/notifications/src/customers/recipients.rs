//! Whom a dispatch reaches: customers with all that its decision needs of them.

use recado_kernel::clock::Timestamp;
use recado_kernel::db::{Result, Session, Texts};
use recado_kernel::sql;

use super::{COLUMNS, Customer, Preference};

/// A customer with what a dispatch must know besides.
#[derive(Clone, Debug)]
pub struct Recipient {
    pub customer: Customer,
    /// In the order in which they want to be reached.
    pub preferences: Vec<Preference>,
    /// Browsers that are subscribed.
    pub devices: i64,
    /// Whether any address at all is suppressed, so that it must be looked for.
    pub are_some_suppressed: bool,
    /// Of [`crate::catalogue_version`].
    pub catalogue_version: i64,
    /// When the server was asked, by its own clock.
    pub asked_at: Option<Timestamp>,
}

/// These customers, as far as they are known: all with one statement.
pub async fn recipients(session: &mut Session, customer_ids: &[&str]) -> Result<Vec<Recipient>> {
    #[derive(sqlx::FromRow)]
    struct Row {
        #[sqlx(flatten)]
        customer: Customer,
        preferences: Option<String>,
        devices: i64,
        are_some_suppressed: bool,
        catalogue_version: i64,
        asked_at: Option<Timestamp>,
    }
    let rows = sql!(all Row, session,
        (&format!(
            "select {COLUMNS},
                    (select string_agg(p.priority || ' ' || p.channel || ' ' || p.enabled || ' ' || p.id, ',')
                     from channel_preferences p where p.customer_id = customers.customer_id) as preferences,
                    (select count(*) from push_subscriptions p where p.customer_id = customers.customer_id) as devices,
                    exists (select 1 from suppressions) as are_some_suppressed,
                    (select version from catalogue_version) as catalogue_version, server_time() as asked_at
             from customers where customer_id = any($1)"
        )),
        Texts(customer_ids)
    )?;
    let recipient = |row: Row| Recipient {
        preferences: read_preferences(&row.customer, row.preferences.as_deref()),
        customer: row.customer,
        devices: row.devices,
        are_some_suppressed: row.are_some_suppressed,
        catalogue_version: row.catalogue_version,
        asked_at: row.asked_at,
    };
    Ok(rows.into_iter().map(recipient).collect())
}

/// What [`recipients`] asked for: `1 email true ID,2 push false ID`.
fn read_preferences(customer: &Customer, preferences: Option<&str>) -> Vec<Preference> {
    let read = |preference: &str| {
        let mut words = preference.split(' ');
        Some(Preference {
            priority: words.next()?.parse().ok()?,
            channel: words.next()?.parse().ok()?,
            // SQLite writes 1.
            enabled: matches!(words.next()?, "true" | "1"),
            id: words.next()?.parse().ok()?,
            customer_id: customer.customer_id.clone(),
        })
    };
    let mut read: Vec<Preference> = preferences.unwrap_or_default().split(',').filter_map(read).collect();
    read.sort_by_key(|preference| (preference.priority, preference.channel.as_str()));
    read
}
