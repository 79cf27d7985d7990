//! Accounts through which messages leave: their order, their settings, and whether they work.

use std::sync::Arc;

use askama::Template;
use axum::extract::State;
use axum::response::Response;
use futures::FutureExt;
use futures::future::BoxFuture;
use recado_kernel::audit::Act;
use recado_kernel::db::{self, Violation};
use recado_kernel::errors::explain;
use recado_kernel::ids::Id;
use recado_notifications::channels::Channel;
use recado_notifications::jobs::CheckAccount;
use recado_notifications::provider_accounts::{
    self, ENVIRONMENT, NewSecret, ProviderAccount, ProviderAccountDraft, ProviderAccountFilter, SecretError, Security,
    Settings,
};
use recado_queue::context::Context;
use recado_queue::operations;
use recado_queue::tasks::{self, State as TaskState};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::Console;
use crate::auth::{Administer, May};
use crate::failure::Failure;
use crate::form::Form;
use crate::live::Topic;
use crate::masking;
use crate::notice::{Notice, then};
use crate::page::{Page, html, refused};
use crate::path::Path;
use crate::urls::encoded;

const PATH: &str = "/admin/providers/";

/// An installation has a handful; one for each workshop at most.
const ROWS: i64 = 500;

/// Channels that can have accounts besides the environment's.
const CHANNELS: [Channel; 2] = [Channel::Email, Channel::Whatsapp];

// --- The list ---

#[derive(Template)]
#[template(path = "providers/list.html")]
struct ListPage {
    page: Page,
    rows: Vec<Row>,
    channels: [Channel; 2],
}

/// An account, in the order in which accounts of its channel are tried.
struct Row {
    /// `None`: the account of the environment.
    id: Option<Id>,
    name: String,
    channel: Channel,
    taller_id: Option<String>,
    priority: i64,
    is_enabled: bool,
    /// Where it leads.
    leads_to: String,
    /// Where a check is asked for.
    check_path: String,
}

impl From<ProviderAccount> for Row {
    fn from(account: ProviderAccount) -> Self {
        let settings = &account.settings.0;
        let server = settings.host.as_ref().or(settings.url.as_ref()).cloned().unwrap_or_default();
        let instance = settings.instance.as_ref().map(|instance| format!(" · {instance}")).unwrap_or_default();
        Self {
            id: Some(account.id),
            check_path: check_path(account.channel, &account.name),
            name: account.name,
            channel: account.channel,
            taller_id: account.taller_id,
            priority: account.priority.into(),
            is_enabled: account.is_enabled,
            leads_to: server + &instance,
        }
    }
}

/// The accounts of the environment: always the first of their channel, and changed in the environment alone.
fn of_environment(context: &Context) -> Vec<Row> {
    let config = &context.config;
    let email = config.email.as_ref().map(|email| (Channel::Email, format!("{}:{}", email.host, email.port)));
    let whatsapp = match config.conversations.bridge.as_ref().filter(|_| config.whatsapp_through_bridge) {
        Some(bridge) => Some((Channel::Whatsapp, bridge.url.clone())),
        None => config.whatsapp.as_ref().map(|one| (Channel::Whatsapp, format!("{} · {}", one.url, one.instance))),
    };
    let push = config.push.as_ref().map(|_| (Channel::Push, String::new()));
    let row = |(channel, leads_to)| Row {
        id: None,
        name: ENVIRONMENT.to_owned(),
        channel,
        taller_id: None,
        priority: 0,
        is_enabled: true,
        leads_to,
        check_path: check_path(channel, ENVIRONMENT),
    };
    [email, whatsapp, push].into_iter().flatten().map(row).collect()
}

/// `/admin/providers/`
pub(crate) async fn list(may: May<Administer>, State(console): State<Arc<Console>>) -> Result<Response, Failure> {
    let filter = ProviderAccountFilter::default();
    let (found, _) = provider_accounts::list(&mut console.context.db.read().await?, &filter, ROWS, 0).await?;
    let mut rows = of_environment(&console.context);
    rows.extend(found.into_iter().map(Row::from));
    rows.sort_by_key(|row| (row.channel.as_str(), row.taller_id.clone(), row.priority));
    let page = Page::new(&console, &may.visit, "providers", "providers-title");
    html(&ListPage { page, rows, channels: CHANNELS })
}

