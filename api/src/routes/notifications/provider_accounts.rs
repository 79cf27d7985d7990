//! Accounts through which messages leave, besides those of the environment.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use recado_kernel::audit::Act;
use recado_kernel::clock::Timestamp;
use recado_kernel::db::{self, Violation};
use recado_kernel::errors::explain;
use recado_kernel::ids::Id;
use recado_notifications::channels::Channel;
use recado_notifications::jobs::CheckAccount;
use recado_notifications::provider_accounts::{
    self, NewSecret, ProviderAccount, ProviderAccountDraft, ProviderAccountFilter, SecretError, Security, Settings,
};
use recado_queue::operations;
use serde::Serialize;
use serde_json::Value;
use utoipa::{IntoParams, ToSchema};

use crate::auth::{Admin, May};
use crate::extract::body::{Changes, Form, Json, Whole};
use crate::extract::fields::{Field, Fields, Verbatim, choice};
use crate::extract::once::{Created, IdempotencyHeader, Once};
use crate::extract::page::{Page, Paging};
use crate::extract::path::Segment;
use crate::extract::query::Query;
use crate::extract::request::request;
use crate::problem::{FieldErrors, Problem};
use crate::routing::routes;
use crate::state::{Api, Routes};

pub(crate) fn routes() -> Routes {
    Routes::new().routes(routes!(list, create)).routes(routes!(show, replace, change, delete)).routes(routes!(check))
}

/// Provider accounts, in the order in which they are tried.
#[utoipa::path(get, path = "/", tag = "provider-accounts", params(AccountQuery, Paging),
    responses((status = 200, description = "A page of accounts", body = Page<AccountView>)))]
async fn list(
    _: May<Admin>,
    State(api): State<Arc<Api>>,
    Query(query): Query<AccountQuery>,
    paging: Paging,
) -> Result<axum::Json<Page<AccountView>>, Problem> {
    let mut session = api.context.db.read().await?;
    let (found, count) = provider_accounts::list(&mut session, &query.into(), paging.limit(), paging.offset()).await?;
    Ok(axum::Json(paging.page(found.into_iter().map(AccountView::from).collect(), count)?))
}

/// Adds an account. Workers use it within a second.
#[utoipa::path(post, path = "/", tag = "provider-accounts", params(IdempotencyHeader), request_body = ProviderAccountDraft,
    responses(
        (status = 201, description = "The account", body = AccountView),
        (status = 422, description = "The Idempotency-Key was used for another request", body = Value,
            content_type = "application/problem+json"),
    ))]
async fn create(
    may: May<Admin>,
    State(api): State<Arc<Api>>,
    Once { key, body: Whole(draft) }: Once<Whole<ProviderAccountDraft>>,
) -> Result<Created<AccountView>, Problem> {
    let now = api.context.clock.now();
    let id = Id::new(now);
    let sealed = checked_and_sealed(&api, id, &draft, None)?;
    let mut session = api.context.db.begin().await?;
    if let Some(made) = key.made::<Id>(&mut session, &may.caller, now).await? {
        let account = provider_accounts::find(&mut session, made).await?.ok_or(Problem::NotFound)?;
        return Ok(Created::Before(account.into()));
    }
    let created = provider_accounts::insert(&mut session, id, &draft, sealed.as_deref(), &may.actor(), now).await;
    let created = created.map_err(taken)?;
    key.keep(&mut session, &may.caller, &created.id).await?;
    session.commit().await?;
    Ok(Created::Now(created.into()))
}

/// One account. Its secret is never shown.
#[utoipa::path(get, path = "/{id}", tag = "provider-accounts",
    params(("id" = Id, Path, description = "Id of the account")),
    responses((status = 200, description = "The account", body = AccountView)))]
async fn show(
    _: May<Admin>,
    State(api): State<Arc<Api>>,
    Segment(id): Segment<Id>,
) -> Result<axum::Json<AccountView>, Problem> {
    let found = provider_accounts::find(&mut api.context.db.read().await?, id).await?;
    Ok(axum::Json(found.ok_or(Problem::NotFound)?.into()))
}

/// Replaces an account. What is left out gets its default, but for the secret, which stays.
#[utoipa::path(put, path = "/{id}", tag = "provider-accounts",
    params(("id" = Id, Path, description = "Id of the account")),
    request_body = ProviderAccountDraft, responses((status = 200, description = "The account", body = AccountView)))]
