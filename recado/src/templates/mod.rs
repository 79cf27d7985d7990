//! `recado templates`: the texts, what each ever was, where it is used, and sending one to yourself.

mod versions;

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use clap::builder::{PossibleValuesParser, TypedValueParser};
use clap::{Args, Subcommand};
use recado_kernel::audit::Actor;
use recado_kernel::ids::Id;
use recado_kernel::language::Language;
use recado_notifications::catalogue::Catalogue;
use recado_notifications::channels::Channel;
use recado_notifications::failures::Code;
use recado_notifications::system::Notifications;
use recado_notifications::targets::Target;
use recado_notifications::templates::rendering::{self, CompiledTemplate, Rendered, VARIABLES};
use recado_notifications::templates::{Template, TemplateFilter};
use recado_notifications::test_sends::{self, MOST_IN_AN_HOUR, NewTest, Refusal, TestSend, To};
use recado_queue::context::Context;
use serde_json::{Map, Value, json};

use crate::ledger;
use crate::output::{Outcome, print, print_json, printable, say};
use crate::table::{Table, shorten};
use crate::times::relative;

/// Characters of a name that fit into a row.
const NAME_WIDTH: usize = 44;

/// How often a test is looked at while it is waited for.
const LOOK_EVERY: Duration = Duration::from_millis(500);

type Error = Box<dyn std::error::Error + Send + Sync>;

#[derive(Subcommand, Debug)]
pub(crate) enum Command {
    /// List templates by name
    #[command(
        after_help = "Examples:\n  recado templates list --channel whatsapp --search cita\n  recado templates list --workshop taller-1 --unused"
    )]
    List(List),
    /// Show a template: its place, its variables and its text
    #[command(after_help = "Example:\n  recado templates show 0199c2a4-7f3e-7c10-9d1a-0c8f4e1f2b3a")]
    Show {
        /// Id of the template
        id: Id,
    },
    /// List what a template ever was, the newest first, also after it was deleted
    #[command(after_help = "Example:\n  recado templates versions 0199c2a4-7f3e-7c10-9d1a-0c8f4e1f2b3a")]
    Versions {
        /// Id of the template, which may be deleted
        id: Id,
        /// How many at most
        #[arg(long, short = 'n', default_value_t = 20, value_parser = clap::value_parser!(i64).range(1..=10_000))]
        limit: i64,
    },
    /// Show what changed from the version before, or from another one, to this
    #[command(
        after_help = "Examples:\n  recado templates diff 0199c2a4-7f3e-7c10-9d1a-0c8f4e1f2b3a 3\n  recado templates diff 0199c2a4-7f3e-7c10-9d1a-0c8f4e1f2b3a 3 --against 1"
    )]
    Diff {
        /// Id of the template, which may be deleted
        id: Id,
        /// Number of the version
        version: i32,
        /// The version that came before; without it, the one before this
        #[arg(long, value_name = "VERSION")]
        against: Option<i32>,
    },
    /// Make a template what it was in a version; that is a new version, so it can be undone
    #[command(after_help = "Example:\n  recado templates restore 0199c2a4-7f3e-7c10-9d1a-0c8f4e1f2b3a 2")]
    Restore {
        /// Id of the template, which may be deleted
        id: Id,
        /// Number of the version
        version: i32,
    },
    /// Say where a template is used: cells of the matrix, and what it wins and loses against
    #[command(after_help = "Example:\n  recado templates usage 0199c2a4-7f3e-7c10-9d1a-0c8f4e1f2b3a")]
    Usage {
        /// Id of the template
        id: Id,
    },
    /// Send a text to yourself, to see how it arrives; it is no notification, and is counted nowhere
    #[command(
        after_help = "Examples:\n  recado templates test 0199c2a4-7f3e-7c10-9d1a-0c8f4e1f2b3a --to ana@example.com --wait\n  recado templates test 0199c2a4-7f3e-7c10-9d1a-0c8f4e1f2b3a --to +593991234567 --set Nombre=Ana --set Orden=77\n  recado templates test 0199c2a4-7f3e-7c10-9d1a-0c8f4e1f2b3a --customer customer-001\n\nIt leaves through the accounts that a message would take, begins with [Prueba], and is tried once."
    )]
    Test(Test),
}