// --- One account ---

#[derive(Template)]
#[template(path = "providers/show.html")]
struct ShowPage {
    page: Page,
    form: Form,
    path: String,
    channel: Channel,
    has_secret: bool,
    account: Option<ProviderAccount>,
    securities: Vec<(String, String)>,
    check_path: String,
}

/// `/admin/providers/new/{channel}/`
pub(crate) async fn new(
    may: May<Administer>,
    State(console): State<Arc<Console>>,
    Path(channel): Path<String>,
) -> Result<Response, Failure> {
    let channel = CHANNELS.into_iter().find(|one| one.as_str() == channel).ok_or(Failure::NotFound)?;
    html(&page_of(&console, &may, None, channel, form_of(&ProviderAccountDraft::default())))
}

/// `/admin/providers/{id}/`
pub(crate) async fn show(
    may: May<Administer>,
    State(console): State<Arc<Console>>,
    Path(id): Path<Id>,
) -> Result<Response, Failure> {
    let account = provider_accounts::find(&mut console.context.db.read().await?, id).await?.ok_or(Failure::NotFound)?;
    let form = form_of(&ProviderAccountDraft::from(&account)).read_at(account.updated_at.as_micros());
    let channel = account.channel;
    html(&page_of(&console, &may, Some(account), channel, form))
}

fn page_of(
    console: &Console,
    may: &May<Administer>,
    account: Option<ProviderAccount>,
    channel: Channel,
    form: Form,
) -> ShowPage {
    let page = match &account {
        Some(account) => Page::new(console, &may.visit, "providers", "provider-title").about(&account.name),
        None => Page::new(console, &may.visit, "providers", "provider-new"),
    };
    let securities = Security::ALL.into_iter().map(|one| (one.as_str().to_owned(), page.word("security", one)));
    ShowPage {
        securities: securities.collect(),
        path: account
            .as_ref()
            .map_or_else(|| format!("{PATH}new/{channel}/"), |account| format!("{PATH}{}/", account.id)),
        check_path: account.as_ref().map_or_else(String::new, |account| check_path(channel, &account.name)),
        has_secret: account.as_ref().is_some_and(|account| account.secret.is_some()),
        page,
        form,
        channel,
        account,
    }
}

// --- What is written ---

/// An account as the fields of its form: never its secret.
fn form_of(draft: &ProviderAccountDraft) -> Form {
    let settings = &draft.settings;
    let number = |number: Option<i32>| number.map(|number| number.to_string()).unwrap_or_default();
    Form::of([
        ("name", draft.name.clone()),
        ("taller_id", draft.taller_id.clone().unwrap_or_default()),
        ("priority", draft.priority.to_string()),
        ("is_enabled", if draft.is_enabled { "on".to_owned() } else { String::new() }),
        ("settings.host", settings.host.clone().unwrap_or_default()),
        ("settings.port", number(settings.port)),
        ("settings.security", settings.security.map_or("starttls", Security::as_str).to_owned()),
        ("settings.user", settings.user.clone().unwrap_or_default()),
        ("settings.from_email", settings.from_email.clone().unwrap_or_default()),
        ("settings.url", settings.url.clone().unwrap_or_default()),
        ("settings.instance", settings.instance.clone().unwrap_or_default()),
        ("settings.rate_per_minute", number(settings.rate_per_minute)),
        ("settings.timeout", number(settings.timeout)),
    ])
}

