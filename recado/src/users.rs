//! `recado user`: people who use the console.

use std::process::ExitCode;

use clap::Subcommand;
use clap::builder::{PossibleValuesParser, TypedValueParser};
use recado_kernel::audit::Actor;
use recado_kernel::login_codes;
use recado_kernel::users::{self, Changed, Role, Roles, User};
use recado_queue::context::Context;
use secrecy::ExposeSecret;

use crate::ledger;
use crate::output::{Outcome, print, print_json, say};
use crate::table::Table;
use crate::times::{relative, relative_or_dash};

#[derive(Subcommand, Debug)]
pub(crate) enum Command {
    /// Make a person, and print the link with which they set their password
    #[command(
        after_help = "Examples:\n  recado user create ana@example.com\n  recado user create op-1 --roles operator,editor"
    )]
    Create {
        /// By which the person logs in: a mail address, or a short name
        name: String,
        /// What they may do
        #[arg(long, value_delimiter = ',', default_value = "viewer", value_parser = PossibleValuesParser::new(Role::WORDS).try_map(|word| word.parse::<Role>()))]
        roles: Vec<Role>,
    },
    /// List people
    List,
    /// Print a new link with which a person sets their password; earlier links stop working
    #[command(after_help = "Example:\n  recado user reset ana@example.com")]
    Reset { name: String },
    /// Change what a person may do
    #[command(after_help = "Example:\n  recado user roles op-1 --roles operator,editor")]
    Roles {
        name: String,
        /// What they may do from now on
        #[arg(long, required = true, value_delimiter = ',', value_parser = PossibleValuesParser::new(Role::WORDS).try_map(|word| word.parse::<Role>()))]
        roles: Vec<Role>,
    },
    /// Let a person whose phone is lost log in with the password alone
    #[command(after_help = "Example:\n  recado user forget-codes ana@example.com")]
    ForgetCodes { name: String },
    /// Let a person in no more, and end their sessions
    #[command(after_help = "Examples:\n  recado user disable op-1\n  recado user disable op-1 --undo")]
    Disable {
        name: String,
        /// Let them in again
        #[arg(long)]
        undo: bool,
    },
}

pub(crate) async fn run(command: Command, json: bool) -> Outcome {
    let context = ledger::open().await?;
    match command {
        Command::Create { name, roles } => create(&context, &name, Roles(roles), json).await,
        Command::List => list(&context, json).await,
        Command::Reset { name } => reset(&context, &name, json).await,
        Command::Roles { name, roles: wanted } => roles(&context, &name, Roles(wanted)).await,
        Command::ForgetCodes { name } => forget_codes(&context, &name).await,
        Command::Disable { name, undo } => disable(&context, &name, !undo).await,
    }
}

async fn create(context: &Context, name: &str, roles: Roles, json: bool) -> Outcome {
    let name = users::normal(name);
    if !users::is_name(&name) {
        return Err("a name has 2 to 100 characters and no blanks, e.g. ana@example.com".into());
    }
    let now = context.clock.now();
    let mut session = context.db.begin().await?;
    let Some(id) = users::create(&mut session, &name, &roles, &actor(), now).await? else {
        return Err(format!("there is a person `{name}` already; `recado user reset {name}` prints a new link").into());
    };
    let token = users::make_link(&mut session, id, now).await?;
    session.commit().await?;
    show_link(context, &name, token.expose_secret(), json)
}

async fn reset(context: &Context, name: &str, json: bool) -> Outcome {
    let now = context.clock.now();
    let mut session = context.db.begin().await?;
    let user = known(users::find_by_name(&mut session, name).await?, name)?;
    if user.disabled_at.is_some() {
        return Err(format!("{name} is disabled; `recado user disable {name} --undo` lets them in again").into());
    }
    let token = users::reset(&mut session, &user, &actor(), now).await?;
    session.commit().await?;
    show_link(context, &user.name, token.expose_secret(), json)
}

