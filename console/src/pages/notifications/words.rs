//! The HTML of a message, in a frame of its own in which nothing is run and nothing is asked for.

use std::sync::Arc;

use axum::extract::State;
use axum::http::header::{CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderName};
use axum::response::{IntoResponse, Response};
use recado_kernel::ids::Id;
use recado_notifications::notifications;

use super::story::may_read_words;
use crate::Console;
use crate::auth::{Look, May};
use crate::failure::Failure;
use crate::path::Path;

/// What its author wrote may do nothing here: no script, no form, no request; only its own styles, and images that it holds itself.
const POLICY: &str = "sandbox; default-src 'none'; img-src data:; style-src 'unsafe-inline'; frame-ancestors 'self'";

/// `/admin/notifications/{id}/html/`
pub(crate) async fn html_of(
    may: May<Look>,
    State(console): State<Arc<Console>>,
    Path(id): Path<Id>,
) -> Result<Response, Failure> {
    let chain = notifications::chain_of(&mut console.context.db.read().await?, id).await?;
    let message = chain.into_iter().find(|message| message.id == id && message.is_html);
    let message = message.filter(|_| may_read_words(&may.visit)).ok_or(Failure::NotFound)?;
    let headers = [
        (CONTENT_TYPE, "text/html; charset=utf-8"),
        (CONTENT_SECURITY_POLICY, POLICY),
        (HeaderName::from_static("x-content-type-options"), "nosniff"),
    ];
    Ok((headers, message.body).into_response())
}
