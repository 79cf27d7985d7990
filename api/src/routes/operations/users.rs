//! People who log in to the console: what each may do, links to set a password, and who is let in no more.

use std::sync::Arc;

use axum::extract::{FromRequestParts, State};
use axum::http::request::Parts;
use recado_kernel::audit::Actor;
use recado_kernel::clock::Timestamp;
use recado_kernel::db::Session;
use recado_kernel::ids::Id;
use recado_kernel::login_codes;
use recado_kernel::users::{self, Changed, LINK_LASTS, Role, Roles, User};
use secrecy::{ExposeSecret, SecretString};
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

use crate::auth::MayManagePeople;
use crate::client;
use crate::extract::body::Json;
use crate::extract::fields::{Field, choice};
use crate::extract::once::{Created, IdempotencyHeader, Once};
use crate::extract::page::{Page, Paging};
use crate::extract::path::Segment;
use crate::extract::request::request;
use crate::problem::{Conflict, FieldErrors, Problem};
use crate::routing::routes;
use crate::state::{Api, Routes};

pub(crate) fn routes() -> Routes {
    Routes::new()
        .routes(routes!(list_users, create_user))
        .routes(routes!(show_user))
        .routes(routes!(set_roles))
        .routes(routes!(reset_password))
        .routes(routes!(disable_user))
        .routes(routes!(enable_user))
        .routes(routes!(forget_codes))
}

/// People who may log in to the console, by name, those who are disabled too.
///
/// All of this needs a key with the scope `admin`, also where `ALLOW_ANONYMOUS_API` opens the rest.
#[utoipa::path(get, path = "/", tag = "users", params(Paging),
    responses((status = 200, description = "A page of people", body = Page<UserView>)))]
async fn list_users(
    _: MayManagePeople,
    State(api): State<Arc<Api>>,
    paging: Paging,
) -> Result<axum::Json<Page<UserView>>, Problem> {
    let people = users::list(&mut api.context.db.read().await?).await?;
    Ok(axum::Json(paging.cut(&people, |user| UserView::from(user.clone()))?))
}

/// One person, by name or id.
#[utoipa::path(get, path = "/{id}", tag = "users", params(("id" = String, Path, description = "Name or id of the person")),
    responses((status = 200, description = "The person", body = UserView)))]
async fn show_user(
    _: MayManagePeople,
    State(api): State<Arc<Api>>,
    Segment(id): Segment<String>,
) -> Result<axum::Json<UserView>, Problem> {
    Ok(axum::Json(find(&mut api.context.db.read().await?, &id).await?.into()))
}

/// Makes a person, and answers the link with which they set their password: once, within 24 hours. Nothing shows it again.
#[utoipa::path(post, path = "/", tag = "users", params(IdempotencyHeader), request_body = UserWrite,
    responses(
        (status = 201, description = "The person with the link, this once", body = LinkView),
        (status = 422, description = "The Idempotency-Key was used for another request", body = Value,
            content_type = "application/problem+json"),
        (status = 409, description = "The person was made with this Idempotency-Key, and the link is shown but once", body = Value,
            content_type = "application/problem+json"),
    ))]
async fn create_user(
    MayManagePeople(may): MayManagePeople,
    State(api): State<Arc<Api>>,
    base: Base,
    Once { key: once, body: asked }: Once<UserWrite>,
) -> Result<Created<LinkView>, Problem> {
    let now = api.context.clock.now();
    let mut session = api.context.db.begin().await?;
    if let Some(made) = once.made::<Id>(&mut session, &may.caller, now).await? {
        return Err(conflict(
            "link-shown-once",
            "La persona ya se creó",
            format!(
                "Con este Idempotency-Key se creó la persona {made}, y su enlace no se muestra otra vez. Pida otro con reset/."
            ),
        ));
    }
    let made = users::create(&mut session, &asked.name, &roles_of(&asked.roles), &may.actor(), now).await?;
    let id = made.ok_or_else(|| FieldErrors::one("name", "Ya hay una persona con este nombre."))?;
    let token = users::make_link(&mut session, id, now).await?;
    let user = users::find(&mut session, id).await?.ok_or(Problem::NotFound)?;
    once.keep(&mut session, &may.caller, &id).await?;
    session.commit().await?;
    Ok(Created::Now(base.link(user, &token, now)))
}

/// Answers a new link with which a person sets their password: once, within 24 hours. Earlier links open nothing any more; the password
/// stays until another is set.
#[utoipa::path(post, path = "/{id}/reset", tag = "users", params(("id" = String, Path, description = "Name or id of the person")),
    responses(
        (status = 200, description = "The person with the link, this once", body = LinkView),
        (status = 409, description = "The person is disabled", body = Value, content_type = "application/problem+json"),
    ))]
