//! What the decisions of a batch need to know, gathered with one statement or two.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use recado_kernel::clock::Timestamp;
use recado_kernel::config::UnknownCustomer;
use recado_kernel::db::{self, Session};
use recado_kernel::retry::RetryPolicy;

use super::Request;
use super::plan::Plan;
use super::rejection::Rejection;
use super::send_time::{self, SendTime};
use crate::catalogue::Catalogue;
use crate::channels::Channel;
use crate::customers::{self, Customer, CustomerSync, Recipient};
use crate::orchestration::Person;
use crate::quiet_hours::Rest;
use crate::suppressions;
use crate::system::Notifications;

/// What is known when a batch is decided.
pub(super) struct Facts {
    pub(super) catalogue: Arc<Catalogue>,
    recipients: HashMap<String, Recipient>,
    /// Addresses to which nothing is sent.
    suppressed: HashSet<(Channel, String)>,
    pub(super) retry: RetryPolicy,
    strict_case: bool,
    pub(super) zone: chrono_tz::Tz,
    pub(super) now: Timestamp,
    /// When the database was asked, by its own clock; nothing where it has none, or no customer is known.
    pub(super) asked_at: Option<Timestamp>,
}

/// What is decided about an event for a customer who is known.
pub(super) struct Decision<'f> {
    pub(super) customer: &'f Customer,
    pub(super) plan: Plan,
    pub(super) send_time: SendTime,
}

impl Facts {
    /// The whole decision, for a dispatch and for a dry run alike. `None`: the customer is unknown, and what can be said
    /// without knowing them is right.
    pub(super) fn decide(&self, request: &Request) -> Result<Option<Decision<'_>>, Rejection> {
        send_time::checked(&request.event, self.now, self.decided(request))
    }

    fn decided(&self, request: &Request) -> Result<Option<Decision<'_>>, Rejection> {
        let event = &request.event;
        let Some(recipient) = self.recipients.get(&event.customer_id) else {
            // What is wrong for every customer, the caller hears now.
            return match Plan::check(&self.catalogue, event, self.strict_case) {
                Ok(()) => Ok(None),
                Err(Rejection::Refused(mut sentences)) if request.unknown_customer == UnknownCustomer::Reject => {
                    sentences.push(Rejection::unknown_customer(&event.customer_id));
                    Err(Rejection::Refused(sentences))
                }
                Err(rejection) => Err(rejection),
            };
        };
        let suppressed = self.suppressed(&recipient.customer);
        let workshop = self.catalogue.workshop(event.taller_id.as_deref());
        let preferences: Vec<&customers::Preference> = recipient.preferences.iter().collect();
        let person = Person {
            customer: &recipient.customer,
            preferences: &preferences,
            devices: recipient.devices,
            only: &request.only,
            suppressed: &suppressed,
            workshop,
        };
        let plan = Plan::of(&self.catalogue, event, &person, self.strict_case)?;
        let rest = Rest::of(&recipient.customer, workshop, self.zone);
        let send_time = SendTime::of(event.send_at, event.critical, self.now, rest);
        Ok(Some(Decision { customer: &recipient.customer, plan, send_time }))
    }

    pub(super) async fn gather(
        system: &Notifications,
        session: &mut Session,
        requests: &[&Request],
        now: Timestamp,
    ) -> db::Result<Self> {
        let config = &system.context.config;
        let mut ids: Vec<&str> = requests.iter().map(|request| request.event.customer_id.as_str()).collect();
        ids.sort_unstable();
        ids.dedup();
        if requests.iter().any(|request| request.unknown_customer == UnknownCustomer::Create) {
            let catalogue = system.catalogue.current(session).await?;
            create_unknown(system, session, &catalogue, requests, now).await?;
        }
        let recipients = customers::recipients(session, &ids).await?;
        let catalogue = match recipients.first() {
            Some(recipient) => system.catalogue.at(recipient.catalogue_version, session).await?,
            None => system.catalogue.current(session).await?,
        };
        let suppressed = if recipients.first().is_some_and(|recipient| recipient.are_some_suppressed) {
            let customers = recipients.iter().map(|recipient| &recipient.customer);
            suppressions::among(session, &suppressions::addresses(customers)).await?
        } else {
            HashSet::new()
        };
        let asked_at = recipients.first().and_then(|recipient| recipient.asked_at);
        let by_id = |recipient: Recipient| (recipient.customer.customer_id.clone(), recipient);
        Ok(Self {
            catalogue,
            recipients: recipients.into_iter().map(by_id).collect(),
            suppressed,
            retry: config.retry,
            strict_case: config.template_strict_case,
            zone: config.time_zone,
            now,
            asked_at,
        })
    }

    /// The channels on which nothing is sent to this customer's address.
    fn suppressed(&self, customer: &Customer) -> Vec<Channel> {
        let is_suppressed = |channel: &Channel| {
            let address = customer.address(*channel).map(|address| suppressions::key(*channel, address));
            address.is_some_and(|address| self.suppressed.contains(&(*channel, address)))
        };
        // Nearly always there is nothing to look for.
        if self.suppressed.is_empty() { Vec::new() } else { Channel::ALL.into_iter().filter(is_suppressed).collect() }
    }
}

/// `DISPATCH_UNKNOWN_CUSTOMER=create`: a customer whom we do not know is made from the event's own context (d14).
async fn create_unknown(
    system: &Notifications,
    session: &mut Session,
    catalogue: &Catalogue,
    requests: &[&Request],
    now: Timestamp,
) -> db::Result<()> {
    let context = &system.context;
    let ids: Vec<String> = requests.iter().map(|request| request.event.customer_id.clone()).collect();
    // An event that is refused for another reason leaves no customer behind.
    let strict_case = context.config.template_strict_case;
    let creating = |request: &&&Request| {
        request.unknown_customer == UnknownCustomer::Create
            && Plan::check(catalogue, &request.event, strict_case).is_ok()
    };
    let known: Vec<String> = customers::find_many(session, &ids).await?.into_iter().map(|c| c.customer_id).collect();
    for request in requests.iter().filter(creating).filter(|request| !known.contains(&request.event.customer_id)) {
        let mut new = CustomerSync {
            customer_id: request.event.customer_id.clone(),
            name: request.event.text("nombre"),
            email: request.event.text("email"),
            phone: request.event.text("telefono").or_else(|| request.event.text("phone")),
            whatsapp: request.event.text("whatsapp"),
            ..CustomerSync::default()
        };
        // An address that cannot be used is left out; the channel is then skipped with that reason.
        for (field, _) in new.clone().checked(&context.config.default_country).err().unwrap_or_default() {
            match field {
                "email" => new.email = None,
                "phone" => new.phone = None,
                "whatsapp" => new.whatsapp = None,
                _ => new.name = None,
            }
        }
        if let Ok(new) = new.checked(&context.config.default_country) {
            customers::sync(session, &new, now).await?;
        }
    }
    Ok(())
}
