//! People who use the console: what each may do, links to set a password, and who is let in no more.

use std::sync::Arc;

use askama::Template;
use axum::extract::State;
use axum::response::Response;
use recado_kernel::db::Session;
use recado_kernel::ids::Id;
use recado_kernel::login_codes;
use recado_kernel::sessions::{self, OpenSession};
use recado_kernel::users::{self, Changed, Role, Roles, User};
use secrecy::ExposeSecret;

use crate::Console;
use crate::auth::{Administer, May};
use crate::failure::Failure;
use crate::form::Form;
use crate::notice::{Notice, then};
use crate::page::{Page, html, refused};
use crate::path::Path;

const PATH: &str = "/admin/users/";

#[derive(Template)]
#[template(path = "users/list.html")]
struct ListPage {
    page: Page,
    form: Form,
    roles: [Role; 4],
    people: Vec<User>,
}

/// `/admin/users/`
pub(crate) async fn list(may: May<Administer>, State(console): State<Arc<Console>>) -> Result<Response, Failure> {
    let form = Form::of([(Role::Viewer.as_str(), "on".to_owned())]);
    html(&list_page(&console, &may, form).await?)
}

async fn list_page(console: &Console, may: &May<Administer>, form: Form) -> Result<ListPage, Failure> {
    let people = users::list(&mut console.context.db.read().await?).await?;
    Ok(ListPage { page: Page::new(console, &may.visit, "users", "users-title"), form, roles: Role::ALL, people })
}

// --- One person ---

#[derive(Template)]
#[template(path = "users/show.html")]
struct ShowPage {
    page: Page,
    user: User,
    roles: [Role; 4],
    form: Form,
    open_sessions: Vec<OpenSession>,
}

/// `/admin/users/{id}/`
pub(crate) async fn show(
    may: May<Administer>,
    State(console): State<Arc<Console>>,
    Path(id): Path<Id>,
) -> Result<Response, Failure> {
    let mut session = console.context.db.read().await?;
    let user = users::find(&mut session, id).await?.ok_or(Failure::NotFound)?;
    let open_sessions = sessions::of_user(&mut session, id, may.visit.now).await?;
    drop(session);
    let form = form_of(&user.roles);
    html(&ShowPage { page: page_of(&console, &may, &user), user, roles: Role::ALL, form, open_sessions })
}

fn page_of(console: &Console, may: &May<Administer>, user: &User) -> Page {
    Page::new(console, &may.visit, "users", "user-title").about(&user.name)
}

/// A tick for each role.
fn form_of(roles: &Roles) -> Form {
    Form::of(roles.0.iter().map(|role| (role.as_str(), "on".to_owned())))
}

fn roles_of(form: &Form) -> Roles {
    Roles(Role::ALL.into_iter().filter(|role| form.is_ticked(role.as_str())).collect())
}

// --- Links ---

/// A link that is shown once.
#[derive(Template)]
#[template(path = "users/link.html")]
struct LinkPage {
    page: Page,
    user: User,
    link: String,
}

async fn link_page(
    console: &Console,
    may: &May<Administer>,
    session: Session,
    user: User,
    token: &str,
) -> Result<Response, Failure> {
    session.commit().await?;
    let base = console.context.config.public_url.clone();
    let base = base.unwrap_or_else(|| format!("http://{}", may.visit.visitor.host));
    let page = Page::new(console, &may.visit, "users", "user-link-title").about(&user.name);
    html(&LinkPage { page, link: format!("{base}/admin/password/{token}/"), user })
}

/// Makes a person, and shows the link with which they set their password.
pub(crate) async fn create(
    may: May<Administer>,
    State(console): State<Arc<Console>>,
    mut form: Form,
) -> Result<Response, Failure> {
    let (name, roles, now) = (users::normal(form.value("name")), roles_of(&form), may.visit.now);
    let page = Page::new(&console, &may.visit, "users", "users-title");
    if !users::is_name(&name) {
        form.add_error("name", page.t("user-wrong-name"));
    } else if roles.0.is_empty() {
        form.add_error(Role::Viewer.as_str(), page.t("user-wrong-roles"));
    } else {
        let mut session = console.context.db.begin().await?;
        if let Some(id) = users::create(&mut session, &name, &roles, &may.visit.actor(), now).await? {
            let token = users::make_link(&mut session, id, now).await?;
            let user = users::find(&mut session, id).await?.ok_or(Failure::NotFound)?;
            return link_page(&console, &may, session, user, token.expose_secret()).await;
        }
        form.add_error("name", page.t("user-taken"));
    }
    refused(&list_page(&console, &may, form).await?)
}