async fn reset_password(
    MayManagePeople(may): MayManagePeople,
    State(api): State<Arc<Api>>,
    base: Base,
    Segment(id): Segment<String>,
) -> Result<axum::Json<LinkView>, Problem> {
    let now = api.context.clock.now();
    let mut session = api.context.db.begin().await?;
    let user = find(&mut session, &id).await?;
    if user.disabled_at.is_some() {
        return Err(conflict(
            "user-disabled",
            "La persona no puede entrar",
            format!("{} está deshabilitada. Habilítela antes con enable/.", user.name),
        ));
    }
    let token = users::reset(&mut session, &user, &may.actor(), now).await?;
    session.commit().await?;
    Ok(axum::Json(base.link(user, &token, now)))
}

/// Gives a person other roles, in the place of those that they have.
#[utoipa::path(post, path = "/{id}/roles", tag = "users", params(("id" = String, Path, description = "Name or id of the person")),
    request_body = RolesWrite,
    responses(
        (status = 200, description = "The person", body = UserView),
        (status = 409, description = "No administrator could log in then", body = Value,
            content_type = "application/problem+json"),
    ))]
async fn set_roles(
    MayManagePeople(may): MayManagePeople,
    State(api): State<Arc<Api>>,
    Segment(id): Segment<String>,
    Json(asked): Json<RolesWrite>,
) -> Result<axum::Json<UserView>, Problem> {
    let mut session = api.context.db.begin().await?;
    let user = find(&mut session, &id).await?;
    let roles = roles_of(&asked.roles);
    let changed = users::set_roles(&mut session, &user, &roles, &may.actor(), api.context.clock.now()).await?;
    saved(session, &user, changed).await
}

/// Lets a person in no more. Their sessions and links end at once; what they did stays in the audit log.
#[utoipa::path(post, path = "/{id}/disable", tag = "users", params(("id" = String, Path, description = "Name or id of the person")),
    responses(
        (status = 200, description = "The person", body = UserView),
        (status = 409, description = "No administrator could log in then", body = Value,
            content_type = "application/problem+json"),
    ))]
async fn disable_user(
    MayManagePeople(may): MayManagePeople,
    State(api): State<Arc<Api>>,
    Segment(id): Segment<String>,
) -> Result<axum::Json<UserView>, Problem> {
    set_disabled(&api, &id, true, &may.actor()).await
}

/// Lets a person in again, with the password that they had.
#[utoipa::path(post, path = "/{id}/enable", tag = "users", params(("id" = String, Path, description = "Name or id of the person")),
    responses((status = 200, description = "The person", body = UserView)))]
async fn enable_user(
    MayManagePeople(may): MayManagePeople,
    State(api): State<Arc<Api>>,
    Segment(id): Segment<String>,
) -> Result<axum::Json<UserView>, Problem> {
    set_disabled(&api, &id, false, &may.actor()).await
}

/// Lets a person whose phone is lost log in with the password alone, until they set up codes again.
#[utoipa::path(post, path = "/{id}/forget-codes", tag = "users", params(("id" = String, Path, description = "Name or id of the person")),
    responses((status = 200, description = "The person", body = UserView)))]
async fn forget_codes(
    MayManagePeople(may): MayManagePeople,
    State(api): State<Arc<Api>>,
    Segment(id): Segment<String>,
) -> Result<axum::Json<UserView>, Problem> {
    let mut session = api.context.db.begin().await?;
    let user = find(&mut session, &id).await?;
    login_codes::forget(&mut session, &user, &may.actor(), api.context.clock.now()).await?;
    saved(session, &user, Changed::Done).await
}

async fn set_disabled(api: &Api, id: &str, is_disabled: bool, actor: &Actor) -> Result<axum::Json<UserView>, Problem> {
    let mut session = api.context.db.begin().await?;
    let user = find(&mut session, id).await?;
    let changed = users::set_disabled(&mut session, &user, is_disabled, actor, api.context.clock.now()).await?;
    saved(session, &user, changed).await
}

/// A person by id or name: a name may look like an id.
async fn find(session: &mut Session, reference: &str) -> Result<User, Problem> {
    if let Ok(id) = reference.parse::<Id>()
        && let Some(user) = users::find(session, id).await?
    {
        return Ok(user);
    }
    let found = users::find_by_name(session, reference).await?;
    found.ok_or_else(|| Problem::Nothing("No hay ninguna persona con ese nombre o id.".to_owned()))
}