#[derive(Args, Debug)]
pub(crate) struct List {
    /// Only this channel's
    #[arg(long, value_parser = PossibleValuesParser::new(Channel::WORDS).try_map(|word| word.parse::<Channel>()))]
    channel: Option<Channel>,
    /// Only those for this audience
    #[arg(long, value_parser = PossibleValuesParser::new(Target::WORDS).try_map(|word| word.parse::<Target>()))]
    target: Option<Target>,
    /// Only those for this type of event
    #[arg(long)]
    event_type: Option<String>,
    /// Only those of this workshop
    #[arg(long, value_name = "TALLER_ID")]
    workshop: Option<String>,
    /// Part of the name, whatever its case and accents
    #[arg(long)]
    search: Option<String>,
    /// Only those that are in use
    #[arg(long, conflicts_with = "unused")]
    used: bool,
    /// Only those that are not in use
    #[arg(long)]
    unused: bool,
}

#[derive(Args, Debug)]
pub(crate) struct Test {
    /// Id of the template
    id: Id,
    /// A mail address or a number, for an email or a WhatsApp
    #[arg(long, value_name = "ADDRESS", required_unless_present = "customer")]
    to: Option<String>,
    /// A customer, whose devices get a push
    #[arg(long, value_name = "CUSTOMER_ID", conflicts_with = "to")]
    customer: Option<String>,
    /// A value for a variable; the others have their examples. May be given more than once
    #[arg(long = "set", value_name = "VARIABLE=VALUE", value_parser = parse_value)]
    values: Vec<(String, String)>,
    /// Wait until it is known what became of it; status 0 when it was taken
    #[arg(long)]
    wait: bool,
}

fn parse_value(text: &str) -> Result<(String, String), String> {
    let (name, value) =
        text.split_once('=').filter(|(name, _)| !name.trim().is_empty()).ok_or("write VARIABLE=VALUE")?;
    Ok((name.trim().to_owned(), value.to_owned()))
}

pub(crate) async fn run(command: Command, json: bool) -> Outcome {
    let context = ledger::open().await?;
    match command {
        Command::List(options) => list(&context, options, json).await,
        Command::Show { id } => show(&context, id, json).await,
        Command::Versions { id, limit } => versions::list(&context, id, limit, json).await,
        Command::Diff { id, version, against } => versions::diff(&context, id, version, against, json).await,
        Command::Restore { id, version } => versions::restore(&context, id, version, json).await,
        Command::Usage { id } => versions::usage(&context, id, json).await,
        Command::Test(options) => test(&context, options, json).await,
    }
}

fn actor() -> Actor {
    Actor::command("recado templates")
}

fn unknown(id: Id) -> String {
    format!("there is no template {id}; see `recado templates list`")
}

async fn catalogue(context: &Context) -> Result<Arc<Catalogue>, Error> {
    let system = Notifications::new(context.clone());
    Ok(system.catalogue.current(&mut context.db.read().await?).await?)
}

async fn list(context: &Context, options: List, json: bool) -> Outcome {
    let catalogue = catalogue(context).await?;
    let filter = TemplateFilter {
        channel: options.channel,
        target: options.target,
        event_type: options.event_type,
        taller_id: options.workshop.map(Some),
        is_active: (options.used || options.unused).then_some(options.used),
        search: options.search,
        ..TemplateFilter::default()
    };
    let mut found: Vec<&Template> = catalogue.templates.iter().filter(|template| filter.takes(template)).collect();
    found.sort_by_key(|template| (&template.name, template.id));
    if json {
        print_json(&found.into_iter().map(|template| as_json(template, &catalogue, context)).collect::<Vec<_>>())?;
        return Ok(ExitCode::SUCCESS);
    }
    let now = context.clock.now();
    let mut table = Table::new(&[
        "NAME", "CHANNEL", "TARGET", "EVENT", "SERVICE", "PHASE", "WORKSHOP", "USED", ">VERSION", "WRITTEN", "ID",
    ]);
    for template in found {
        let Place { service, phase } = Place::of(template, &catalogue);
        let or_any = |text: Option<String>| text.unwrap_or_else(|| "any".to_owned());
        table.row([
            shorten(&template.name, NAME_WIDTH),
            template.channel.to_string(),
            template.target.to_string(),
            or_any(template.event_type.clone()),
            or_any(service),
            or_any(phase),
            or_any(template.taller_id.clone()),
            if template.is_active { "yes" } else { "no" }.to_owned(),
            template.version.to_string(),
            relative(template.updated_at, now),
            template.id.to_string(),
        ]);
    }
    if table.is_empty() {
        say("no such templates");
    } else {
        print(&table.render());
    }
    Ok(ExitCode::SUCCESS)
}