/// Shows a new link; earlier ones open nothing any more.
pub(crate) async fn reset(
    may: May<Administer>,
    State(console): State<Arc<Console>>,
    Path(id): Path<Id>,
) -> Result<Response, Failure> {
    let mut session = console.context.db.begin().await?;
    let user = users::find(&mut session, id).await?.ok_or(Failure::NotFound)?;
    if user.disabled_at.is_some() {
        return Ok(then(&format!("{PATH}{id}/"), &Notice::new("nothing-to-do", 0)));
    }
    let token = users::reset(&mut session, &user, &may.visit.actor(), may.visit.now).await?;
    link_page(&console, &may, session, user, token.expose_secret()).await
}

// --- What a person may do ---

/// Gives a person other roles.
pub(crate) async fn save_roles(
    may: May<Administer>,
    State(console): State<Arc<Console>>,
    Path(id): Path<Id>,
    form: Form,
) -> Result<Response, Failure> {
    let there = format!("{PATH}{id}/");
    let roles = roles_of(&form);
    if roles.0.is_empty() {
        return Ok(then(&there, &Notice::new("user-needs-role", 0)));
    }
    let mut session = console.context.db.begin().await?;
    let user = users::find(&mut session, id).await?.ok_or(Failure::NotFound)?;
    let changed = users::set_roles(&mut session, &user, &roles, &may.visit.actor(), may.visit.now).await?;
    session.commit().await?;
    let undo = |notice| form_of(&user.roles).undo(notice, &format!("{there}roles/"));
    Ok(then(&there, &told(changed, || undo(Notice::new("saved", 1)))))
}

/// Lets a person in no more: their sessions and links end.
pub(crate) async fn disable(
    may: May<Administer>,
    State(console): State<Arc<Console>>,
    Path(id): Path<Id>,
) -> Result<Response, Failure> {
    set_disabled(&console, &may, id, true).await
}

/// Lets a person in again.
pub(crate) async fn enable(
    may: May<Administer>,
    State(console): State<Arc<Console>>,
    Path(id): Path<Id>,
) -> Result<Response, Failure> {
    set_disabled(&console, &may, id, false).await
}

async fn set_disabled(console: &Console, may: &May<Administer>, id: Id, disabled: bool) -> Result<Response, Failure> {
    let there = format!("{PATH}{id}/");
    let mut session = console.context.db.begin().await?;
    let user = users::find(&mut session, id).await?.ok_or(Failure::NotFound)?;
    let changed = users::set_disabled(&mut session, &user, disabled, &may.visit.actor(), may.visit.now).await?;
    session.commit().await?;
    let done = || match disabled {
        true => Notice::new("user-disabled", 1).undone_by(format!("{there}enable/")),
        false => Notice::new("user-enabled", 1).undone_by(format!("{there}disable/")),
    };
    Ok(then(&there, &told(changed, done)))
}

/// Lets a person whose phone is lost log in with the password alone.
pub(crate) async fn forget_codes(
    may: May<Administer>,
    State(console): State<Arc<Console>>,
    Path(id): Path<Id>,
) -> Result<Response, Failure> {
    let mut session = console.context.db.begin().await?;
    let user = users::find(&mut session, id).await?.ok_or(Failure::NotFound)?;
    let had = login_codes::forget(&mut session, &user, &may.visit.actor(), may.visit.now).await?;
    session.commit().await?;
    let notice = if had { Notice::new("codes-forgotten", 1) } else { Notice::new("nothing-to-do", 0) };
    Ok(then(&format!("{PATH}{id}/"), &notice))
}

fn told(changed: Changed, done: impl FnOnce() -> Notice) -> Notice {
    match changed {
        Changed::Done => done(),
        Changed::AlreadySo => Notice::new("nothing-to-do", 0),
        Changed::LastAdmin => Notice::new("user-last-admin", 0),
    }
}
