//! Keys of the API: which there are, a new one that is shown once, and the end of one.

use std::sync::Arc;

use askama::Template;
use axum::extract::State;
use axum::response::Response;
use recado_kernel::api_keys::{self, ApiKey, KeyDraft, Scope, Scopes};
use recado_kernel::ids::Id;
use secrecy::ExposeSecret;

use crate::Console;
use crate::auth::{Administer, May};
use crate::failure::Failure;
use crate::form::Form;
use crate::notice::{Notice, then};
use crate::page::{Page, html, refused};
use crate::path::Path;

const PATH: &str = "/admin/keys/";

#[derive(Template)]
#[template(path = "keys/list.html")]
struct ListPage {
    page: Page,
    form: Form,
    scopes: &'static [Scope],
    keys: Vec<ApiKey>,
    /// The key that is to be revoked, and was not named right.
    mistyped: Option<Id>,
}

async fn list_page(
    console: &Console,
    may: &May<Administer>,
    form: Form,
    mistyped: Option<Id>,
) -> Result<ListPage, Failure> {
    let mut keys = api_keys::list(&mut console.context.db.read().await?).await?;
    // Those in force first, the newest of them before the others.
    keys.sort_by_key(|key| (key.revoked_at.is_some(), std::cmp::Reverse(key.created_at)));
    let page = Page::new(console, &may.visit, "keys", "keys-title");
    Ok(ListPage { page, form, scopes: &Scope::ALL, keys, mistyped })
}

/// `/admin/keys/`
pub(crate) async fn list(may: May<Administer>, State(console): State<Arc<Console>>) -> Result<Response, Failure> {
    let usual = [Scope::Dispatch, Scope::Read].map(|scope| (scope.as_str(), "on".to_owned()));
    html(&list_page(&console, &may, Form::of(usual), None).await?)
}

/// A key that is shown once.
#[derive(Template)]
#[template(path = "keys/made.html")]
struct MadePage {
    page: Page,
    name: String,
    key: String,
}

/// Makes a key, and shows it this once.
pub(crate) async fn create(
    may: May<Administer>,
    State(console): State<Arc<Console>>,
    mut form: Form,
) -> Result<Response, Failure> {
    let scopes: Vec<Scope> = Scope::ALL.into_iter().filter(|scope| form.is_ticked(scope.as_str())).collect();
    let draft = KeyDraft { name: form.text("name"), scopes };
    form.add_errors(may.visit.words.language, draft.errors());
    if form.is_wrong() {
        return refused(&list_page(&console, &may, form, None).await?);
    }
    let KeyDraft { name, scopes } = draft;
    let mut session = console.context.db.begin().await?;
    let made = api_keys::create(&mut session, &name, &Scopes(scopes), &may.visit.actor(), may.visit.now).await?;
    session.commit().await?;
    let page = Page::new(&console, &may.visit, "keys", "key-made-title").about(&name);
    html(&MadePage { page, name, key: made.1.expose_secret().to_owned() })
}

/// Revokes a key, when its name was typed: it can not be undone. This process refuses it at once, others within 30 s.
pub(crate) async fn revoke(
    may: May<Administer>,
    State(console): State<Arc<Console>>,
    Path(id): Path<Id>,
    form: Form,
) -> Result<Response, Failure> {
    let mut session = console.context.db.begin().await?;
    let known = api_keys::list(&mut session).await?.into_iter().find(|key| key.id == id).ok_or(Failure::NotFound)?;
    if form.text("name") != known.name {
        drop(session);
        return refused(&list_page(&console, &may, Form::default(), Some(id)).await?);
    }
    let revoked = api_keys::revoke(&mut session, &id.to_string(), &may.visit.actor(), may.visit.now).await?;
    session.commit().await?;
    (console.on_revoked)();
    let notice = match revoked {
        Some(_) => Notice::new("key-revoked", 1),
        None => Notice::new("nothing-to-do", 0),
    };
    Ok(then(PATH, &notice))
}
