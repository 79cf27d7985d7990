//! A person is forgotten everywhere at once: what is theirs here, what they wrote on WhatsApp, and later what other systems keep.

use recado_conversations::erasure as conversations;
use recado_kernel::audit::{self, Act, Actor};
use recado_kernel::db::Result;
use recado_kernel::ids::Id;
use recado_notifications::{erasure, searches};
use recado_queue::context::Context;
use serde_json::json;

/// What was erased.
#[derive(Clone, Debug)]
pub struct ErasedCustomer {
    /// How many of each kind.
    pub erased: erasure::Erased,
    /// Of what they wrote on WhatsApp.
    pub conversations: conversations::Erased,
    /// The task that looks for the person in webhooks, appointments and presences.
    pub search_id: Id,
}

/// Erases a customer, and orders the search for what other systems keep. `None`: nothing is known of such a person.
///
/// It may be repeated: it then finds what a job wrote that ran at that moment.
pub async fn erase(context: &Context, customer_id: &str, actor: &Actor) -> Result<Option<ErasedCustomer>> {
    let now = context.clock.now();
    let mut session = context.db.begin().await?;
    let addresses = erasure::addresses(&mut session, customer_id).await?;
    let (erased, person) = erasure::erase(&mut session, customer_id, now).await?;
    let conversations = conversations::erase(&mut session, &addresses, now).await?;
    if erased.is_nothing() && conversations.is_nothing() {
        return Ok(None);
    }
    let (search_id, rings) = searches::order(&mut session, &person, context.config.secret_key.as_ref(), now).await?;
    let act = Act::new("erase", "customer", customer_id)
        .made(json!({"notifications": erased.notifications, "vehicles": erased.vehicles, "search": search_id}));
    audit::write(&mut session, actor, &act, now).await?;
    session.commit().await?;
    context.ring(&rings).await;
    Ok(Some(ErasedCustomer { erased, conversations, search_id }))
}