fn show_link(context: &Context, name: &str, token: &str, json: bool) -> Outcome {
    let link = format!("{}/admin/password/{token}/", base(context));
    if json {
        print_json(&serde_json::json!({ "name": name, "link": link }))?;
    } else {
        // The link alone on standard output, so that it can be piped.
        eprintln!("{name} sets a password here. The link works once, for 24 hours:");
        say(&link);
    }
    Ok(ExitCode::SUCCESS)
}

/// Where people reach the console, as far as the settings say.
fn base(context: &Context) -> String {
    let config = &context.config;
    config.public_url.clone().unwrap_or_else(|| match config.listen.first() {
        Some(address) => format!("http://{}", crate::health::reachable(*address)),
        None => "http://127.0.0.1:8000".to_owned(),
    })
}

async fn list(context: &Context, json: bool) -> Outcome {
    let people = users::list(&mut context.db.read().await?).await?;
    if json {
        print_json(&people)?;
        return Ok(ExitCode::SUCCESS);
    }
    let now = context.clock.now();
    let mut table = Table::new(&["NAME", "ROLES", "PASSWORD", "CODES", "LAST LOGIN", "CREATED", "DISABLED"]);
    for user in people {
        table.row([
            user.name,
            user.roles.to_string(),
            if user.has_password { "set" } else { "not yet" }.to_owned(),
            if user.has_codes { "wanted" } else { "—" }.to_owned(),
            relative_or_dash(user.logged_in_at, now),
            relative(user.created_at, now),
            relative_or_dash(user.disabled_at, now),
        ]);
    }
    if table.is_empty() {
        say("no people; make the first with `recado user create NAME --roles admin`");
    } else {
        print(&table.render());
    }
    Ok(ExitCode::SUCCESS)
}

async fn disable(context: &Context, name: &str, disabled: bool) -> Outcome {
    let now = context.clock.now();
    let mut session = context.db.begin().await?;
    let user = known(users::find_by_name(&mut session, name).await?, name)?;
    match users::set_disabled(&mut session, &user, disabled, &actor(), now).await? {
        Changed::Done => (),
        Changed::AlreadySo => {
            return Err(format!("{name} is {} already", if disabled { "disabled" } else { "let in" }).into());
        }
        Changed::LastAdmin => return Err(last_admin(name).into()),
    }
    session.commit().await?;
    say(&format!(
        "{} {}",
        user.name,
        if disabled { "is disabled, and logged out everywhere" } else { "may log in again" }
    ));
    Ok(ExitCode::SUCCESS)
}

async fn roles(context: &Context, name: &str, roles: Roles) -> Outcome {
    let now = context.clock.now();
    let mut session = context.db.begin().await?;
    let user = known(users::find_by_name(&mut session, name).await?, name)?;
    match users::set_roles(&mut session, &user, &roles, &actor(), now).await? {
        Changed::Done => (),
        Changed::AlreadySo => return Err(format!("{name} has these roles already").into()),
        Changed::LastAdmin => return Err(last_admin(name).into()),
    }
    session.commit().await?;
    say(&format!("{} is now: {roles}", user.name));
    Ok(ExitCode::SUCCESS)
}

async fn forget_codes(context: &Context, name: &str) -> Outcome {
    let now = context.clock.now();
    let mut session = context.db.begin().await?;
    let user = known(users::find_by_name(&mut session, name).await?, name)?;
    if !login_codes::forget(&mut session, &user, &actor(), now).await? {
        return Err(format!("the login of {name} wants no code").into());
    }
    session.commit().await?;
    say(&format!("{} logs in with the password alone, until they set up codes again", user.name));
    Ok(ExitCode::SUCCESS)
}

fn last_admin(name: &str) -> String {
    format!("{name} is the only administrator who can log in; make another first: recado user roles NAME --roles admin")
}

fn actor() -> Actor {
    Actor::command("recado user")
}

fn known(found: Option<User>, name: &str) -> Result<User, String> {
    found.ok_or_else(|| format!("there is no person `{name}`; see `recado user list`"))
}
