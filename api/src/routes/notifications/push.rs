//! Browsers subscribe to pushes and leave again (S002-25 to S002-27, S002-55).

use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::http::StatusCode;
use recado_kernel::clock::Timestamp;
use recado_kernel::fields::check_text;
use recado_kernel::ids::Id;
use recado_kernel::outbound::check_url;
use recado_notifications::browser_tokens::BrowserToken;
use recado_notifications::customers::{self, LONGEST_CUSTOMER_ID};
use recado_notifications::push::{self, NewSubscription};
use serde::Serialize;
use utoipa::ToSchema;

use crate::auth::{Dispatch, May, MaySubscribe, Read};
use crate::extract::body::Json;
use crate::extract::path::Segment;
use crate::extract::request::request;
use crate::problem::{Conflict, Problem};
use crate::routing::routes;
use crate::state::{Api, Routes};

pub(crate) fn routes() -> Routes {
    Routes::new()
        .routes(routes!(subscribe, unsubscribe))
        .routes(routes!(make_token))
        .routes(routes!(status))
        .routes(routes!(vapid_public_key))
}

/// Creates a subscription, or brings an endpoint that is known up to date; 201 in both cases (d16).
///
/// With the token of a customer only that customer's browser can be subscribed.
#[utoipa::path(post, path = "/subscribe", tag = "push", request_body = SubscriptionWrite,
    security(("apiKey" = []), ("customerToken" = [])),
    responses((status = 201, description = "The subscription", body = Subscribed)))]
async fn subscribe(
    MaySubscribe { only }: MaySubscribe,
    State(api): State<Arc<Api>>,
    Json(write): Json<SubscriptionWrite>,
) -> Result<(StatusCode, axum::Json<Subscribed>), Problem> {
    let new = NewSubscription::from(write);
    if only.is_some_and(|only| only != new.customer_id) {
        return Err(Problem::ForeignCustomer);
    }
    let reached = check_url(&new.endpoint, api.context.config.allow_private_networks);
    let unreachable = reached.err().map(|error| ("subscription.endpoint", error.in_spanish().to_owned()));
    let new = match (new.checked(), unreachable) {
        (Ok(new), None) => new,
        (Ok(_), Some(error)) => return Err(vec![error].into()),
        (Err(errors), error) => return Err(name_fields(errors.into_iter().chain(error).collect())),
    };
    let mut session = api.context.db.begin().await?;
    let id = push::subscribe(&mut session, &new, api.context.clock.now()).await?;
    session.commit().await?;
    let NewSubscription { customer_id, endpoint, .. } = new;
    let answer = Subscribed { id, customer_id, endpoint, message: "Suscripción registrada" };
    Ok((StatusCode::CREATED, axum::Json(answer)))
}

/// Ends a subscription: 204, or 404 when there is none for this endpoint.
#[utoipa::path(delete, path = "/subscribe", tag = "push", request_body = SubscriptionEnd,
    security(("apiKey" = []), ("customerToken" = [])),
    responses((status = 204, description = "It has ended"),
              (status = 404, description = "There is none for this endpoint")))]
async fn unsubscribe(
    MaySubscribe { only }: MaySubscribe,
    State(api): State<Arc<Api>>,
    Json(SubscriptionEnd { endpoint }): Json<SubscriptionEnd>,
) -> Result<StatusCode, Problem> {
    let mut session = api.context.db.begin().await?;
    let existed = match only {
        Some(customer_id) => push::unsubscribe_of(&mut session, &endpoint, &customer_id).await?,
        None => push::unsubscribe(&mut session, &endpoint).await?,
    };
    session.commit().await?;
    if existed { Ok(StatusCode::NO_CONTENT) } else { Err(Problem::NotFound) }
}

/// Makes a token with which the browser of one customer subscribes and leaves, and can do nothing else.
///
/// For the server that knows who is logged in: it hands the token to its page, so that no key is in a browser. A token cannot be
/// taken back, so it is short.
#[utoipa::path(post, path = "/tokens", tag = "push", request_body = TokenWrite,
    responses((status = 201, description = "The token", body = CustomerToken),
              (status = 409, description = "SECRET_KEY is not set, with which tokens are signed", body = Value,
                  content_type = "application/problem+json")))]
async fn make_token(
    _: May<Dispatch>,
    State(api): State<Arc<Api>>,
    Json(TokenWrite { customer_id, expires_in }): Json<TokenWrite>,
) -> Result<(StatusCode, axum::Json<CustomerToken>), Problem> {
    let key = api.context.config.secret_key.as_ref().ok_or(Problem::Conflict(Conflict {
        code: "no-secret-key",
        title: "No se pueden firmar tokens",
        detail: "Falta SECRET_KEY en la configuración del servidor.".to_owned(),
    }))?;
    let expires_at = api.context.clock.now() + Duration::from_secs(expires_in.unsigned_abs());
    let token = BrowserToken { customer_id, expires_at };
    let text = token.write(key);
    let BrowserToken { customer_id, expires_at } = token;
    Ok((StatusCode::CREATED, axum::Json(CustomerToken { token: text, customer_id, expires_at })))
}

/// Whether a customer can be reached by push. 404 for a customer of whom we know nothing at all (d16).
#[utoipa::path(get, path = "/status/{customer_id}", tag = "push",
    params(("customer_id" = String, Path, description = "Your own identifier of the customer")),
    responses((status = 200, description = "How many devices there are", body = PushStatus)))]
