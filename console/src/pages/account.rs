//! One's own account: how the console looks, and where one is logged in.

use std::sync::Arc;

use askama::Template;
use axum::Form;
use axum::extract::State;
use axum::extract::rejection::FormRejection;
use axum::response::Response;
use recado_kernel::audit::{self, Act};
use recado_kernel::ids::Id;
use recado_kernel::language::Language;
use recado_kernel::login_codes;
use recado_kernel::saved_views::{self, View};
use recado_kernel::sessions::{self, OpenSession};
use recado_kernel::users::{self, Role};
use serde::Deserialize;

use crate::Console;
use crate::auth::{May, Own};
use crate::failure::Failure;
use crate::notice::{Notice, then};
use crate::page::{Page, html};
use crate::path::Path;

#[derive(Template)]
#[template(path = "account/me.html")]
struct AccountPage {
    page: Page,
    roles: Vec<Role>,
    language: String,
    theme: String,
    utc: bool,
    open_sessions: Vec<OpenSession>,
    own: Option<Id>,
    has_codes: bool,
    recovery_codes_left: i64,
    views: Vec<View>,
}

/// `/admin/me/`
pub(crate) async fn show(may: May<Own>, State(console): State<Arc<Console>>) -> Result<Response, Failure> {
    let visit = &may.visit;
    let (mut open_sessions, mut views, mut recovery_codes_left) = (Vec::new(), Vec::new(), 0);
    if let Some(user) = &visit.user {
        let mut session = console.context.db.read().await?;
        open_sessions = sessions::of_user(&mut session, user.id, visit.now).await?;
        views = saved_views::of_user(&mut session, user.id).await?;
        if user.has_codes {
            recovery_codes_left = login_codes::recovery_codes_left(&mut session, user.id).await?;
        }
    }
    let user = visit.user.as_ref();
    html(&AccountPage {
        page: Page::new(&console, visit, "me", "me-title"),
        roles: visit.roles.0.clone(),
        language: user.and_then(|user| user.language.clone()).unwrap_or_default(),
        theme: user.and_then(|user| user.theme.clone()).unwrap_or_default(),
        utc: user.is_some_and(|user| user.utc),
        has_codes: user.is_some_and(|user| user.has_codes),
        recovery_codes_left,
        views,
        open_sessions,
        own: visit.session,
    })
}

#[derive(Deserialize)]
pub(crate) struct Choices {
    #[serde(default)]
    language: String,
    #[serde(default)]
    theme: String,
    #[serde(default)]
    zone: String,
}

/// How one wants to see the console.
pub(crate) async fn save(
    may: May<Own>,
    State(console): State<Arc<Console>>,
    form: Result<Form<Choices>, FormRejection>,
) -> Result<Response, Failure> {
    let Form(choices) = form.map_err(|_| Failure::Malformed)?;
    let user = may.visit.user.as_ref().ok_or(Failure::NotFound)?;
    let language = choices.language.parse::<Language>().ok().map(Language::as_str);
    let theme = ["light", "dark"].into_iter().find(|theme| *theme == choices.theme);
    let mut session = console.context.db.begin().await?;
    users::set_choices(&mut session, user.id, language, theme, choices.zone == "utc").await?;
    session.commit().await?;
    Ok(then("/admin/me/", &Notice::new("saved", 1)))
}

/// Ends one of one's sessions, elsewhere or here.
pub(crate) async fn end_session(
    may: May<Own>,
    State(console): State<Arc<Console>>,
    Path(id): Path<Id>,
) -> Result<Response, Failure> {
    let visit = &may.visit;
    let user = visit.user.as_ref().ok_or(Failure::NotFound)?;
    let mut session = console.context.db.begin().await?;
    if !sessions::end(&mut session, user.id, id).await? {
        return Err(Failure::NotFound);
    }
    audit::write(&mut session, &visit.actor(), &Act::new("end", "session", id), visit.now).await?;
    session.commit().await?;
    Ok(then("/admin/me/", &Notice::new("session-ended", 1)))
}
