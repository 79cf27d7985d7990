//! Who visits: the pass in the cookie, the frame of every page, coming in and leaving; and forms of other sites, which are refused.

use std::sync::Arc;

use askama::Template;
use axum::extract::{FromRequestParts, State};
use axum::http::header::{
    ACCEPT_LANGUAGE, CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, COOKIE, LOCATION, ORIGIN, REFERRER_POLICY,
    SET_COOKIE, VARY,
};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, StatusCode};
use axum::response::{IntoResponse, Response};
use recado_kernel::audit;
use recado_kernel::language::Language;
use recado_partners::connections::Connection;
use recado_partners::portal;
use recado_webhooks::endpoints::{self, Endpoint};
use recado_webhooks::portal::{PATH, Pass};
use secrecy::SecretString;
use url::Url;

use super::times::time_of;
use crate::client;
use crate::extract::path::Segment;
use crate::observe;
use crate::problem::Problem;
use crate::request_id;
use crate::state::Api;

/// What all pages have.
pub(super) struct Frame {
    pub(super) language: Language,
    /// Where the portal is, without a slash at its end.
    pub(super) base: String,
    /// Whose it is.
    pub(super) name: String,
    /// Until when the link is good; empty where there is none.
    pub(super) until: String,
}

impl Frame {
    pub(super) fn t<'t>(&self, spanish: &'t str, english: &'t str) -> &'t str {
        self.language.pick(spanish, english)
    }
}

/// What a browser asks for.
pub(super) fn language(headers: &HeaderMap) -> Language {
    Language::accepted(headers.get(ACCEPT_LANGUAGE).and_then(|value| value.to_str().ok()).unwrap_or_default())
}

/// Where browsers find the portal: a proxy may have put all of the API below a path of its own.
pub(super) fn base(api: &Api) -> String {
    let public = api.context.config.public_url.as_deref().and_then(|url| Url::parse(url).ok());
    format!("{}{PATH}", public.as_ref().map_or("", |url| url.path().trim_end_matches('/')))
}

/// A partner, by the pass in its cookie.
pub(super) struct Visitor {
    pub(super) frame: Frame,
    pub(super) connection: Connection,
    pub(super) endpoint: Endpoint,
}

impl Visitor {
    /// Who acts, for the audit log: the link, and whose it is.
    pub(super) fn by(&self) -> audit::Actor {
        let name = format!("portal:{}", self.connection.partner.slug.as_deref().unwrap_or_default());
        let request_id = request_id::current().unwrap_or_default();
        audit::Actor { kind: audit::ActorKind::Key, name, address: String::new(), request_id }
    }
}

pub(super) const COOKIE_NAME: &str = "recado_portal";

impl FromRequestParts<Arc<Api>> for Visitor {
    type Rejection = Refused;

    async fn from_request_parts(parts: &mut Parts, api: &Arc<Api>) -> Result<Self, Refused> {
        let frame =
            Frame { language: language(&parts.headers), base: base(api), name: String::new(), until: String::new() };
        match visitor(parts, api, frame.language).await {
            Ok(Some(visitor)) => Ok(visitor),
            Ok(None) => Err(Refused::no_pass(frame)),
            Err(problem) => Err(Refused::problem(frame, problem)),
        }
    }
}

pub(super) async fn visitor(parts: &Parts, api: &Api, language: Language) -> Result<Option<Visitor>, Problem> {
    observe::acts("portal");
    let Some(pass) = cookies(&parts.headers).find_map(|token| read(api, token)) else {
        api.limits.admit(None, parts)?;
        return Ok(None);
    };
    // Each partner is a caller of its own.
    api.limits.admit(Some(&format!("portal:{}", pass.owner)), parts)?;
    let mut session = api.context.db.read().await?;
    let Some(connection) = portal::admit(&mut session, pass).await? else { return Ok(None) };
    let endpoint = endpoints::find(&mut session, connection.endpoint_id).await?.ok_or(Problem::NotFound)?;
    let until = time_of(api, pass.expires_at);
    let frame = Frame { language, base: base(api), name: connection.partner.name.clone(), until };
    Ok(Some(Visitor { frame, connection, endpoint }))
}

pub(super) fn read(api: &Api, token: &str) -> Option<Pass> {
    Pass::read(token, api.context.config.secret_key.as_ref()?, api.context.clock.now())
}