async fn replace(
    may: May<Admin>,
    State(api): State<Arc<Api>>,
    Segment(id): Segment<Id>,
    Json(Whole(draft)): Json<Whole<ProviderAccountDraft>>,
) -> Result<axum::Json<AccountView>, Problem> {
    write(&api, &may, id, |_| Ok(draft)).await
}

/// Changes the fields that are sent, within `settings` too.
#[utoipa::path(patch, path = "/{id}", tag = "provider-accounts",
    params(("id" = Id, Path, description = "Id of the account")),
    request_body = ProviderAccountDraft, responses((status = 200, description = "The account", body = AccountView)))]
async fn change(
    may: May<Admin>,
    State(api): State<Arc<Api>>,
    Segment(id): Segment<Id>,
    Json(changes): Json<Changes>,
) -> Result<axum::Json<AccountView>, Problem> {
    write(&api, &may, id, |account| changes.onto(ProviderAccountDraft::from(account))).await
}

/// Deletes an account. A message of which it is unknown whether it left through it cannot be looked up any more.
#[utoipa::path(delete, path = "/{id}", tag = "provider-accounts",
    params(("id" = Id, Path, description = "Id of the account")), responses((status = 204, description = "It is gone")))]
async fn delete(may: May<Admin>, State(api): State<Arc<Api>>, Segment(id): Segment<Id>) -> Result<StatusCode, Problem> {
    let mut session = api.context.db.begin().await?;
    let deleted = provider_accounts::delete(&mut session, id, &may.actor(), api.context.clock.now()).await?;
    session.commit().await?;
    deleted.map(|_| StatusCode::NO_CONTENT).ok_or(Problem::NotFound)
}

/// Has a worker try whether the account would take a message now; nothing is sent. The task's result says so:
/// `{"works": true, "said": "…"}`, or `false` with `code`.
#[utoipa::path(post, path = "/{id}/check", tag = "provider-accounts",
    params(("id" = Id, Path, description = "Id of the account")),
    responses((status = 202, description = "The task that tries it", body = AccountCheck)))]
async fn check(
    may: May<Admin>,
    State(api): State<Arc<Api>>,
    Segment(id): Segment<Id>,
) -> Result<(StatusCode, axum::Json<AccountCheck>), Problem> {
    let account = provider_accounts::find(&mut api.context.db.read().await?, id).await?.ok_or(Problem::NotFound)?;
    let job = CheckAccount { channel: account.channel, account: account.name };
    let act = Act::new("check", "provider_account", id);
    let task_id = operations::enqueue(&api.context, &job, act, &may.actor()).await?;
    Ok((StatusCode::ACCEPTED, axum::Json(AccountCheck { task_id })))
}

/// The trial of an account.
#[derive(Debug, Serialize, ToSchema)]
struct AccountCheck {
    /// `/api/v1/operations/tasks/{task_id}/` has its result.
    task_id: Id,
}

async fn write(
    api: &Api,
    may: &May<Admin>,
    id: Id,
    draft: impl FnOnce(&ProviderAccount) -> Result<ProviderAccountDraft, Problem>,
) -> Result<axum::Json<AccountView>, Problem> {
    let now = api.context.clock.now();
    let mut session = api.context.db.begin().await?;
    let before = provider_accounts::lock(&mut session, id).await?.ok_or(Problem::NotFound)?;
    let draft = draft(&before)?;
    let sealed = checked_and_sealed(api, id, &draft, Some(&before))?;
    let written = provider_accounts::replace(&mut session, &before, &draft, sealed.as_deref(), &may.actor(), now).await;
    let written = written.map_err(taken)?;
    session.commit().await?;
    Ok(axum::Json(written.into()))
}

/// The account's secret as the database shall keep it, when nothing is wrong with the draft.
fn checked_and_sealed(
    api: &Api,
    id: Id,
    draft: &ProviderAccountDraft,
    before: Option<&ProviderAccount>,
) -> Result<Option<String>, Problem> {
    let config = &api.context.config;
    let errors = draft.errors(before, config.allow_private_networks);
    if !errors.is_empty() {
        return Err(errors.into());
    }
    draft.sealed_secret(id, before, config.secret_key.as_ref()).map_err(|error| match error {
        SecretError::NoKey => Problem::from(FieldErrors::one(
            "secret",
            "No se puede guardar: falta SECRET_KEY (32 caracteres o más) en el entorno de la API y de los workers.",
        )),
        SecretError::Seal(_) => {
            let error = explain(&error);
            tracing::error!(error, "{error}");
            Problem::Unavailable
        }
    })
}