/// What a form says of an account of this channel, with what is wrong in it added to the form.
fn draft_of(
    form: &mut Form,
    page: &Page,
    channel: Channel,
    before: Option<&ProviderAccount>,
    allow_private: bool,
) -> ProviderAccountDraft {
    let no_number = || page.t("form-wrong-number");
    let is_email = channel == Channel::Email;
    let settings = Settings {
        host: form.optional("settings.host").filter(|_| is_email),
        port: form.parsed("settings.port", no_number).filter(|_| is_email),
        security: form.optional("settings.security").and_then(|word| word.parse().ok()).filter(|_| is_email),
        user: form.optional("settings.user").filter(|_| is_email),
        from_email: form.optional("settings.from_email").filter(|_| is_email),
        url: form.optional("settings.url").filter(|_| !is_email),
        instance: form.optional("settings.instance").filter(|_| !is_email),
        rate_per_minute: form.parsed("settings.rate_per_minute", no_number).filter(|_| !is_email),
        timeout: form.parsed("settings.timeout", no_number),
    };
    let secret = match form.value("secret") {
        _ if form.is_ticked("remove_secret") => NewSecret::Remove,
        "" => NewSecret::Keep,
        secret => NewSecret::Set(secret.to_owned().into()),
    };
    let draft = ProviderAccountDraft {
        taller_id: form.optional("taller_id"),
        channel,
        name: form.text("name"),
        priority: form.parsed("priority", no_number).unwrap_or(1),
        is_enabled: form.is_ticked("is_enabled"),
        settings,
        secret,
    };
    form.add_errors(page.speaks(), draft.errors(before, allow_private));
    draft
}

/// Writes a new account.
pub(crate) async fn create(
    may: May<Administer>,
    State(console): State<Arc<Console>>,
    Path(channel): Path<String>,
    mut form: Form,
) -> Result<Response, Failure> {
    let channel = CHANNELS.into_iter().find(|one| one.as_str() == channel).ok_or(Failure::NotFound)?;
    let (config, now) = (&console.context.config, may.visit.now);
    let mut shown = page_of(&console, &may, None, channel, Form::default());
    let draft = draft_of(&mut form, &shown.page, channel, None, config.allow_private_networks);
    let id = Id::new(now);
    let sealed = draft.sealed_secret(id, None, config.secret_key.as_ref());
    if let Err(error) = &sealed {
        form.add_error("secret", unsealed(error, &shown.page));
    }
    if !form.is_wrong() {
        let mut session = console.context.db.begin().await?;
        let sealed = sealed.ok().flatten();
        let made =
            provider_accounts::insert(&mut session, id, &draft, sealed.as_deref(), &may.visit.actor(), now).await;
        match made {
            Ok(_) => {
                session.commit().await?;
                let there = format!("{PATH}{id}/");
                return Ok(then(
                    &there,
                    &Notice::new("provider-made", 1).undone_by(format!("{there}delete/?name={}", encoded(&draft.name))),
                ));
            }
            Err(error) if is_taken(&error) => form.add_error("name", shown.page.t("provider-taken")),
            Err(error) => return Err(error.into()),
        }
    }
    form.forget("secret");
    shown.form = form;
    refused(&shown)
}

/// Changes an account. Its undo writes everything but the secret, which stays.
pub(crate) async fn save(
    may: May<Administer>,
    State(console): State<Arc<Console>>,
    Path(id): Path<Id>,
    mut form: Form,
) -> Result<Response, Failure> {
    let (config, now) = (&console.context.config, may.visit.now);
    let mut session = console.context.db.begin().await?;
    let account = provider_accounts::lock(&mut session, id).await?.ok_or(Failure::NotFound)?;
    let before = form_of(&ProviderAccountDraft::from(&account));
    let channel = account.channel;
    let mut shown = page_of(&console, &may, Some(account.clone()), channel, Form::default());
    let draft = draft_of(&mut form, &shown.page, channel, Some(&account), config.allow_private_networks);
    form.find_conflicts(account.updated_at.as_micros(), &before);
    let sealed = draft.sealed_secret(id, Some(&account), config.secret_key.as_ref());
    if let Err(error) = &sealed {
        form.add_error("secret", unsealed(error, &shown.page));
    }
    if !form.is_wrong() {
        let (sealed, actor) = (sealed.ok().flatten(), may.visit.actor());
        match provider_accounts::replace(&mut session, &account, &draft, sealed.as_deref(), &actor, now).await {
            Ok(_) => {
                session.commit().await?;
                let there = format!("{PATH}{id}/");
                return Ok(then(&there, &before.undo(Notice::new("saved", 1), &there)));
            }
            Err(error) if is_taken(&error) => form.add_error("name", shown.page.t("provider-taken")),
            Err(error) => return Err(error.into()),
        }
    }
    form.forget("secret");
    shown.form = form;
    refused(&shown)
}