/// The values of our cookie. A browser may send several, of paths that lie in each other.
pub(super) fn cookies(headers: &HeaderMap) -> impl Iterator<Item = &str> {
    let lines = headers.get_all(COOKIE).iter().filter_map(|line| line.to_str().ok());
    lines.flat_map(|line| line.split(';')).filter_map(|pair| {
        let (name, value) = pair.trim().split_once('=')?;
        (name == COOKIE_NAME).then_some(value)
    })
}

/// A partner that does something, from a page of the portal itself.
pub(super) struct Actor(pub(super) Visitor);

impl FromRequestParts<Arc<Api>> for Actor {
    type Rejection = Refused;

    async fn from_request_parts(parts: &mut Parts, api: &Arc<Api>) -> Result<Self, Refused> {
        let visitor = Visitor::from_request_parts(parts, api).await?;
        if is_our_page(parts, api.context.config.public_url.as_deref()) {
            return Ok(Self(visitor));
        }
        let frame = visitor.frame;
        let text = frame.t(
            "La solicitud vino de otra página. Ábrala desde el portal.",
            "The request came from another page. Make it from the portal.",
        );
        Err(Refused { status: StatusCode::FORBIDDEN, text: text.to_owned(), frame, back: true })
    }
}

/// Whether a form was sent by a page of ours. Browsers say from where they send, over TLS and on this machine by
/// `Sec-Fetch-Site`, otherwise by `Origin`; what says neither is no browser, and carries the cookie on purpose.
pub(super) fn is_our_page(parts: &Parts, public_url: Option<&str>) -> bool {
    let header = |name: &str| parts.headers.get(name).map(|value| value.to_str().unwrap_or("?"));
    if let Some(site) = header("sec-fetch-site") {
        return site == "same-origin";
    }
    let Some(origin) = header(ORIGIN.as_str()) else { return true };
    let ours = public_url.and_then(|url| Url::parse(url).ok()).map(|url| url.origin().ascii_serialization());
    let of_host = origin.split_once("://").is_some_and(|(_, authority)| authority == client::host(parts));
    of_host || ours.is_some_and(|ours| ours == origin)
}

/// Why there is no page, as a page.
pub(super) struct Refused {
    pub(super) status: StatusCode,
    pub(super) frame: Frame,
    pub(super) text: String,
    /// Whether there is something to go back to.
    pub(super) back: bool,
}

impl Refused {
    pub(super) fn no_pass(frame: Frame) -> Self {
        let text = frame.t(
            "Este enlace no vale, ya venció o fue revocado. Pida uno nuevo a quien se lo envió.",
            "This link is not good, is over, or was revoked. Ask for a new one where you got it.",
        );
        Self { status: StatusCode::UNAUTHORIZED, text: text.to_owned(), frame, back: false }
    }

    pub(super) fn problem(frame: Frame, problem: Problem) -> Self {
        let status = problem.into_response().status();
        let text = match status {
            StatusCode::NOT_FOUND => {
                frame.t("Aquí no hay nada con este nombre.", "There is nothing of this name here.")
            }
            StatusCode::TOO_MANY_REQUESTS => {
                frame.t("Son demasiadas solicitudes. Espere un minuto.", "These are too many requests. Wait a minute.")
            }
            StatusCode::PAYLOAD_TOO_LARGE => frame.t("El texto supera 1 MiB.", "The text is larger than 1 MiB."),
            _ => frame.t("No se pudo. Intente de nuevo en un momento.", "It did not work. Try again in a moment."),
        };
        Self { status, text: text.to_owned(), frame, back: true }
    }
}

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        let title = self.frame.t("No se puede", "Not possible").to_owned();
        page(self.status, &MessagePage { frame: self.frame, title, text: self.text, back: self.back })
    }
}

/// A page that loads its style from us and nothing else, and is kept nowhere.
pub(super) fn page(status: StatusCode, template: &impl Template) -> Response {
    let Ok(html) = template.render() else { return Problem::Panicked.into_response() };
    let headers: [(HeaderName, &str); 5] = [
        (CONTENT_TYPE, "text/html; charset=utf-8"),
        (CACHE_CONTROL, "no-store"),
        (VARY, "accept-language, cookie"),
        // Without any, browsers would send forms with `Origin: null`.
        (REFERRER_POLICY, "same-origin"),
        (
            CONTENT_SECURITY_POLICY,
            "default-src 'none'; style-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'",
        ),
    ];
    (status, headers, html).into_response()
}

/// On to another page of the portal.
pub(super) fn go(frame: &Frame, path: &str) -> Response {
    (StatusCode::SEE_OTHER, [(LOCATION, format!("{}{path}", frame.base)), (CACHE_CONTROL, "no-store".to_owned())])
        .into_response()
}