async fn show(context: &Context, id: Id, json: bool) -> Outcome {
    let catalogue = catalogue(context).await?;
    let template = catalogue.template(id).ok_or_else(|| unknown(id))?;
    if json {
        print_json(&as_json(template, &catalogue, context))?;
        return Ok(ExitCode::SUCCESS);
    }
    let now = context.clock.now();
    let Place { service, phase } = Place::of(template, &catalogue);
    let or_any = |text: Option<String>| text.unwrap_or_else(|| "any".to_owned());
    let variables = variables(template, context);
    let mut text = format!("Template {id}\n");
    for (label, value) in [
        ("name", template.name.clone()),
        ("channel", format!("{}, for {}", template.channel, template.target)),
        ("event", or_any(template.event_type.clone())),
        ("service", or_any(service)),
        ("phase", or_any(phase)),
        ("workshop", or_any(template.taller_id.clone())),
        ("used", if template.is_active { "yes" } else { "no; only templates in use are sent" }.to_owned()),
        ("default", if template.is_default { "yes: it wins over one that fits as well" } else { "no" }.to_owned()),
        ("version", format!("{}, written {}", template.version, relative(template.updated_at, now))),
        ("variables", if variables.is_empty() { "none".to_owned() } else { variables.join(", ") }),
    ] {
        text.push_str(&format!("  {label:<9} {}\n", value.replace(char::is_control, " ")));
    }
    if !template.subject.is_empty() {
        text.push_str(&format!("\n{}\n", printable(&template.subject)));
    }
    text.push_str(&format!("\n{}\n", printable(template.body.trim_end())));
    print(&text);
    Ok(ExitCode::SUCCESS)
}

/// Where a template belongs, in words; `None`: anywhere.
struct Place {
    service: Option<String>,
    phase: Option<String>,
}

impl Place {
    fn of(template: &Template, catalogue: &Catalogue) -> Self {
        let service = |id: Option<Id>| id.and_then(|id| catalogue.service(id)).map(|service| service.slug.clone());
        let phase = template.phase_id.and_then(|id| catalogue.phases.iter().find(|phase| phase.id == id));
        let subtype = service(template.subtype_id).map(|subtype| format!("/{subtype}")).unwrap_or_default();
        Self {
            service: service(template.service_type_id).map(|service| format!("{service}{subtype}")),
            phase: phase.map(|phase| phase.slug.clone()),
        }
    }
}

/// What the texts ask for, as it stands in them.
fn variables(template: &Template, context: &Context) -> Vec<String> {
    let strict_case = context.config.template_strict_case;
    let compiled = CompiledTemplate::compile(&template.subject, &template.body, strict_case);
    let used = compiled.as_ref().map(CompiledTemplate::variables).unwrap_or_default();
    used.iter().map(|variable| variable.label.clone()).collect()
}

/// The fields of `GET /api/v1/notifications/templates/{id}/`, without its preview.
fn as_json(template: &Template, catalogue: &Catalogue, context: &Context) -> Value {
    let mut value = json!(template);
    let service = |id: Option<Id>| id.and_then(|id| catalogue.service(id)).map(|service| service.name.clone());
    let phase = template.phase_id.and_then(|id| catalogue.phases.iter().find(|phase| phase.id == id));
    value["service_type_name"] = json!(service(template.service_type_id));
    value["subtype_name"] = json!(service(template.subtype_id));
    value["phase_name"] = json!(phase.map(|phase| phase.name.clone()));
    value["variables"] = json!(variables(template, context));
    value
}

