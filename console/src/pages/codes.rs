//! Codes for one's own login: a phone is given a secret, shows that it makes codes of it, and from then on a login wants one.

use std::sync::Arc;

use askama::Template;
use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::LOCATION;
use axum::response::{IntoResponse, Response};
use recado_kernel::login_codes::{self, CodeError};
use recado_kernel::qr::Drawing;
use recado_kernel::users::User;
use secrecy::ExposeSecret;

use crate::Console;
use crate::auth::{May, Own};
use crate::failure::Failure;
use crate::form::Form;
use crate::notice::{Notice, then};
use crate::page::{Markup, Page, html, refused};

const PATH: &str = "/admin/me/codes/";

impl From<CodeError> for Failure {
    fn from(error: CodeError) -> Self {
        match error {
            CodeError::Database(error) => error.into(),
            CodeError::NoKey | CodeError::Seal(_) => Self::Secret(error),
        }
    }
}

/// Only a person has a login: an installation that is open to its machine has none.
fn person(may: &May<Own>) -> Result<&User, Failure> {
    may.visit.user.as_ref().ok_or(Failure::NotFound)
}

/// Makes a secret, and leads to the page that shows it.
pub(crate) async fn set_up(may: May<Own>, State(console): State<Arc<Console>>) -> Result<Response, Failure> {
    let user = person(&may)?;
    let mut session = console.context.db.begin().await?;
    login_codes::offer(&mut session, console.context.config.secret_key.as_ref(), user).await?;
    session.commit().await?;
    Ok((StatusCode::SEE_OTHER, [(LOCATION, PATH)]).into_response())
}

#[derive(Template)]
#[template(path = "account/codes.html")]
struct OfferPage {
    page: Page,
    drawing: Markup,
    secret: String,
    form: Form,
}

/// `/admin/me/codes/`: the secret, to be scanned or typed, until its first code was seen.
pub(crate) async fn show(may: May<Own>, State(console): State<Arc<Console>>) -> Result<Response, Failure> {
    html(&offer_page(&console, &may, Form::default()).await?)
}

async fn offer_page(console: &Console, may: &May<Own>, form: Form) -> Result<OfferPage, Failure> {
    let key = console.context.config.secret_key.as_ref();
    let offer = login_codes::offered(&mut console.context.db.read().await?, key, person(may)?).await?;
    let offer = offer.ok_or(Failure::NotFound)?;
    let drawing = Drawing::of(offer.url.expose_secret()).map(|drawing| Markup(drawing.svg())).unwrap_or_default();
    let secret: Vec<char> = offer.secret.expose_secret().chars().collect();
    let secret = secret.chunks(4).map(|four| four.iter().collect::<String>()).collect::<Vec<_>>().join(" ");
    Ok(OfferPage { page: Page::new(console, &may.visit, "me", "codes-title"), drawing, secret, form })
}

/// Codes for paper, shown once.
#[derive(Template)]
#[template(path = "account/recovery.html")]
struct RecoveryPage {
    page: Page,
    codes: Vec<String>,
}

/// Begins to want codes, if the phone makes the right one.
pub(crate) async fn confirm(
    may: May<Own>,
    State(console): State<Arc<Console>>,
    mut form: Form,
) -> Result<Response, Failure> {
    let (user, key) = (person(&may)?, console.context.config.secret_key.as_ref());
    let (address, elapsed) = (may.visit.address(), console.context.clock.elapsed());
    let page = Page::new(&console, &may.visit, "me", "codes-recovery-title");
    if console.throttle.admits(&user.name, &address, elapsed) {
        let mut session = console.context.db.begin().await?;
        let (code, actor) = (form.text("code"), may.visit.actor());
        let codes = login_codes::confirm(&mut session, key, user, &code, &actor, may.visit.now).await?;
        session.commit().await?;
        if let Some(codes) = codes {
            console.throttle.succeeded(&user.name, &address, elapsed);
            let codes = codes.iter().map(|code| code.expose_secret().to_owned()).collect();
            return html(&RecoveryPage { page, codes });
        }
    }
    form.add_error("code", page.t("codes-wrong"));
    form.forget("code");
    refused(&offer_page(&console, &may, form).await?)
}

/// Wants no codes any more, when one was given: a browser that was left open must not be enough.
pub(crate) async fn forget(
    may: May<Own>,
    State(console): State<Arc<Console>>,
    form: Form,
) -> Result<Response, Failure> {
    let (user, key) = (person(&may)?, console.context.config.secret_key.as_ref());
    let (address, elapsed) = (may.visit.address(), console.context.clock.elapsed());
    let mut forgotten = false;
    if console.throttle.admits(&user.name, &address, elapsed) {
        let mut session = console.context.db.begin().await?;
        if login_codes::admits(&mut session, key, user.id, &form.text("code"), may.visit.now).await? {
            forgotten = login_codes::forget(&mut session, user, &may.visit.actor(), may.visit.now).await?;
        }
        session.commit().await?;
    }
    if forgotten {
        console.throttle.succeeded(&user.name, &address, elapsed);
    }
    let notice = if forgotten { Notice::new("codes-forgotten", 1) } else { Notice::new("codes-wrong", 0) };
    Ok(then("/admin/me/", &notice))
}
