//! What stands in for the providers, where it runs: the sandbox of `recado up`, asked over HTTP as a person asks it with curl. The console
//! knows its JSON, and not the crate: no production links it (docs/adr/0014-the-console-asks-the-sandbox.md).

use std::time::Duration;

use axum::http::StatusCode;
use recado_kernel::config::Config;
use recado_kernel::tls;
use reqwest::{Client, Method};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

/// On loopback it answers at once.
const TIMEOUT: Duration = Duration::from_secs(5);

/// Messages that are asked for.
pub(crate) const NEWEST: usize = 100;

/// A way to the sandbox.
#[derive(Clone)]
pub(crate) struct Sandbox {
    client: Client,
    /// With a slash at its end.
    pub(crate) url: String,
}

/// A message that arrived, of any channel: what one has and another lacks is empty.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(default)]
pub(crate) struct Arrived {
    /// Its place in the order of arrival.
    pub(crate) n: u64,
    /// email, whatsapp, push, webhook or bridge.
    pub(crate) channel: String,
    pub(crate) at: Option<chrono::DateTime<chrono::Utc>>,
    // Of a mail
    pub(crate) envelope_to: Vec<String>,
    pub(crate) from: Option<String>,
    pub(crate) subject: Option<String>,
    pub(crate) message_id: Option<String>,
    pub(crate) html: Option<String>,
    // Of a mail, and of WhatsApp
    pub(crate) text: Option<String>,
    // Of WhatsApp
    pub(crate) id: Option<String>,
    pub(crate) number: Option<String>,
    pub(crate) chat_id: Option<String>,
    pub(crate) status: Option<String>,
    // Of a push
    pub(crate) token: Option<String>,
    pub(crate) payload: Option<String>,
    pub(crate) topic: Option<String>,
    pub(crate) urgency: Option<String>,
    // Of a webhook
    pub(crate) path: Option<String>,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Option<String>,
    pub(crate) verdict: Value,
}

impl Arrived {
    /// The value of a header.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(named, _)| named.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }
}

/// The sandbox did not answer as it should.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SandboxError {
    #[error("the sandbox does not answer")]
    Silent(#[from] reqwest::Error),
    #[error("the sandbox answered {0}")]
    Refused(StatusCode),
}

impl Sandbox {
    /// The one that this installation has.
    pub(crate) fn of(config: &Config) -> Option<Self> {
        let url = config.sandbox_url.clone()?;
        let client = client().inspect_err(|error| tracing::warn!("the inbox cannot be shown: {error}")).ok()?;
        Some(Self { client, url })
    }

    /// The newest messages, of one channel or all, newest first.
    pub(crate) async fn newest(&self, channel: Option<&str>, limit: usize) -> Result<Vec<Arrived>, SandboxError> {
        let channel = channel.map(|channel| format!("&channel={channel}")).unwrap_or_default();
        let answer = self.ask(Method::GET, &format!("messages?limit={limit}{channel}"), None).await?;
        let mut found: Vec<Arrived> = answer.json().await?;
        found.reverse();
        Ok(found)
    }

    /// One message; `None`: there is none of this number any more.
    pub(crate) async fn find(&self, n: u64) -> Result<Option<Arrived>, SandboxError> {
        match self.ask(Method::GET, &format!("messages/{n}"), None).await {
            Ok(answer) => Ok(Some(answer.json().await?)),
            Err(SandboxError::Refused(StatusCode::NOT_FOUND)) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// A mail as it came over the wire.
    pub(crate) async fn raw(&self, n: u64) -> Result<String, SandboxError> {
        Ok(self.ask(Method::GET, &format!("messages/{n}/raw"), None).await?.text().await?)
    }

    /// What goes wrong on purpose, by channel.
    pub(crate) async fn faults(&self) -> Result<Map<String, Value>, SandboxError> {
        Ok(self.ask(Method::GET, "faults", None).await?.json().await?)
    }

    /// Lets a channel go wrong, or go well again (`None`).
    pub(crate) async fn set_fault(&self, channel: &str, rule: Option<Value>) -> Result<(), SandboxError> {
        let mut body = Map::new();
        body.insert(channel.to_owned(), rule.unwrap_or_else(|| json!("none")));
        self.ask(Method::PUT, "faults", Some(Value::Object(body))).await?;
        Ok(())
    }

    async fn ask(&self, method: Method, path: &str, body: Option<Value>) -> Result<reqwest::Response, SandboxError> {
        let mut request = self.client.request(method, format!("{}{path}", self.url));
        if let Some(body) = body {
            request = request.json(&body);
        }
        let answer = request.send().await?;
        match answer.status() {
            status if status.is_success() => Ok(answer),
            status => Err(SandboxError::Refused(status)),
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "the sandbox is a part of this installation, on loopback")]
fn client() -> Result<Client, reqwest::Error> {
    tls::http_client().no_proxy().timeout(TIMEOUT).build()
}
