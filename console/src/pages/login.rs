//! In and out, and the link with which a person sets her password.

use std::sync::Arc;

use askama::Template;
use axum::Form;
use axum::extract::State;
use axum::extract::rejection::FormRejection;
use axum::http::header::{LOCATION, SET_COOKIE, USER_AGENT};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Redirect, Response};
use recado_kernel::audit::{self, Act, Actor, ActorKind};
use recado_kernel::clock::Timestamp;
use recado_kernel::errors::explain;
use recado_kernel::login_codes::{self, CodeError};
use recado_kernel::passwords::{self, SHORTEST, Weakness};
use recado_kernel::users::User;
use recado_kernel::{host_names, sessions, users};
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;

use crate::auth::{Enter, May, Own};
use crate::failure::Failure;
use crate::lists::Query;
use crate::notice::{Notice, is_local, then};
use crate::page::{Page, html, refused};
use crate::path::Path;
use crate::{Console, cookies};

#[derive(Template)]
#[template(path = "account/login.html")]
struct LoginPage {
    page: Page,
    back: String,
    name: String,
    was_refused: bool,
    needs_tls: bool,
}

/// `/admin/login/`
pub(crate) async fn show(
    may: May<Enter>,
    State(console): State<Arc<Console>>,
    headers: HeaderMap,
) -> Result<Response, Failure> {
    let back = Query::read(&may.visit.query).text("back").filter(|back| is_local(back)).unwrap_or_default();
    if may.visit.is_inside() && !back.is_empty() {
        return Ok(Redirect::to(&back).into_response());
    }
    let page = Page::new(&console, &may.visit, "", "login-title");
    let needs_tls = !is_safe(&headers, &may.visit.visitor.host);
    html(&LoginPage { page, back, name: String::new(), was_refused: false, needs_tls })
}

/// Over plain HTTP from elsewhere a browser drops the cookie of the session without a word, and sends no `Sec-Fetch-…`.
fn is_safe(headers: &HeaderMap, host: &str) -> bool {
    let says_tls = headers.get("x-forwarded-proto").is_some_and(|scheme| scheme == "https");
    host_names::is_loopback(host) || says_tls || headers.contains_key("sec-fetch-site")
}

#[derive(Deserialize)]
pub(crate) struct Credentials {
    name: String,
    password: SecretString,
    /// For those whose login wants one.
    #[serde(default)]
    code: String,
    #[serde(default)]
    back: String,
}

/// Always the same answer after the same work, whatever was wrong: the name, the password, the code, or the number
/// of attempts.
pub(crate) async fn log_in(
    may: May<Enter>,
    State(console): State<Arc<Console>>,
    headers: HeaderMap,
    form: Result<Form<Credentials>, FormRejection>,
) -> Result<Response, Failure> {
    let Form(Credentials { name, password, code, back }) = form.map_err(|_| Failure::Malformed)?;
    let (visit, context) = (&may.visit, &console.context);
    let (account, address, elapsed) = (users::normal(&name), visit.address(), context.clock.elapsed());
    let is_admitted = console.throttle.admits(&account, &address, elapsed);
    let user = users::find_by_name(&mut context.db.read().await?, &account).await?;
    let kept = match &user {
        Some(user) => users::password_of(&mut context.db.read().await?, user.id).await?,
        None => None,
    };
    let mut is_right = passwords::verify(password, kept).await && is_admitted;
    if let Some(user) = user.as_ref().filter(|user| is_right && user.has_codes) {
        is_right = is_code_right(&console, user, &code, visit.now).await?;
    }
    let Some(user) = user.filter(|_| is_right) else {
        let page = Page::new(&console, visit, "", "login-title");
        let needs_tls = !is_safe(&headers, &visit.visitor.host);
        return refused(&LoginPage { page, back, name, was_refused: true, needs_tls });
    };
    console.throttle.succeeded(&account, &address, elapsed);
    enter(&console, &may, &headers, &user, &back).await
}

/// Whether the code of a phone, or one on paper, lets this person in. It is used up with it.
async fn is_code_right(console: &Console, user: &User, code: &str, now: Timestamp) -> Result<bool, Failure> {
    let mut session = console.context.db.begin().await?;
    let key = console.context.config.secret_key.as_ref();
    let is_right = match login_codes::admits(&mut session, key, user.id, code, now).await {
        Ok(is_right) => is_right,
        Err(CodeError::Database(error)) => return Err(error.into()),
        Err(error) => {
            tracing::error!(user = %user.name, "the codes of a login cannot be checked: {}; is SECRET_KEY another?", explain(&error));
            false
        }
    };
    session.commit().await?;
    Ok(is_right)
}