fn taken(error: db::Error) -> Problem {
    if error.violates("provider_accounts_name_key", "provider_accounts.name") {
        return FieldErrors::one("name", "Ya existe una cuenta con este nombre.").into();
    }
    error.into()
}

/// An account through which messages leave.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ProviderAccount)]
struct AccountView {
    /// Id of the account.
    id: Id,
    /// Whose account it is; null for every workshop that has none of its own on this channel.
    taller_id: Option<String>,
    /// `email` or `whatsapp`.
    channel: Channel,
    /// Its name in attempts and notifications.
    name: String,
    /// 1 is tried first.
    priority: i32,
    /// False: it is left alone.
    is_enabled: bool,
    /// Whatever is no secret.
    settings: Settings,
    /// Whether it has a password or an API key. The secret itself is never shown.
    has_secret: bool,
    /// When it was first written.
    created_at: Timestamp,
    /// When it was last written.
    updated_at: Timestamp,
}

impl From<ProviderAccount> for AccountView {
    fn from(account: ProviderAccount) -> Self {
        Self {
            id: account.id,
            taller_id: account.taller_id,
            channel: account.channel,
            name: account.name,
            priority: account.priority,
            is_enabled: account.is_enabled,
            settings: account.settings.0,
            has_secret: account.secret.is_some(),
            created_at: account.created_at,
            updated_at: account.updated_at,
        }
    }
}

impl Form for ProviderAccountDraft {
    const REQUIRED: &'static [&'static str] = &["channel", "name", "settings"];

    /// What belongs together is checked later, when it is known which account is replaced.
    fn fill(&mut self, fields: &mut Fields) {
        fields.set_nullable("taller_id", &mut self.taller_id);
        if fields.has("channel") {
            self.channel = fields.optional("channel").unwrap_or(self.channel);
        }
        fields.set("name", &mut self.name);
        fields.set("priority", &mut self.priority);
        fields.set("is_enabled", &mut self.is_enabled);
        if fields.has("settings") {
            fields.within("settings", |fields| fill_settings(&mut self.settings, fields));
        }
        if fields.has("secret") {
            self.secret = match fields.optional::<Secret>("secret") {
                Some(Secret(secret)) => NewSecret::Set(secret.into()),
                None => NewSecret::Remove,
            };
        }
    }
}

fn fill_settings(settings: &mut Settings, fields: &mut Fields) {
    fields.set_nullable("host", &mut settings.host);
    fields.set_nullable("port", &mut settings.port);
    fields.set_nullable("security", &mut settings.security);
    fields.set_nullable("user", &mut settings.user);
    fields.set_nullable("from_email", &mut settings.from_email);
    fields.set_nullable("url", &mut settings.url);
    fields.set_nullable("instance", &mut settings.instance);
    fields.set_nullable("rate_per_minute", &mut settings.rate_per_minute);
    fields.set_nullable("timeout", &mut settings.timeout);
}

/// A password or key as it is written: never blank, and nothing in it that a header could not carry.
struct Secret(String);

impl Field for Secret {
    /// A form that does not show the secret must not remove it.
    const BLANK_IS_NOTHING: bool = false;

    fn read(value: Value) -> Result<Self, String> {
        let Verbatim(secret) = Verbatim::read(value)?;
        if secret.trim().is_empty() {
            return Err("Este campo no puede estar en blanco; null quita el secreto.".to_owned());
        }
        if secret.contains(char::is_control) || secret.len() > 1000 {
            return Err("No se permiten caracteres de control ni más de 1000 bytes.".to_owned());
        }
        Ok(Self(secret))
    }
}

impl Field for Security {
    fn read(value: Value) -> Result<Self, String> {
        choice(value, Self::ALL, Self::as_str)
    }
}

request! {
    /// Which accounts to list.
    #[derive(IntoParams)]
    #[into_params(parameter_in = Query)]
    struct AccountQuery {
        /// Only this workshop's own.
        taller_id: Option<String>,
        /// Only those of this channel.
        channel: Option<Channel>,
    }
}

impl From<AccountQuery> for ProviderAccountFilter {
    fn from(AccountQuery { taller_id, channel }: AccountQuery) -> Self {
        Self { taller_id, channel }
    }
}