async fn status(
    _: May<Read>,
    State(api): State<Arc<Api>>,
    Segment(customer_id): Segment<String>,
) -> Result<axum::Json<PushStatus>, Problem> {
    let mut session = api.context.db.read().await?;
    let counts = push::counts(&mut session, std::slice::from_ref(&customer_id)).await?;
    let subscription_count = counts.first().map_or(0, |(_, count)| *count);
    if subscription_count == 0 && customers::find(&mut session, &customer_id).await?.is_none() {
        return Err(Problem::NotFound);
    }
    Ok(axum::Json(PushStatus { has_subscription: subscription_count > 0, subscription_count }))
}

/// What a browser needs to subscribe (`applicationServerKey`). It is public by nature, so no key is asked for.
#[utoipa::path(get, path = "/vapid-public-key", tag = "push", security(()),
    responses((status = 200, description = "The key", body = VapidPublicKey),
              (status = 404, description = "Web Push is not configured")))]
async fn vapid_public_key(State(api): State<Arc<Api>>) -> Result<axum::Json<VapidPublicKey>, Problem> {
    let push = api.context.config.push.as_ref().ok_or(Problem::NotFound)?;
    Ok(axum::Json(VapidPublicKey { public_key: push.public_key.clone() }))
}

/// A subscription that is in force.
#[derive(Serialize, ToSchema)]
struct Subscribed {
    /// Id of the subscription.
    id: Id,
    /// Whose browser it is.
    #[schema(examples("customer-001"))]
    customer_id: String,
    /// Where the push service takes messages for it.
    endpoint: String,
    /// The same in a sentence.
    #[schema(examples("Suscripción registrada"))]
    message: &'static str,
}

/// A token that was just made.
#[derive(Serialize, ToSchema)]
struct CustomerToken {
    /// The token, for `Authorization: Bearer` on `push/subscribe/`.
    #[schema(examples("rb_AAAAAGl2dXljdXN0b21lci0wMDE"))]
    token: String,
    /// Whose browser may subscribe with it.
    #[schema(examples("customer-001"))]
    customer_id: String,
    /// When it ends.
    expires_at: Timestamp,
}

/// Whether a customer can be reached by push.
#[derive(Serialize, ToSchema)]
struct PushStatus {
    /// Whether there is at least one device.
    has_subscription: bool,
    /// How many devices there are.
    #[schema(minimum = 0, examples(1))]
    subscription_count: i64,
}

/// What a browser needs to subscribe.
#[derive(Serialize, ToSchema)]
struct VapidPublicKey {
    /// `applicationServerKey`: an uncompressed P-256 point, base64url (RFC 8292).
    public_key: String,
}

request! {
    /// A browser's subscription with whom it belongs to.
    #[derive(ToSchema)]
    struct SubscriptionWrite {
        /// Whose browser it is; the customer may be synced later.
        #[schema(max_length = 100, examples("customer-001"))]
        customer_id: String,
        /// What `PushSubscription.toJSON()` says.
        subscription: BrowserSubscription,
        /// Which browser it is, for people.
        #[schema(max_length = 1000)]
        user_agent: Option<String>,
    }
}

request! {
    /// For whom a token is, and for how long.
    #[derive(ToSchema)]
    struct TokenWrite {
        /// Whose browser may subscribe; the customer may be synced later.
        #[schema(min_length = 1, max_length = 100, examples("customer-001"))]
        customer_id: String,
        /// Seconds that it is good: from a minute to a day, an hour when left out.
        #[schema(minimum = 60, maximum = 86400, default = 3600)]
        expires_in: i64 = 3600,
    }

    fn errors(&self) -> Vec<(&'static str, String)> {
        let mut errors = Vec::new();
        check_text(&mut errors, "customer_id", Some(&self.customer_id), LONGEST_CUSTOMER_ID);
        if self.customer_id.trim().is_empty() {
            errors.push(("customer_id", "Este campo no puede estar en blanco.".to_owned()));
        }
        if !(60..=86_400).contains(&self.expires_in) {
            errors.push(("expires_in", "Debe estar entre 60 y 86400.".to_owned()));
        }
        errors
    }
}

request! {
    /// A `PushSubscription` (W3C Push API).
    #[derive(ToSchema)]
    struct BrowserSubscription {
        /// URL of the push service, `https` and public.
        #[schema(max_length = 2000, examples("https://push.example.com/abc"))]
        endpoint: String,
        /// The browser's keys (RFC 8291).
        keys: BrowserKeys,
    }
}

request! {
    /// The keys of a browser (RFC 8291).
    #[derive(ToSchema)]
    struct BrowserKeys {
        /// Its public key: an uncompressed P-256 point, base64url.
        p256dh: String,
        /// 16 random bytes, base64url.
        auth: String,
    }
}

request! {
    /// Which subscription ends.
    #[derive(ToSchema)]
    struct SubscriptionEnd {
        /// The endpoint that was subscribed.
        #[schema(examples("https://push.example.com/abc"))]
        endpoint: String,
    }
}

impl From<SubscriptionWrite> for NewSubscription {
    fn from(SubscriptionWrite { customer_id, subscription, user_agent }: SubscriptionWrite) -> Self {
        let BrowserSubscription { endpoint, keys: BrowserKeys { p256dh, auth } } = subscription;
        Self { customer_id, endpoint, p256dh, auth, user_agent }
    }
}

/// Where the fields of a subscription stand in the body.
fn name_fields(errors: Vec<(&'static str, String)>) -> Problem {
    let path = |field| match field {
        "endpoint" => "subscription.endpoint",
        "p256dh" => "subscription.keys.p256dh",
        "auth" => "subscription.keys.auth",
        other => other,
    };
    Problem::from(errors.into_iter().map(|(field, error)| (path(field), error)).collect::<Vec<_>>())
}