/// The person as they are now. What was so already is as good as done.
async fn saved(mut session: Session, user: &User, changed: Changed) -> Result<axum::Json<UserView>, Problem> {
    if changed == Changed::LastAdmin {
        return Err(conflict(
            "last-admin",
            "Es la única persona que administra",
            format!("Sin {} nadie podría administrar. Dele antes el rol admin a otra persona.", user.name),
        ));
    }
    let user = users::find(&mut session, user.id).await?.ok_or(Problem::NotFound)?;
    session.commit().await?;
    Ok(axum::Json(user.into()))
}

fn conflict(code: &'static str, title: &'static str, detail: String) -> Problem {
    Problem::Conflict(Conflict { code, title, detail })
}

/// Each role once, in the order in which they are declared.
fn roles_of(asked: &[Role]) -> Roles {
    Roles(Role::ALL.into_iter().filter(|role| asked.contains(role)).collect())
}

fn role_errors(asked: &[Role]) -> Option<(&'static str, String)> {
    asked.is_empty().then(|| ("roles", "Indique al menos un rol; viewer solo mira.".to_owned()))
}

/// Where people reach the console: `PUBLIC_URL`, else where this request came.
struct Base(String);

impl FromRequestParts<Arc<Api>> for Base {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, api: &Arc<Api>) -> Result<Self, Problem> {
        let public = api.context.config.public_url.clone();
        Ok(Self(public.unwrap_or_else(|| format!("http://{}", client::host(parts)))))
    }
}

impl Base {
    fn link(&self, user: User, token: &SecretString, now: Timestamp) -> LinkView {
        LinkView {
            user: user.into(),
            link: format!("{}/admin/password/{}/", self.0, token.expose_secret()),
            link_expires_at: now + LINK_LASTS,
        }
    }
}

request! {
    /// A person to be made.
    #[derive(Debug, ToSchema)]
    #[schema(as = UserWrite)]
    struct UserWrite {
        /// By which the person logs in: a mail address, or a short name without blanks.
        #[schema(min_length = 2, max_length = 100, examples("ana@example.com"))]
        name: String,
        /// What they may do. `admin` includes the others, and each includes `viewer`.
        #[schema(min_items = 1, examples(json!(["operator"])))]
        roles: Vec<Role>,
    }

    fn errors(&self) -> Vec<(&'static str, String)> {
        let is_wrong = !users::is_name(&users::normal(&self.name));
        let name = is_wrong.then(|| ("name", "Escriba de 2 a 100 caracteres sin espacios, por ejemplo ana@example.com.".to_owned()));
        name.into_iter().chain(role_errors(&self.roles)).collect()
    }
}

request! {
    /// What a person may do from now on.
    #[derive(Debug, ToSchema)]
    #[schema(as = UserRolesWrite)]
    struct RolesWrite {
        /// All of their roles.
        #[schema(min_items = 1, examples(json!(["operator", "editor"])))]
        roles: Vec<Role>,
    }

    fn errors(&self) -> Vec<(&'static str, String)> {
        role_errors(&self.roles).into_iter().collect()
    }
}

impl Field for Role {
    fn read(value: Value) -> Result<Self, String> {
        choice(value, Self::ALL, Self::as_str)
    }
}

/// A person who logs in to the console.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = User)]
struct UserView {
    /// Id of the person.
    id: Id,
    /// By which they log in.
    #[schema(examples("ana@example.com"))]
    name: String,
    /// What they may do.
    #[schema(examples(json!(["operator"])))]
    roles: Vec<Role>,
    /// Whether they have set a password.
    has_password: bool,
    /// Whether a login wants a code besides the password.
    has_codes: bool,
    /// When they were made.
    created_at: Timestamp,
    /// When they last logged in.
    logged_in_at: Option<Timestamp>,
    /// Since when they are let in no more; null: they are.
    disabled_at: Option<Timestamp>,
}

impl From<User> for UserView {
    fn from(user: User) -> Self {
        Self {
            id: user.id,
            name: user.name,
            roles: user.roles.0,
            has_password: user.has_password,
            has_codes: user.has_codes,
            created_at: user.created_at,
            logged_in_at: user.logged_in_at,
            disabled_at: user.disabled_at,
        }
    }
}

/// A person, and the link with which they set their password. No `Debug`: who has the link logs in as they.
#[derive(Serialize, ToSchema)]
#[schema(as = UserLink)]
struct LinkView {
    #[serde(flatten)]
    user: UserView,
    /// Opens a page of the console, once.
    #[schema(examples("https://recado.example.com/admin/password/Zm9vYmFyYmF6cXV4Zm9vYmFyYmF6cXV4Zm9vYmFyYmE/"))]
    link: String,
    /// Until when it does.
    link_expires_at: Timestamp,
}
