//! Why there is no page. The middleware draws it, in the language of the person who asked.

use std::sync::Arc;

use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use recado_kernel::db;
use recado_kernel::login_codes::CodeError;
use recado_kernel::users::Role;

use crate::sandbox::SandboxError;

/// Why there is no page.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    #[error("no one is logged in")]
    Login,
    #[error("it needs the role {0}")]
    Forbidden(Role),
    #[error("a page of another site sent it")]
    Forged,
    #[error("there is no such page")]
    NotFound,
    #[error("the form cannot be read")]
    Malformed,
    #[error("the database did not answer in time")]
    TooSlow,
    #[error("the database did not do its part")]
    Database(#[source] db::Error),
    #[error("a secret cannot be kept or read")]
    Secret(#[source] CodeError),
    #[error("the sandbox did not do its part")]
    Sandbox(#[from] SandboxError),
    #[error("the page cannot be drawn")]
    Drawing(#[source] askama::Error),
}

impl From<db::Error> for Failure {
    fn from(error: db::Error) -> Self {
        // PostgreSQL ends a statement that takes too long (57014, `query_canceled`).
        let is_slow =
            error.as_database_error().and_then(sqlx::error::DatabaseError::code).is_some_and(|code| code == "57014");
        if is_slow { Self::TooSlow } else { Self::Database(error) }
    }
}

impl Failure {
    pub(crate) fn status(&self) -> StatusCode {
        match self {
            Self::Login => StatusCode::UNAUTHORIZED,
            Self::Forbidden(_) | Self::Forged => StatusCode::FORBIDDEN,
            Self::NotFound => StatusCode::NOT_FOUND,
            Self::Malformed => StatusCode::BAD_REQUEST,
            Self::Secret(CodeError::NoKey) => StatusCode::CONFLICT,
            Self::TooSlow | Self::Database(_) | Self::Secret(_) | Self::Sandbox(_) => StatusCode::SERVICE_UNAVAILABLE,
            Self::Drawing(_) => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    /// The messages `failure-…` and `failure-…-remedy` tell it.
    pub(crate) fn word(&self) -> &'static str {
        match self {
            Self::Login => "login",
            Self::Forbidden(_) => "forbidden",
            Self::Forged => "forged",
            Self::NotFound => "not-found",
            Self::Malformed => "malformed",
            Self::TooSlow => "too-slow",
            Self::Database(_) => "database",
            Self::Secret(_) => "secret",
            Self::Sandbox(_) => "sandbox",
            Self::Drawing(_) => "drawing",
        }
    }
}

/// A failure on its way to the middleware, which knows the language in which it is told.
#[derive(Clone)]
pub(crate) struct Failed(pub(crate) Arc<Failure>);

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        let mut response = self.status().into_response();
        response.extensions_mut().insert(Failed(Arc::new(self)));
        response
    }
}
