//! Permission is asked again before every attempt (d12): what the customer has switched off meanwhile stays off, an address
//! that bounced is left alone, and quiet hours are kept. For an attempt that follows intake at once the answer comes with
//! its chain; the others ask here, and those that run at the same time share the statements.

use std::collections::HashMap;
use std::sync::Arc;

use recado_kernel::clock::Timestamp;
use recado_kernel::db;
use recado_kernel::group_commit::Group;
use recado_notifications::channels::Channel;
use recado_notifications::customers::{self, Customer, Preference};
use recado_notifications::notifications::{Notification, Refusal};
use recado_notifications::quiet_hours::Rest;
use recado_notifications::suppressions;
use recado_notifications::system::Notifications;

/// Whether a message may leave now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Permission {
    Granted,
    /// Not on this channel: a stable code, and the sentence for people.
    Refused(&'static str, &'static str),
    /// Not before this moment, when the quiet hours end.
    Quiet(Timestamp),
}

impl From<Refusal> for Permission {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::OptedOut => {
                Self::Refused("OPTED_OUT", "the customer switched this channel off after the event was accepted")
            }
            Refusal::Suppressed => Self::Refused(
                "SUPPRESSED",
                "the address was put on the list of suppressions after the event was accepted",
            ),
        }
    }
}

/// What is to leave, and when.
#[derive(Clone, Debug)]
pub(crate) struct PermissionRequest {
    customer_id: String,
    taller_id: Option<String>,
    channel: Channel,
    /// As the list of suppressions writes it.
    address: String,
    critical: bool,
    now: Timestamp,
}

impl PermissionRequest {
    pub(crate) fn about(notification: &Notification, now: Timestamp) -> Self {
        Self {
            customer_id: notification.customer_id.clone(),
            taller_id: notification.taller_id.clone(),
            channel: notification.channel,
            address: suppressions::key(notification.channel, &notification.recipient_address),
            critical: notification.critical,
            now,
        }
    }
}

/// Where requests are answered.
pub(crate) type Permissions = Group<PermissionRequest, Result<Permission, Arc<db::Error>>>;

/// The most requests that share the statements.
const LARGEST_BATCH: usize = 1_000;

pub(crate) fn ask_together(system: Notifications) -> Permissions {
    Group::spawn(LARGEST_BATCH, move |requests: Arc<Vec<PermissionRequest>>| {
        let system = system.clone();
        async move {
            match answer(&system, &requests).await {
                Ok(answers) => answers.into_iter().map(Ok).collect(),
                Err(error) => {
                    let error = Arc::new(error);
                    requests.iter().map(|_| Err(error.clone())).collect()
                }
            }
        }
    })
}

async fn answer(system: &Notifications, requests: &[PermissionRequest]) -> db::Result<Vec<Permission>> {
    let context = &system.context;
    let mut ids: Vec<String> = requests.iter().map(|request| request.customer_id.clone()).collect();
    ids.sort_unstable();
    ids.dedup();
    let mut session = context.db.read().await?;
    let catalogue = system.catalogue.current(&mut session).await?;
    let preferences = customers::preferences(&mut session, &ids).await?;
    let customers = customers::find_many(&mut session, &ids).await?;
    let addresses: Vec<String> = requests.iter().map(|request| request.address.clone()).collect();
    let suppressed = suppressions::among(&mut session, &addresses).await?;
    drop(session);
    let customers: HashMap<&str, &Customer> =
        customers.iter().map(|customer| (customer.customer_id.as_str(), customer)).collect();
    let mut by_customer: HashMap<&str, Vec<&Preference>> = HashMap::new();
    for preference in &preferences {
        by_customer.entry(&preference.customer_id).or_default().push(preference);
    }
    let decide = |request: &PermissionRequest| {
        let id = request.customer_id.as_str();
        let preferences = by_customer.get(id).map(Vec::as_slice).unwrap_or_default();
        let workshop = catalogue.workshop(request.taller_id.as_deref());
        let rest = customers.get(id).and_then(|customer| Rest::of(customer, workshop, context.config.time_zone));
        let is_suppressed = suppressed.contains(&(request.channel, request.address.clone()));
        decide(request, preferences, is_suppressed, rest)
    };
    Ok(requests.iter().map(decide).collect())
}

/// What is critical passes quiet hours, never a refusal.
fn decide(
    request: &PermissionRequest,
    preferences: &[&Preference],
    is_suppressed: bool,
    rest: Option<Rest>,
) -> Permission {
    if preferences.iter().any(|preference| preference.channel == request.channel && !preference.enabled) {
        return Refusal::OptedOut.into();
    }
    if is_suppressed {
        return Refusal::Suppressed.into();
    }
    let rest = rest.filter(|_| !request.critical);
    rest.and_then(|rest| rest.until(request.now)).map_or(Permission::Granted, Permission::Quiet)
}

#[cfg(test)]
mod tests {
    use chrono_tz::Tz;
    use recado_kernel::ids::Id;

    use super::*;

    fn at(time: &str) -> Timestamp {
        chrono::DateTime::parse_from_rfc3339(time).expect("a time").to_utc().into()
    }

    fn request(channel: Channel, critical: bool, now: &str) -> PermissionRequest {
        let address = "maria@example.com".to_owned();
        PermissionRequest { customer_id: "c".into(), taller_id: None, channel, address, critical, now: at(now) }
    }

    #[test]
    fn refusals_come_before_quiet_hours_and_only_those_bend() {
        let customer = Customer {
            quiet_from: "21:00".parse().ok(),
            quiet_until: "07:00".parse().ok(),
            time_zone: Some("UTC".into()),
            ..Customer::default()
        };
        let no = |channel| Preference {
            id: Id::of_name("p"),
            customer_id: "c".into(),
            channel,
            enabled: false,
            priority: 1,
        };
        let ask = |channel, critical, now, preferences: &[Preference]| {
            let preferences: Vec<&Preference> = preferences.iter().collect();
            decide(&request(channel, critical, now), &preferences, false, Rest::of(&customer, None, Tz::UTC))
        };
        let (day, night) = ("2026-01-20T12:00:00Z", "2026-01-20T23:00:00Z");
        let quiet = Permission::Quiet(at("2026-01-21T07:00:00Z"));
        assert_eq!(ask(Channel::Email, false, day, &[]), Permission::Granted);
        assert_eq!(ask(Channel::Email, false, night, &[]), quiet);
        assert_eq!(ask(Channel::Email, true, night, &[]), Permission::Granted);
        assert_eq!(ask(Channel::Email, false, night, &[no(Channel::Push)]), quiet);
        for critical in [false, true] {
            let refused = ask(Channel::Push, critical, night, &[no(Channel::Push)]);
            assert!(matches!(refused, Permission::Refused("OPTED_OUT", _)), "{refused:?}");
        }
    }

    #[test]
    fn a_suppressed_address_is_left_alone_even_when_it_is_critical() {
        for critical in [false, true] {
            let permission = decide(&request(Channel::Email, critical, "2026-01-20T23:00:00Z"), &[], true, None);
            assert!(matches!(permission, Permission::Refused("SUPPRESSED", _)), "{permission:?}");
        }
    }

    #[test]
    fn a_customer_who_is_gone_has_no_quiet_hours() {
        let request = request(Channel::Email, false, "2026-01-20T23:00:00Z");
        assert_eq!(decide(&request, &[], false, None), Permission::Granted);
    }
}
