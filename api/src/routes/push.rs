//! Browsers subscribe to pushes and leave again (S002-25 to S002-27, S002-55).

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use recado_shared::customers;
use recado_shared::ids::Id;
use recado_shared::outbound::{OutboundError, check_url};
use recado_shared::push::{self, NewSubscription};
use serde::Serialize;

use crate::Api;
use crate::auth::{Dispatch, May, Read};
use crate::body::{Body, Fields, Json};
use crate::path::Segment;
use crate::problem::{FieldErrors, Problem};

/// Creates a subscription, or brings an endpoint that is known up to date; 201 in both cases (d16).
pub(crate) async fn subscribe(
    _: May<Dispatch>,
    State(api): State<Arc<Api>>,
    Json(new): Json<NewSubscription>,
) -> Result<(StatusCode, axum::Json<Subscribed>), Problem> {
    check_url(&new.endpoint, api.context.config.allow_private_networks)
        .map_err(|error| FieldErrors::one("subscription.endpoint", explain(&error)))?;
    let new = new.checked().map_err(name_fields)?;
    let mut session = api.context.db.begin().await?;
    let id = push::subscribe(&mut session, &new, api.context.clock.now()).await?;
    session.commit().await?;
    let NewSubscription { customer_id, endpoint, .. } = new;
    let answer = Subscribed { id, customer_id, endpoint, message: "Suscripción registrada" };
    Ok((StatusCode::CREATED, axum::Json(answer)))
}

/// Ends a subscription: 204, or 404 when there is none for this endpoint.
pub(crate) async fn unsubscribe(
    _: May<Dispatch>,
    State(api): State<Arc<Api>>,
    Json(Endpoint(endpoint)): Json<Endpoint>,
) -> Result<StatusCode, Problem> {
    let mut session = api.context.db.begin().await?;
    let existed = push::unsubscribe(&mut session, &endpoint).await?;
    session.commit().await?;
    if existed { Ok(StatusCode::NO_CONTENT) } else { Err(Problem::NotFound) }
}

/// Whether a customer can be reached by push. 404 for a customer of whom we know nothing at all (d16).
pub(crate) async fn status(
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
pub(crate) async fn vapid_public_key(State(api): State<Arc<Api>>) -> Result<axum::Json<VapidPublicKey>, Problem> {
    let push = api.context.config.push.as_ref().ok_or(Problem::NotFound)?;
    Ok(axum::Json(VapidPublicKey { public_key: push.public_key.clone() }))
}

#[derive(Serialize)]
pub(crate) struct Subscribed {
    id: Id,
    customer_id: String,
    endpoint: String,
    message: &'static str,
}

#[derive(Serialize)]
pub(crate) struct PushStatus {
    has_subscription: bool,
    subscription_count: i64,
}

#[derive(Serialize)]
pub(crate) struct VapidPublicKey {
    public_key: String,
}

impl Body for NewSubscription {
    fn read(fields: &mut Fields) -> Self {
        let (endpoint, (p256dh, auth)) = fields.within("subscription", |subscription| {
            let keys = |keys: &mut Fields| (keys.required("p256dh"), keys.required("auth"));
            (subscription.required("endpoint"), subscription.within("keys", keys))
        });
        Self {
            customer_id: fields.required("customer_id"),
            endpoint,
            p256dh,
            auth,
            user_agent: fields.optional("user_agent"),
        }
    }
}

/// The body of a farewell.
pub(crate) struct Endpoint(String);

impl Body for Endpoint {
    fn read(fields: &mut Fields) -> Self {
        Self(fields.required("endpoint"))
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
