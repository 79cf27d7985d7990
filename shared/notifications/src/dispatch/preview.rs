//! The dry run: the decision about an event as intake would take it now, and nothing else. Nothing is written, nothing is
//! sent, and no key is remembered.

use serde::Serialize;
use utoipa::ToSchema;

use super::facts::{Decision, Facts};
use super::plan::Words;
use super::send_time::DeferReason;
use super::{Rejection, Request, Skipped};
use crate::channels::{self, Channel};
use crate::customers::Customer;
use crate::orchestration::{self, DeliveryMode};
use crate::system::Notifications;
use recado_kernel::addresses::is_unusual_phone;
use recado_kernel::clock::Timestamp;
use recado_kernel::config::UnknownCustomer;
use recado_kernel::db;
use recado_kernel::language::Language;

/// What would become of an event.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Preview {
    /// Always true, so that it is not taken for a receipt.
    #[schema(examples(true))]
    pub dry_run: bool,
    /// The event would be accepted.
    #[schema(examples(true))]
    pub success: bool,
    /// Whom it would reach.
    #[schema(examples("customer-001"))]
    pub customer_id: String,
    /// Her name; null when the customer is not known yet and the event would wait for the sync.
    #[schema(examples("Carlos Mendoza"))]
    pub customer_name: Option<String>,
    /// Channels one after the other, or all at once.
    pub delivery_mode: DeliveryMode,
    /// When the first message would leave.
    pub send_at: Timestamp,
    /// Why not at once; null when it would.
    pub deferred: Option<DeferReason>,
    /// In the order in which they would be tried.
    pub messages: Vec<PreviewMessage>,
    /// Channels that would not be used.
    pub skipped: Vec<Skipped>,
    /// The moment for which it was decided (`at`); absent when that was now.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub as_if_at: Option<Timestamp>,
}

/// A message as it would be sent.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct PreviewMessage {
    /// On which channel.
    pub channel: Channel,
    /// Its place among the channels; 0 would be tried first.
    #[schema(examples(0))]
    pub fallback_order: i32,
    /// Why this channel has this place.
    #[schema(examples("Prioridad 1 en las preferencias del cliente."))]
    pub reason: String,
    /// The priority that the customer gave the channel, of which the reason tells.
    #[serde(skip)]
    pub preferred: Option<i32>,
    /// Address or number, masked unless the key has the scope `contacts` or `admin`; null for pushes, which go to all devices.
    #[schema(examples("c***@example.com"))]
    pub recipient_address: Option<String>,
    /// The number stands in no numbering plan. It would be used all the same.
    #[schema(examples(false))]
    pub unusual: bool,
    /// Name of the template.
    #[schema(examples("Cita agendada (clientes, email)"))]
    pub template: String,
    /// The rendered subject.
    #[schema(examples("Cita agendada: Haval H6 2024"))]
    pub subject: String,
    /// The rendered text.
    pub body: String,
    /// Whether the text is HTML.
    pub is_html: bool,
}

impl Preview {
    /// Hides most of every address.
    #[must_use]
    pub fn masked(mut self) -> Self {
        for message in &mut self.messages {
            message.recipient_address =
                message.recipient_address.take().and_then(|address| channels::mask(message.channel, &address));
        }
        self
    }

    fn of(decision: Decision<'_>) -> Self {
        let Decision { customer, plan, send_time } = decision;
        let (delivery_mode, skipped) = (plan.delivery_mode, plan.skipped.iter().map(Skipped::from).collect());
        let message = |(place, words): (usize, Words)| PreviewMessage {
            channel: words.channel,
            fallback_order: place as i32,
            reason: orchestration::reason(words.preferred, Language::Spanish),
            preferred: words.preferred,
            unusual: words.channel == Channel::Whatsapp && is_unusual_phone(&words.address),
            recipient_address: (words.channel != Channel::Push).then_some(words.address),
            template: words.template_name,
            subject: words.subject,
            body: words.body,
            is_html: words.is_html,
        };
        let messages = plan.into_chains().into_iter().flat_map(|chain| chain.into_iter().enumerate()).map(message);
        Self {
            messages: messages.collect(),
            dry_run: true,
            success: true,
            customer_id: customer.customer_id.clone(),
            customer_name: Some(customer.full_name()),
            delivery_mode,
            send_at: send_time.at,
            deferred: send_time.reason,
            skipped,
            as_if_at: None,
        }
    }

    /// The event would wait for its customer.
    fn waiting(customer_id: &str, now: Timestamp) -> Self {
        let unknown = Customer::default();
        let plan = super::Plan {
            delivery_mode: DeliveryMode::Fallback,
            decided: None,
            messages: Vec::new(),
            skipped: Vec::new(),
        };
        let send_time = super::SendTime { at: now, reason: None };
        Self {
            customer_id: customer_id.to_owned(),
            customer_name: None,
            ..Self::of(Decision { customer: &unknown, plan, send_time })
        }
    }
}

/// Decides about events as [`accept`](super::accept) does, in a transaction that is never committed. As if it were `at`: then quiet
/// hours and wished times are those of that moment, while customers and the catalogue are as they are now.
///
/// # Errors
/// When the database does not answer. What is wrong with an event stands in its own place.
pub async fn preview(
    system: &Notifications,
    requests: &[Request],
    at: Option<Timestamp>,
) -> db::Result<Vec<Result<Preview, Rejection>>> {
    let now = at.unwrap_or_else(|| system.context.clock.now());
    let mut session = system.context.db.begin().await?;
    let every: Vec<&Request> = requests.iter().collect();
    let facts = Facts::gather(system, &mut session, &every, now).await?;
    let decide = |request: &Request| match facts.decide(request)? {
        Some(decision) => Ok(Preview::of(decision)),
        None if request.unknown_customer == UnknownCustomer::Defer => {
            Ok(Preview::waiting(&request.event.customer_id, now))
        }
        None => Err(Rejection::no_such_customer(&request.event.customer_id)),
    };
    let mut previews = Vec::with_capacity(requests.len());
    for request in requests {
        // A thousand events are some time's work: others have their turn between them.
        tokio::task::yield_now().await;
        previews.push(decide(request).map(|preview| Preview { as_if_at: at, ..preview }));
    }
    Ok(previews)
}
