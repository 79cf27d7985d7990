//! The signature debugger: which dialect × secret × header would have matched, the first byte that differs, and what the sender
//! should change. Nothing that is pasted is kept, written to a log, or put into a URL.

use std::sync::Arc;

use askama::Template;
use axum::extract::State;
use axum::response::Response;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use recado_kernel::clock::Timestamp;
use recado_kernel::language::Language;
use recado_kernel::users::Role;
use recado_partners::connections::{self, Connection};
use recado_partners::{inbound, rejected};
use recado_webhooks::debugger::{self, Report, Reveal, SignatureCheck};
use recado_webhooks::dialect::{Received, Rules};
use recado_webhooks::signature::Secret;
use secrecy::SecretString;

use crate::Console;
use crate::auth::{Look, May, Visit};
use crate::failure::Failure;
use crate::form::Form;
use crate::lists::Query;
use crate::page::{Page, html, refused};

/// Partners that are offered; others are named by their slug.
const OFFERED: i64 = 500;

/// The most headers that are looked at.
const MOST_HEADERS: usize = 100;

/// The longest secret that is taken, in bytes.
const LONGEST_SECRET: usize = 1_000;

#[derive(Template)]
#[template(path = "signatures/show.html")]
struct ShowPage {
    page: Page,
    form: Form,
    partners: Vec<(String, String)>,
    report: Option<Report>,
}

/// What a signature is verified with.
pub(crate) struct Verifier {
    secrets: Vec<Secret>,
    rules: Rules,
}

/// Who may change partners sees what helps to compare; a reader could sign with more.
pub(crate) fn revealed_to(visit: &Visit) -> Reveal {
    if visit.may(Role::Admin) { Reveal::Beginning } else { Reveal::Nothing }
}

/// The secrets and the rules of a partner; `None` where they cannot be read.
pub(crate) fn of_partner(console: &Console, connection: &Connection, now: Timestamp) -> Option<Verifier> {
    let config = &console.context.config;
    let secrets = connection.inbound_secrets(config.secret_key.as_ref()?, now).ok()?;
    Some(Verifier { secrets, rules: connection.rules(config.webhook_tolerance_seconds) })
}

/// On a thread of its own kind: a large body is hashed a hundred times.
pub(crate) async fn examine(
    Verifier { secrets, rules }: Verifier,
    reveal: Reveal,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
    (now, language): (Timestamp, Language),
) -> Result<Report, Failure> {
    let examined = tokio::task::spawn_blocking(move || {
        let received = Received { headers: &headers, body: &body };
        debugger::examine(SignatureCheck { secrets: &secrets, reveal, rules: &rules, received, now, language })
    });
    examined.await.map_err(|_| Failure::Malformed)
}

/// `/admin/signatures/`: empty, or with a request that came (`?inbound=ID`).
pub(crate) async fn show(may: May<Look>, State(console): State<Arc<Console>>) -> Result<Response, Failure> {
    let page = Page::new(&console, &may.visit, "signatures", "signatures-title");
    let mut form = Form::default();
    let mut report = None;
    if let Some(id) = Query::read(&may.visit.query).get("inbound") {
        let mut session = console.context.db.read().await?;
        if let Some(event) = inbound::find(&mut session, id).await? {
            let body = event.body.unwrap_or_default();
            report = Some(debugger::remember(&event.dialect, body.as_bytes(), page.speaks()));
            form = Form::of([("partner", event.partner.to_string()), ("body", shown_to(&page, body))]);
        } else {
            let one = rejected::find(&mut session, id).await?.ok_or(Failure::NotFound)?;
            let connection = connections::of_partner(&mut session, one.partner).await?;
            drop(session);
            let body = one.body().unwrap_or_default();
            if let Some(verifier) = connection.and_then(|connection| of_partner(&console, &connection, may.visit.now)) {
                let (headers, reveal) = (one.headers.0.clone(), revealed_to(&may.visit));
                // A difference shows bytes of the body, which not everybody may see.
                let examined =
                    examine(verifier, reveal, headers, body.clone(), (one.received_at, page.speaks())).await?;
                report = Some(examined).filter(|_| page.may_operate());
            }
            let lines = one.headers.0.iter().map(|(name, value)| format!("{name}: {value}\n")).collect();
            let mut fields = vec![("partner", one.partner.to_string()), ("headers", lines)];
            match String::from_utf8(body) {
                // A form changes the ends of lines, and the signature is of bytes.
                Ok(text) if !text.contains('\r') => fields.push(("body", shown_to(&page, text))),
                Ok(text) => fields.extend(encoded(&page, text.as_bytes())),
                Err(error) => fields.extend(encoded(&page, error.as_bytes())),
            }
            form = Form::of(fields);
        }
    }
    html(&ShowPage { partners: offered(&console, &page).await?, page, form, report })
}

