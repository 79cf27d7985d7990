//! The envelope in which mistakes come: each system that Recado stands in for had one of its own, and clients parse it (d23).
//!
//! What goes wrong is a [`Problem`](crate::problem::Problem), everywhere the same. Where its answer is written, the envelope
//! of the request that is being served gives it its shape. So a handler and an extractor need not know whose clients they
//! serve, and neither does what answers before a route is found or after one has panicked.
//!
//! For one more envelope: a variant, and its URLs in [`URLS`]. The compiler then asks for the rest, in
//! `problem.rs` for the bodies and here for what the document of the API calls them.

use std::future::Future;

use axum::http::StatusCode;

/// A shape of bodies that say what went wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Envelope {
    /// Django REST framework's (seed 002): `{"field": ["…"]}` and `{"detail": "…"}`. What is new is a problem of RFC 9457.
    Django,
    /// The partner registry's, written in Flask (seed 001): `{"error": "…", "codigo": "…"}` for everything.
    Flask,
    /// The restaurant's, written in FastAPI (seed 000): `{"detail": "…"}`, and a list of places where fields are wrong.
    FastApi,
    /// The commercial application's (seed 004): `{"detail": "…", "errors": {"field": ["…"]}}`.
    Comercial,
    /// The WhatsApp bridge's (seed 003): `{"status": "error", "message": "…"}` for its webhooks.
    Bridge,
}

/// URLs that begin so belong to clients of this envelope. All others are Django's.
const URLS: [(&str, Envelope); 8] = [
    ("/api/v1/partners", Envelope::Flask),
    ("/partners", Envelope::FastApi),
    ("/webhooks/partner", Envelope::FastApi),
    ("/api/webhook-presencia-crm", Envelope::Comercial),
    ("/api/gestion", Envelope::Comercial),
    ("/api/v1/crm", Envelope::Comercial),
    ("/api/test-webhook", Envelope::Comercial),
    ("/api/v1/whatsapp/webhook", Envelope::Bridge),
];

tokio::task_local! {
    /// That of the request that this task serves, so that not every function passes it on.
    static CURRENT: Envelope;
}

impl Envelope {
    /// The envelope of a URL, whether it exists or not.
    pub(crate) fn of(path: &str) -> Self {
        let is_below = |url: &str| path.strip_prefix(url).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
        URLS.into_iter().find(|(url, _)| is_below(url)).map_or(Self::Django, |(_, envelope)| envelope)
    }

    /// That of the request that is being served.
    pub(crate) fn current() -> Self {
        CURRENT.try_with(|envelope| *envelope).unwrap_or(Self::Django)
    }

    /// Runs what serves a request of this envelope.
    pub(crate) async fn scope<F: Future>(self, serving: F) -> F::Output {
        CURRENT.scope(self, serving).await
    }

    /// The schema of a body, in the document of the API.
    pub(crate) fn schema(self, body: Body) -> &'static str {
        match (self, body) {
            (Self::Django, Body::Fields) => "FieldErrors",
            (Self::FastApi, Body::Fields) => "ValidationError",
            (Self::Comercial, Body::Fields) => "DetailAndErrors",
            (Self::Django, Body::Sentence) | (Self::FastApi | Self::Comercial, Body::Sentence | Body::Mistake) => {
                "Detail"
            }
            (Self::Django, Body::Mistake) => "Problem",
            (Self::Flask, Body::Fields | Body::Sentence | Body::Mistake) => "RegistryError",
            (Self::Bridge, Body::Fields | Body::Sentence | Body::Mistake) => "BridgeError",
        }
    }

    /// Whether a number stands for a text, and blanks around one for nothing: Django REST framework's coercions, on which clients
    /// of the two systems that were written in it rely. The other two refuse what is of another type, as theirs did.
    pub(crate) fn coerces(self) -> bool {
        match self {
            Self::Django | Self::Comercial | Self::Bridge => true,
            Self::Flask | Self::FastApi => false,
        }
    }

    /// Whether its clients write URLs with a slash at their end. Both ways are understood (d24).
    pub(crate) fn ends_with_slash(self) -> bool {
        match self {
            Self::Django | Self::Comercial | Self::Bridge => true,
            Self::Flask | Self::FastApi => false,
        }
    }

    /// The status of an answer to fields that are wrong, and to a body that is no JSON.
    pub(crate) fn status_of_fields(self) -> StatusCode {
        match self {
            Self::Django | Self::Flask | Self::Comercial | Self::Bridge => StatusCode::BAD_REQUEST,
            Self::FastApi => StatusCode::UNPROCESSABLE_ENTITY,
        }
    }
}

/// What there is to say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Body {
    /// What is wrong with which fields.
    Fields,
    /// Anything else that is the caller's to mend, or that passes.
    Sentence,
    /// A mistake of ours.
    Mistake,
}

/// The registry's word for a refusal that has none of its own. Its document has words for what it knew (S001-11); the
/// server around it refused keys and methods without one.
pub(crate) fn code_of(status: StatusCode) -> &'static str {
    match status.as_u16() {
        401 => "NO_AUTENTICADO",
        403 => "SIN_PERMISO",
        404 => "NO_ENCONTRADO",
        405 => "METODO_NO_PERMITIDO",
        429 => "DEMASIADAS_SOLICITUDES",
        400..=499 => "DATOS_INVALIDOS",
        _ => "ERROR_INTERNO",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// d23: by URL, also where nothing is found.
    #[test]
    fn a_url_has_its_envelope() {
        let table = [
            ("/api/v1/partners", Envelope::Flask),
            ("/api/v1/partners/", Envelope::Flask),
            ("/api/v1/partners/x/nothing", Envelope::Flask),
            ("/api/v1/partnerships", Envelope::Django),
            ("/partners", Envelope::FastApi),
            ("/partners/register/findyourwork/", Envelope::FastApi),
            ("/webhooks/partner/findyourwork", Envelope::FastApi),
            ("/api/gestion/webhook-presencia-crm/", Envelope::Comercial),
            ("/api/v1/crm/appointments/1/status/", Envelope::Comercial),
            ("/api/v1/whatsapp/webhook/process-message/", Envelope::Bridge),
            ("/api/v1/whatsapp/generate-reservation-code/", Envelope::Django),
            ("/api/v1/superadmin/whatsapp/status/", Envelope::Django),
            ("/api/v1/notifications/events/dispatch", Envelope::Django),
            ("/", Envelope::Django),
            ("", Envelope::Django),
        ];
        for (path, envelope) in table {
            assert_eq!(Envelope::of(path), envelope, "{path}");
        }
        assert_eq!(Envelope::current(), Envelope::Django, "outside of a request");
    }
}