async fn test(context: &Context, options: Test, json: bool) -> Outcome {
    let catalogue = catalogue(context).await?;
    let template = catalogue.template(options.id).ok_or_else(|| unknown(options.id))?;
    let to = match (options.to, options.customer) {
        (Some(address), _) => To::Address(address),
        (None, Some(customer_id)) => To::Devices(customer_id),
        (None, None) => return Err("say --to ADDRESS or --customer CUSTOMER_ID".into()),
    };
    let words = words(template, options.values, context.config.template_strict_case)?;
    let test = NewTest {
        template_id: template.id,
        channel: template.channel,
        taller_id: template.taller_id.clone(),
        to,
        words,
    };
    let sent = test_sends::start(context, test, &actor()).await?;
    let id = sent.map_err(|refusal| why_not(&refusal))?;
    let mut test = find(context, id).await?;
    if options.wait {
        while test.ended_at.is_none() {
            tokio::time::sleep(LOOK_EVERY).await;
            test = find(context, id).await?;
        }
    }
    if json {
        print_json(&test)?;
    } else {
        say(&told(&test));
        if test.ended_at.is_none() {
            ledger::say_when_it_is_noticed(context);
        }
    }
    let has_failed = test.ended_at.is_some() && !test.is_sent;
    Ok(if has_failed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

async fn find(context: &Context, id: Id) -> Result<TestSend, Error> {
    let found = test_sends::find(&mut context.db.read().await?, id).await?;
    found.ok_or_else(|| format!("the test {id} is gone").into())
}

/// The texts with these values, and with the examples for variables that got none.
fn words(template: &Template, values: Vec<(String, String)>, strict_case: bool) -> Result<Rendered, String> {
    let values: Map<String, Value> = values.into_iter().map(|(name, value)| (name, value.into())).collect();
    let values = rendering::Context::new(&values, strict_case).map_err(|error| error.to_string())?;
    let values = VARIABLES.iter().fold(values, |values, variable| values.with(variable.name(), variable.example));
    let compiled = CompiledTemplate::compile(&template.subject, &template.body, strict_case)
        .map_err(|error| format!("the text cannot be rendered: {error}"))?;
    let missing = compiled.missing(&values);
    if !missing.is_empty() {
        let wanted: Vec<String> =
            compiled.labels(&missing).into_iter().map(|label| format!("--set '{label}=…'")).collect();
        return Err(format!("these variables have no example, so give them values: {}", wanted.join(" ")));
    }
    compiled.render(&values).map_err(|error| format!("the text cannot be rendered: {error}"))
}

fn why_not(refusal: &Refusal) -> String {
    match refusal {
        Refusal::TooMany => format!("{MOST_IN_AN_HOUR} tests were sent from here within an hour; wait a little"),
        Refusal::Address(problem) => format!("the address is wrong: {problem}"),
        Refusal::Suppressed => {
            "the address is suppressed; lift that with `recado suppressions lift`, or use another".to_owned()
        }
        Refusal::NoDevice => "this customer has no device; `recado customers show` tells which have".to_owned(),
        Refusal::WrongKind => {
            "an email or a WhatsApp goes to an address (--to), a push to the devices of a customer (--customer)"
                .to_owned()
        }
    }
}

fn told(test: &TestSend) -> String {
    let account = test.account.as_deref().unwrap_or("-");
    match (test.ended_at, test.is_sent) {
        (None, _) => {
            format!("it is on its way; GET /api/v1/notifications/templates/tests/{}/ tells what became of it", test.id)
        }
        (Some(_), true) => format!("the account {account} took it"),
        (Some(_), false) => {
            let code = test.code.as_deref().unwrap_or("no code");
            let remedy = Code::find(code).map(|code| format!("\n  → {}", code.remedy(Language::English)));
            let reason = test.reason.as_deref().unwrap_or_default();
            format!("the account {account} did not take it: {code}: {reason}{}", remedy.unwrap_or_default())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_may_hold_anything_and_its_name_may_not_be_blank() {
        assert_eq!(parse_value("Nombre = a=b"), Ok(("Nombre".to_owned(), " a=b".to_owned())));
        assert_eq!(parse_value("Nombre="), Ok(("Nombre".to_owned(), String::new())));
        for text in ["", "Nombre", "=x", " =x"] {
            assert!(parse_value(text).is_err(), "{text}");
        }
    }
}