pub(super) async fn style() -> Response {
    let headers = [(CONTENT_TYPE, "text/css; charset=utf-8"), (CACHE_CONTROL, "public, max-age=3600")];
    (headers, include_str!("../../../../templates/portal/style.css")).into_response()
}

/// Puts the token into a cookie. The page then leads on by itself: a redirect would come from where the link stood, and the
/// browser would keep a cookie to itself that is for our own pages only.
pub(super) async fn enter(
    State(api): State<Arc<Api>>,
    Segment(token): Segment<String>,
    headers: HeaderMap,
) -> Response {
    let frame = Frame { language: language(&headers), base: base(&api), name: String::new(), until: String::new() };
    let admitted = match read(&api, &token) {
        Some(pass) => async { portal::admit(&mut api.context.db.read().await?, pass).await }
            .await
            .map(|found| found.map(|_| pass)),
        None => Ok(None),
    };
    let pass = match admitted {
        Ok(Some(pass)) => pass,
        Ok(None) => return Refused::no_pass(frame).into_response(),
        Err(error) => return Refused::problem(frame, error.into()).into_response(),
    };
    let lasts = pass.expires_at.since(api.context.clock.now()).as_secs();
    let cookie = set_cookie(&api, &frame, &token, lasts);
    let mut response = page(StatusCode::OK, &EnterPage { frame });
    response.headers_mut().extend(cookie.parse().ok().map(|cookie| (SET_COOKIE, cookie)));
    response
}

pub(super) fn set_cookie(api: &Api, frame: &Frame, value: &str, seconds: u64) -> String {
    let is_secure = api.context.config.public_url.as_deref().is_some_and(|url| url.starts_with("https://"));
    let secure = if is_secure { "; Secure" } else { "" };
    format!("{COOKIE_NAME}={value}; Path={}; Max-Age={seconds}; HttpOnly; SameSite=Strict{secure}", frame.base)
}

/// Forgets the pass on this browser. The link stays good.
pub(super) async fn leave(State(api): State<Arc<Api>>, Actor(visitor): Actor) -> Response {
    let frame = visitor.frame;
    let cookie = set_cookie(&api, &frame, "", 0);
    let title = frame.t("Hasta luego", "Goodbye").to_owned();
    let text =
        frame.t("Este navegador ya no abre su portal.", "This browser does not open your portal any more.").to_owned();
    let mut response = page(StatusCode::OK, &MessagePage { frame, title, text, back: false });
    response.headers_mut().extend(cookie.parse().ok().map(|cookie| (SET_COOKIE, cookie)));
    response
}

/// A pass was read with it, so it is there.
pub(super) fn key(api: &Api) -> Result<&SecretString, Problem> {
    api.context.config.secret_key.as_ref().ok_or(Problem::NotFound)
}

#[derive(Template)]
#[template(path = "portal/message.html")]
pub(super) struct MessagePage {
    pub(super) frame: Frame,
    pub(super) title: String,
    pub(super) text: String,
    pub(super) back: bool,
}

#[derive(Template)]
#[template(path = "portal/enter.html")]
pub(super) struct EnterPage {
    pub(super) frame: Frame,
}

#[cfg(test)]
mod tests {
    use axum::http::Request;

    use super::*;

    #[test]
    fn forms_are_taken_from_our_own_pages_only() {
        let is_ours = |pairs: &[(&str, &str)]| {
            let request = pairs
                .iter()
                .fold(Request::builder().uri("/portal/test"), |request, (name, value)| request.header(*name, *value));
            let (parts, ()) = request.body(()).expect("a request").into_parts();
            is_our_page(&parts, Some("https://avisos.example.com/recado"))
        };
        let host = ("host", "10.0.0.1:8000");
        assert!(is_ours(&[host]), "no browser");
        assert!(is_ours(&[host, ("sec-fetch-site", "same-origin")]));
        for site in ["cross-site", "same-site", "none", ""] {
            assert!(!is_ours(&[host, ("sec-fetch-site", site)]), "{site}");
        }
        assert!(is_ours(&[host, ("origin", "http://10.0.0.1:8000")]));
        assert!(is_ours(&[host, ("origin", "https://avisos.example.com")]), "behind a proxy that rewrites Host");
        for origin in ["null", "https://evil.example.com", "https://avisos.example.com.evil.com", ""] {
            assert!(!is_ours(&[host, ("origin", origin)]), "{origin}");
        }
    }
}