async fn enter(
    console: &Console,
    may: &May<Enter>,
    headers: &HeaderMap,
    user: &User,
    back: &str,
) -> Result<Response, Failure> {
    let (visit, context) = (&may.visit, &console.context);
    let agent = headers.get(USER_AGENT).and_then(|agent| agent.to_str().ok()).unwrap_or_default();
    let mut session = context.db.begin().await?;
    let (id, token) = sessions::begin(&mut session, user.id, agent, &visit.address(), visit.now).await?;
    let actor = Actor { kind: ActorKind::Person, name: user.name.clone(), ..visit.actor() };
    audit::write(&mut session, &actor, &Act::new("log_in", "session", id), visit.now).await?;
    session.commit().await?;
    let there = if is_local(back) { back } else { "/admin/" }.to_owned();
    let cookie = cookies::set_session(&visit.visitor.host, &token);
    Ok((StatusCode::SEE_OTHER, [(SET_COOKIE, cookie)], [(LOCATION, there)]).into_response())
}

/// `/admin/logout/`
pub(crate) async fn log_out(may: May<Own>, State(console): State<Arc<Console>>) -> Result<Response, Failure> {
    let visit = &may.visit;
    if let (Some(user), Some(id)) = (&visit.user, visit.session) {
        let mut session = console.context.db.begin().await?;
        sessions::end(&mut session, user.id, id).await?;
        audit::write(&mut session, &visit.actor(), &Act::new("log_out", "session", id), visit.now).await?;
        session.commit().await?;
    }
    let cookie = cookies::set_session(&visit.visitor.host, &String::new().into());
    Ok((StatusCode::SEE_OTHER, [(SET_COOKIE, cookie)], [(LOCATION, "/admin/login/")]).into_response())
}

#[derive(Template)]
#[template(path = "account/password.html")]
struct PasswordPage {
    page: Page,
    user: User,
    shortest: usize,
    weakness: Option<&'static str>,
}

/// `/admin/password/{token}/`: the link that `recado user create` prints. A link that is not good is no page.
pub(crate) async fn choose_password(
    may: May<Enter>,
    State(console): State<Arc<Console>>,
    Path(token): Path<String>,
) -> Result<Response, Failure> {
    let user = users::of_link(&mut console.context.db.read().await?, &token, may.visit.now).await?;
    let user = user.ok_or(Failure::NotFound)?;
    let page = Page::new(&console, &may.visit, "", "password-title");
    html(&PasswordPage { page, user, shortest: SHORTEST, weakness: None })
}

#[derive(Deserialize)]
pub(crate) struct NewPassword {
    password: SecretString,
}

/// Uses the link up, sets the password, and ends the sessions of before.
pub(crate) async fn set_password(
    may: May<Enter>,
    State(console): State<Arc<Console>>,
    Path(token): Path<String>,
    form: Result<Form<NewPassword>, FormRejection>,
) -> Result<Response, Failure> {
    let Form(NewPassword { password }) = form.map_err(|_| Failure::Malformed)?;
    let (visit, context) = (&may.visit, &console.context);
    let user = users::of_link(&mut context.db.read().await?, &token, visit.now).await?.ok_or(Failure::NotFound)?;
    if let Some(weakness) = passwords::weakness(password.expose_secret(), &user.name) {
        let page = Page::new(&console, visit, "", "password-title");
        return refused(&PasswordPage { page, user, shortest: SHORTEST, weakness: Some(word(weakness)) });
    }
    let hash = passwords::hash(password).await;
    let mut session = context.db.begin().await?;
    if !users::use_link(&mut session, &token, visit.now).await? {
        return Err(Failure::NotFound);
    }
    users::set_password(&mut session, user.id, &hash).await?;
    sessions::end_all(&mut session, user.id).await?;
    let actor = Actor { kind: ActorKind::Person, name: user.name.clone(), ..visit.actor() };
    audit::write(&mut session, &actor, &Act::new("set_password", "user", &user.name), visit.now).await?;
    session.commit().await?;
    Ok(then("/admin/login/", &Notice::new("password-set", 1)))
}

fn word(weakness: Weakness) -> &'static str {
    match weakness {
        Weakness::Short => "short",
        Weakness::Long => "long",
        Weakness::Simple => "simple",
    }
}