/// Deletes an account when its name was typed: its secret can not be brought back.
pub(crate) async fn delete(
    may: May<Administer>,
    State(console): State<Arc<Console>>,
    Path(id): Path<Id>,
    form: Form,
) -> Result<Response, Failure> {
    let mut session = console.context.db.begin().await?;
    let account = provider_accounts::lock(&mut session, id).await?.ok_or(Failure::NotFound)?;
    if form.text("name") != account.name {
        return Ok(then(&format!("{PATH}{id}/"), &Notice::new("provider-mistyped", 0)));
    }
    provider_accounts::delete(&mut session, id, &may.visit.actor(), may.visit.now).await?;
    session.commit().await?;
    Ok(then(PATH, &Notice::new("provider-deleted", 1)))
}

fn unsealed(error: &SecretError, page: &Page) -> String {
    if matches!(error, SecretError::Seal(_)) {
        let error = explain(error);
        tracing::error!(error, "{error}");
    }
    page.t("provider-needs-key")
}

fn is_taken(error: &db::Error) -> bool {
    error.violates("provider_accounts_name_key", "provider_accounts.name")
}

fn check_path(channel: Channel, account: &str) -> String {
    format!("{PATH}{channel}/{}/check/", encoded(account))
}

// --- Whether it works ---

/// Has a worker try an account: the console itself speaks to no provider.
pub(crate) async fn check(
    may: May<Administer>,
    State(console): State<Arc<Console>>,
    Path((channel, account)): Path<(String, String)>,
) -> Result<Response, Failure> {
    let channel: Channel = channel.parse().map_err(|_| Failure::NotFound)?;
    let act = Act::new("check", "provider_account", format!("{channel} {account}"));
    let job = CheckAccount { channel, account };
    let task = operations::enqueue(&console.context, &job, act, &may.visit.actor()).await?;
    Ok(then(&format!("{PATH}checks/{task}/"), &Notice::new("provider-check", 1)))
}

/// What a check found, as plain data.
#[derive(Clone, Debug, Deserialize, Serialize)]
struct Check {
    state: TaskState,
    account: String,
    channel: Channel,
    works: Option<bool>,
    code: Option<String>,
    said: Option<String>,
}

async fn find_check(context: &Context, task: Id) -> db::Result<Option<Check>> {
    let Some(task) = tasks::find(&mut context.db.read().await?, task).await? else { return Ok(None) };
    let Ok(job) = serde_json::from_value::<CheckAccount>(task.payload.0) else { return Ok(None) };
    let result = task.result.map(|result| result.0).unwrap_or_default();
    let text = |field: &str| result[field].as_str().map(masking::text);
    Ok(Some(Check {
        state: task.state,
        account: job.account,
        channel: job.channel,
        works: result["works"].as_bool(),
        code: text("code"),
        said: text("said").or_else(|| task.error.as_deref().map(masking::text)),
    }))
}

#[derive(Template)]
#[template(path = "providers/check.html")]
struct CheckPage {
    page: Page,
    task: Id,
    check: Check,
}

/// `/admin/providers/checks/{task}/`
pub(crate) async fn show_check(
    may: May<Administer>,
    State(console): State<Arc<Console>>,
    Path(task): Path<Id>,
) -> Result<Response, Failure> {
    let check = find_check(&console.context, task).await?.ok_or(Failure::NotFound)?;
    let page = Page::new(&console, &may.visit, "providers", "provider-check-title").about(&check.account);
    html(&CheckPage { page: page.watching(format!("provider-check:{task}")), task, check })
}

/// How far a check is.
pub(crate) const CHECK: Topic = Topic { name: "provider-check", sample: sample_check, draw: draw_check };

fn sample_check<'a>(context: &'a Context, task: &'a str) -> BoxFuture<'a, db::Result<Value>> {
    async move {
        let Ok(task) = task.parse() else { return Ok(Value::Null) };
        Ok(json!(find_check(context, task).await?))
    }
    .boxed()
}

#[derive(Template)]
#[template(path = "providers/verdict.html")]
struct VerdictPart<'a> {
    page: &'a Page,
    check: Check,
}

fn draw_check(value: &Value, page: &Page) -> Vec<(String, String)> {
    let Ok(check) = Check::deserialize(value) else { return Vec::new() };
    VerdictPart { page, check }.render().map(|html| vec![("verdict".to_owned(), html)]).unwrap_or_default()
}