/// Words of people are for those who act on work.
fn shown_to(page: &Page, body: String) -> String {
    if page.may_operate() { body } else { String::new() }
}

fn encoded(page: &Page, body: &[u8]) -> Vec<(&'static str, String)> {
    let text = if page.may_operate() { STANDARD.encode(body) } else { String::new() };
    vec![("body", text), ("is_base64", "on".to_owned())]
}

async fn offered(console: &Console, page: &Page) -> Result<Vec<(String, String)>, Failure> {
    let known = connections::list(&mut console.context.db.read().await?, OFFERED, 0).await?;
    let mut options = vec![(String::new(), page.t("signatures-no-partner"))];
    options.extend(known.into_iter().map(|one| (one.partner.id.to_string(), one.partner.name)));
    Ok(options)
}

/// Looks at what was pasted, and draws the page again.
pub(crate) async fn look(
    may: May<Look>,
    State(console): State<Arc<Console>>,
    mut form: Form,
) -> Result<Response, Failure> {
    let page = Page::new(&console, &may.visit, "signatures", "signatures-title");
    let pasted = form.value("secret").to_owned();
    // It is not sent back.
    form.forget("secret");
    let partners = offered(&console, &page).await?;
    let headers = read_headers(&mut form, &page);
    let body = match form.is_ticked("is_base64") {
        false => Some(form.value("body").as_bytes().to_vec()),
        true => STANDARD.decode(form.value("body").split_whitespace().collect::<String>()).ok(),
    };
    if body.is_none() {
        form.add_error("body", page.t("signatures-wrong-base64"));
    }
    let verifier = verifier_of(&console, &may.visit, &mut form, &page, pasted).await?;
    let (Some((verifier, reveal)), Some(body), false) = (verifier, body, form.is_wrong()) else {
        return refused(&ShowPage { page, form, partners, report: None });
    };
    let report = examine(verifier, reveal, headers, body, (may.visit.now, page.speaks())).await?;
    html(&ShowPage { page, form, partners, report: Some(report) })
}

async fn verifier_of(
    console: &Console,
    visit: &Visit,
    form: &mut Form,
    page: &Page,
    pasted: String,
) -> Result<Option<(Verifier, Reveal)>, Failure> {
    let connection = match form.text("partner").parse() {
        Ok(id) => connections::of_partner(&mut console.context.db.read().await?, id).await?,
        Err(_) => None,
    };
    let usual = console.context.config.webhook_tolerance_seconds;
    if !pasted.trim().is_empty() {
        if pasted.len() > LONGEST_SECRET {
            form.add_error("secret", page.t("signatures-long-secret"));
            return Ok(None);
        }
        let rules = Rules { strict_raw: false, tolerance_seconds: usual, payload_tolerance_seconds: 0 };
        let rules = connection.map_or(rules, |connection| connection.rules(usual));
        let secrets = vec![Secret::from(SecretString::from(pasted))];
        return Ok(Some((Verifier { secrets, rules }, Reveal::All)));
    }
    let Some(connection) = connection else {
        form.add_error("partner", page.t("signatures-no-secret"));
        return Ok(None);
    };
    let verifier = of_partner(console, &connection, visit.now);
    if verifier.is_none() {
        form.add_error("partner", page.t("partner-no-secret-key"));
    }
    Ok(verifier.map(|verifier| (verifier, revealed_to(visit))))
}

/// `Name: value`, one a line.
fn read_headers(form: &mut Form, page: &Page) -> Vec<(String, String)> {
    let mut headers = Vec::new();
    for line in form.value("headers").to_owned().lines().map(str::trim).filter(|line| !line.is_empty()) {
        let Some((name, value)) = line.split_once(':') else {
            form.add_error("headers", page.t("signatures-wrong-header"));
            return headers;
        };
        headers.push((name.trim().to_ascii_lowercase(), value.trim().to_owned()));
    }
    if headers.len() > MOST_HEADERS {
        form.add_error("headers", page.t("signatures-wrong-header"));
    }
    headers
}
