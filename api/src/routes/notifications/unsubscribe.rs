//! Where the link in a mail leads: mail programs press it with one click (RFC 8058), people see a page with a button.
//!
//! The link alone changes nothing, because scanners of mail open every link that they find. It needs no password: having
//! the mail is the permission.

use std::sync::Arc;

use axum::extract::State;
use axum::http::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, REFERRER_POLICY};
use axum::http::{HeaderName, StatusCode};
use axum::response::{IntoResponse, Response};
use recado_kernel::db;
use recado_kernel::ids::Id;
use recado_notifications::journal::{self, Entry, Fact};
use recado_notifications::unsubscribe::Unsubscription;
use recado_notifications::{customers, notifications};
use recado_queue::context::Context;

use crate::extract::path::Segment;
use crate::problem::Problem;
use crate::routing::routes;
use crate::state::{Api, Routes};

pub(crate) fn routes() -> Routes {
    Routes::new().routes(routes!(show, unsubscribe))
}

/// A page with a button that switches the channel off.
///
/// Opening it changes nothing.
#[utoipa::path(get, path = "/{token}", tag = "unsubscribe", operation_id = "show",
    params(("token" = String, Path, description = "From the link in the message")),
    responses((status = 200, description = "The page", body = String, content_type = "text/html"),
              (status = 404, description = "The link is not one of ours", body = String, content_type = "text/html")))]
async fn show(State(api): State<Arc<Api>>, Segment(token): Segment<String>) -> Response {
    match read(&api, &token) {
        Some(unsubscription) => page(
            StatusCode::OK,
            "¿Ya no quiere recibir estos avisos?",
            &format!(
                "<p>Si confirma, no le enviaremos más avisos por {}. Los demás canales no cambian.</p>\
                 <form method=\"post\"><button type=\"submit\">No quiero recibir más</button></form>",
                unsubscription.channel.display_name()
            ),
        ),
        None => not_ours(),
    }
}

/// Switches the channel off for the customer of the message (RFC 8058, section 3.2).
///
/// The body does not matter. Doing it twice is harmless.
#[utoipa::path(post, path = "/{token}", tag = "unsubscribe",
    params(("token" = String, Path, description = "From the link in the message")),
    responses((status = 200, description = "It is switched off", body = String, content_type = "text/html"),
              (status = 404, description = "The link is not one of ours", body = String, content_type = "text/html")))]
async fn unsubscribe(State(api): State<Arc<Api>>, Segment(token): Segment<String>) -> Result<Response, Problem> {
    let Some(unsubscription) = read(&api, &token) else { return Ok(not_ours()) };
    write(&api.context, &unsubscription).await?;
    let channel = unsubscription.channel.display_name();
    let text = format!(
        "<p>No le enviaremos más avisos por {channel}. Si cambia de opinión, avise a su taller y lo activarán de nuevo.</p>"
    );
    Ok(page(StatusCode::OK, "Listo", &text))
}

fn read(api: &Api, token: &str) -> Option<Unsubscription> {
    Unsubscription::read(token, api.context.config.secret_key.as_ref()?)
}

/// A customer who is gone gets nothing any more; then there is nothing to write.
async fn write(context: &Context, unsubscription: &Unsubscription) -> db::Result<()> {
    let now = context.clock.now();
    let mut session = context.db.begin().await?;
    let is_known = customers::opt_out(&mut session, &unsubscription.customer_id, unsubscription.channel, now).await?;
    let chain = notifications::chain_of(&mut session, unsubscription.notification_id).await?;
    if let Some(message) = chain.iter().find(|message| message.id == unsubscription.notification_id)
        && is_known
    {
        let entry = Entry {
            // The same each time: mail programs and people press twice.
            id: Id::of_name(&format!("unsubscribe:{}", unsubscription.notification_id)),
            at: now,
            correlation_id: message.correlation_id,
            customer_id: unsubscription.customer_id.clone(),
            task_id: Some(message.task_id),
            notification_id: Some(unsubscription.notification_id),
            channel: Some(unsubscription.channel),
            fact: Fact::OptedOut {},
        };
        journal::record(&mut session, &[entry]).await?;
    }
    session.commit().await
}

fn not_ours() -> Response {
    let text = "<p>El enlace está incompleto o no es nuestro. Cópielo entero desde el mensaje.</p>";
    page(StatusCode::NOT_FOUND, "Este enlace no sirve", text)
}

/// A page that needs no script, no image and no other server.
fn page(status: StatusCode, title: &str, content: &str) -> Response {
    let html = format!(
        r#"<!doctype html>
<html lang="es">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="robots" content="noindex">
<title>{title}</title>
<style>
body {{ margin: 0; font: 1.125rem/1.6 system-ui, sans-serif; color: #1f2933; background: #f4f5f7; }}
main {{ max-width: 34rem; margin: 12vh auto 0; padding: 2rem; background: #fff; border-radius: .5rem; }}
h1 {{ margin-top: 0; font-size: 1.5rem; line-height: 1.3; }}
button {{ font: inherit; padding: .75rem 1.25rem; border: 0; border-radius: .375rem; color: #fff; background: #0b5fa5; cursor: pointer; }}
button:focus-visible {{ outline: 3px solid #f0a500; outline-offset: 2px; }}
</style>
</head>
<body><main><h1>{title}</h1>{content}</main></body>
</html>
"#
    );
    let headers: [(HeaderName, &str); 4] = [
        (CONTENT_TYPE, "text/html; charset=utf-8"),
        (CACHE_CONTROL, "no-store"),
        // The address of the page is the permission; it stays here.
        (REFERRER_POLICY, "no-referrer"),
        (
            CONTENT_SECURITY_POLICY,
            "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'; frame-ancestors 'none'",
        ),
    ];
    (status, headers, html).into_response()
}
