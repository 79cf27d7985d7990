//! Evolution API as a bridge: its webhooks come to one URL for all events (notifications), and what people say is handed on here.

use futures::future::join_all;
use recado_conversations::chats::listing;
use recado_conversations::evolution::Heard;
use recado_conversations::sessions::{self, Told};
use serde_json::Value;

use crate::problem::Problem;
use crate::state::Api;

/// What was made of a webhook.
pub(crate) struct Conversed {
    /// Messages that are kept, now or before.
    pub(crate) messages: usize,
    pub(crate) ignored: Vec<String>,
}

/// Keeps what a webhook says of conversations. `None`: it says nothing of them, or the instance's chats are not ours.
pub(crate) async fn hear(api: &Api, event: Option<&str>, body: &Value) -> Result<Option<Conversed>, Problem> {
    let settings = &api.context.config.conversations;
    if settings.evolution_instances.is_empty() {
        return Ok(None);
    }
    let Some(Heard { messages, people, told, ignored }) = Heard::read(event, body, settings) else { return Ok(None) };
    if !people.is_empty() {
        let mut session = api.context.db.begin().await?;
        listing::unite(&mut session, &people, api.context.clock.now()).await?;
        session.commit().await?;
    }
    if let Some((name, told)) = told {
        count(if matches!(told, Told::Qr { .. }) { "qr" } else { "status" }, 1);
        let mut session = api.context.db.begin().await?;
        sessions::tell_of(&mut session, &name, &told, api.context.clock.now()).await?;
        session.commit().await?;
    }
    count("message", messages.len());
    // What is told again takes effect once, so Evolution may post all of it again.
    let taken = join_all(messages.into_iter().map(|message| api.incoming.take(message))).await;
    if taken.iter().any(Result::is_err) {
        return Err(Problem::Unavailable);
    }
    Ok(Some(Conversed { messages: taken.len(), ignored }))
}

fn count(kind: &'static str, number: usize) {
    if number > 0 {
        metrics::counter!("recado_whatsapp_webhooks_total", "kind" => kind).increment(number as u64);
    }
}
