//! In which language a caller is told something: `?lang=`, else `Accept-Language`, else Spanish.

use axum::extract::FromRequestParts;
use axum::http::header::ACCEPT_LANGUAGE;
use axum::http::request::Parts;
use recado_kernel::language::Language;
use url::form_urlencoded;
use utoipa::IntoParams;

use crate::problem::{FieldErrors, Problem};

/// What a caller understands.
pub(crate) struct Spoken(pub(crate) Language);

/// Its parameters, for the document of the API.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "`Spoken` reads it; this only describes it")]
pub(crate) struct SpokenQuery {
    /// `es` or `en`; without it, `Accept-Language` decides.
    #[param(value_type = Option<String>)]
    lang: Option<Language>,
}

impl<S: Send + Sync> FromRequestParts<S> for Spoken {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let query = parts.uri.query().unwrap_or_default().as_bytes();
        let asked =
            form_urlencoded::parse(query).filter(|(name, value)| name == "lang" && !value.trim().is_empty()).last();
        if let Some((_, word)) = asked {
            let wrong = || FieldErrors::one("lang", format!("Use: {}.", Language::WORDS.join(", ")));
            return word.trim().parse().map(Self).map_err(|_| wrong().into());
        }
        let header = parts.headers.get(ACCEPT_LANGUAGE).and_then(|value| value.to_str().ok()).unwrap_or_default();
        Ok(Self(Language::accepted(header)))
    }
}
