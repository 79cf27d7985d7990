//! Browsers subscribe to pushes and leave again (S002-25 to S002-27, S002-55).

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use recado_kernel::ids::Id;
use recado_kernel::outbound::{OutboundError, check_url};
use recado_notifications::customers;
use recado_notifications::push::{self, NewSubscription};
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::routes;

use crate::auth::{Dispatch, May, Read};
use crate::extract::body::Json;
use crate::extract::path::Segment;
use crate::extract::request::request;
use crate::problem::Problem;
use crate::state::{Api, Routes};

pub(crate) fn routes() -> Routes {
    Routes::new().routes(routes!(subscribe, unsubscribe)).routes(routes!(status)).routes(routes!(vapid_public_key))
}

/// Creates a subscription, or brings an endpoint that is known up to date; 201 in both cases (d16).
#[utoipa::path(post, path = "/subscribe", tag = "push", request_body = SubscriptionWrite,
    responses((status = 201, description = "The subscription", body = Subscribed)))]
async fn subscribe(
    _: May<Dispatch>,
    State(api): State<Arc<Api>>,
    Json(write): Json<SubscriptionWrite>,
) -> Result<(StatusCode, axum::Json<Subscribed>), Problem> {
    let new = NewSubscription::from(write);
    let reached = check_url(&new.endpoint, api.context.config.allow_private_networks);
    let unreachable = reached.err().map(|error| ("subscription.endpoint", explain(&error).to_owned()));
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
    responses((status = 204, description = "It has ended"),
              (status = 404, description = "There is none for this endpoint")))]
async fn unsubscribe(
    _: May<Dispatch>,
    State(api): State<Arc<Api>>,
    Json(SubscriptionEnd { endpoint }): Json<SubscriptionEnd>,
) -> Result<StatusCode, Problem> {
    let mut session = api.context.db.begin().await?;
    let existed = push::unsubscribe(&mut session, &endpoint).await?;
    session.commit().await?;
    if existed { Ok(StatusCode::NO_CONTENT) } else { Err(Problem::NotFound) }
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

fn explain(error: &OutboundError) -> &'static str {
    match error {
        OutboundError::NotAUrl => "Introduzca una URL válida, por ejemplo https://push.example.com/…",
        OutboundError::NotHttps => "La URL debe empezar por https://.",
        OutboundError::Credentials => "La URL no debe llevar usuario ni contraseña.",
        OutboundError::NotPublic => "La dirección no está en la internet pública.",
        OutboundError::Forbidden => "A esta dirección no se conecta nunca.",
    }
}
