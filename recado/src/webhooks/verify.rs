//! `recado webhooks verify`: the signature debugger on the command line. With a secret it needs no database.

use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;
use recado_kernel::clock::{Clock, Timestamp};
use recado_kernel::language::Language;
use recado_partners::connections;
use recado_webhooks::debugger::{self, Report, Reveal, SignatureCheck};
use recado_webhooks::dialect::{Received, Rules};
use recado_webhooks::signature::Secret;
use secrecy::SecretString;

use super::Error;
use crate::ledger;
use crate::output::{Outcome, print, print_json};
use crate::table::{Table, shorten};
use crate::times::{When, parse_when};

pub(super) const EXAMPLES: &str = "\
Examples:
  recado webhooks verify --partner findyourwork --headers headers.txt --body body.json
  recado webhooks verify --secret-file secret.txt -H 'X-Partner-Signature: bc1d48…' --body body.json
  SECRET=whsec_… recado webhooks verify --secret-env SECRET -H \"X-Signature: $SIGNATURE\" --body - < body.json

The body must be the bytes that travelled: save it with `curl --output` or from a proxy, and not from an editor, which may
add a line end. The file of headers has a `Name: value` per line, as `curl -D` writes it.

With --partner the secrets are read from the database, and only the beginning of the signatures that they give is shown. With
a secret of yours, whole signatures are shown and no database is needed.

Exit status: 0 the webhook would be taken, 1 it would not, 2 the command line is wrong.";

/// The largest body that is read, in bytes.
const LARGEST: u64 = 16 * 1024 * 1024;

/// Letters of an expected signature that fit into a row.
const SIGNATURE_WIDTH: usize = 20;

#[derive(Args, Debug)]
pub(crate) struct Verify {
    /// Whose secrets count: slug, partner_id, or id in the registry
    #[arg(long, required_unless_present_any = ["secret_file", "secret_env"], conflicts_with_all = ["secret_file", "secret_env"])]
    partner: Option<String>,
    /// A file with the secret; blanks and line ends around it do not count
    #[arg(long, value_name = "FILE", conflicts_with = "secret_env")]
    secret_file: Option<PathBuf>,
    /// The variable of the environment that holds the secret, which so stands in no list of processes
    #[arg(long, value_name = "VARIABLE")]
    secret_env: Option<String>,
    /// A file with headers, a `Name: value` per line
    #[arg(long, value_name = "FILE")]
    headers: Option<PathBuf>,
    /// A header; may be repeated
    #[arg(long = "header", short = 'H', value_name = "NAME: VALUE", value_parser = parse_header)]
    header: Vec<(String, String)>,
    /// The file with the body, to the byte; - for standard input
    #[arg(long, value_name = "FILE")]
    body: PathBuf,
    /// When it came: a time (2026-01-20T08:00:00Z), or how long ago (90s, 30m, 6h, 2d); now, if it is left out
    #[arg(long, value_parser = parse_when)]
    at: Option<When>,
    /// How far the signed time may lie from --at, in seconds; 0: any
    #[arg(long, default_value_t = 300, value_parser = clap::value_parser!(i64).range(0..=604_800))]
    tolerance: i64,
}

fn parse_header(line: &str) -> Result<(String, String), String> {
    let (name, value) = line.split_once(':').ok_or("write it as `Name: value`")?;
    if name.trim().is_empty() {
        return Err("write it as `Name: value`".to_owned());
    }
    Ok((name.trim().to_ascii_lowercase(), value.trim().to_owned()))
}

pub(super) async fn run(options: Verify, json: bool) -> Outcome {
    let input = match read_input(&options) {
        Ok(input) => input,
        Err(error) => {
            eprintln!("recado: {error}");
            return Ok(ExitCode::from(2));
        }
    };
    let report = match (&options.partner, input.secret) {
        (Some(partner), _) => of_partner(partner, &options, &input.headers, &input.body).await?,
        (None, Some(secret)) => {
            let rules = Rules { strict_raw: false, tolerance_seconds: options.tolerance, payload_tolerance_seconds: 0 };
            let received = Received { headers: &input.headers, body: &input.body };
            let now = judged_at(&options, Clock::system().now());
            let secrets = &[secret];
            debugger::examine(SignatureCheck {
                secrets,
                reveal: Reveal::All,
                rules: &rules,
                received,
                now,
                language: SPOKEN,
            })
        }
        (None, None) => return Err("no secret was given".into()),
    };
    if json {
        print_json(&report)?;
    } else {
        print(&describe(&report));
    }
    Ok(if report.accepted { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// The command line speaks English, its tables included.
const SPOKEN: Language = Language::English;

fn judged_at(options: &Verify, now: Timestamp) -> Timestamp {
    options.at.map_or(now, |at| at.before(now))
}

async fn of_partner(
    partner: &str,
    options: &Verify,
    headers: &[(String, String)],
    body: &[u8],
) -> Result<Report, Error> {
    let context = ledger::open().await?;
    let mut session = context.db.read().await?;
    let endpoint = super::endpoint_of_partner(&mut session, partner).await?;
    let connection = connections::of_endpoint(&mut session, endpoint).await?;
    let connection = connection.ok_or("its partner was deleted")?;
    let key = context.config.secret_key.as_ref().ok_or("SECRET_KEY is not set, so its secret cannot be read")?;
    let now = judged_at(options, context.clock.now());
    let secrets = connection.inbound_secrets(key, context.clock.now())?;
    let rules = connection.rules(context.config.webhook_tolerance_seconds);
    let received = Received { headers, body };
    let (secrets, reveal) = (&secrets, Reveal::Beginning);
    Ok(debugger::examine(SignatureCheck { secrets, reveal, rules: &rules, received, now, language: SPOKEN }))
}

/// What the command line names.
struct Input {
    secret: Option<Secret>,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
}

fn read_input(options: &Verify) -> Result<Input, Error> {
    let secret = match (&options.secret_file, &options.secret_env) {
        (Some(file), _) => Some(String::from_utf8(read(file)?).map_err(|_| "the secret is no UTF-8")?),
        (None, Some(variable)) => {
            Some(variable_of(variable).ok_or_else(|| format!("the variable {variable} is not set"))?)
        }
        (None, None) => None,
    };
    let secret = secret.map(|text| text.trim().to_owned());
    if secret.as_deref() == Some("") {
        return Err("the secret is empty".into());
    }
    let mut headers = options.header.clone();
    if let Some(file) = &options.headers {
        headers.extend(headers_of(&String::from_utf8_lossy(&read(file)?))?);
    }
    if headers.is_empty() {
        return Err("no headers were given: --headers FILE, or -H 'Name: value'".into());
    }
    Ok(Input { secret: secret.map(|text| Secret::from(SecretString::from(text))), headers, body: read(&options.body)? })
}

#[expect(clippy::disallowed_methods, reason = "its user names the variable; it is no setting of the product")]
fn variable_of(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

/// Headers as `curl -D` writes them: the line of the status and empty lines say nothing.
fn headers_of(text: &str) -> Result<Vec<(String, String)>, String> {
    text.lines()
        .map(str::trim_end)
        .filter(|line| !line.is_empty() && !line.starts_with("HTTP/") && !line.starts_with('#'))
        .map(|line| parse_header(line).map_err(|error| format!("the header {:?}: {error}", shorten(line, 60))))
        .collect()
}

fn read(path: &Path) -> Result<Vec<u8>, Error> {
    let named = |error: io::Error| format!("{}: {error}", path.display());
    let mut bytes = Vec::new();
    if path == Path::new("-") {
        io::stdin().lock().take(LARGEST + 1).read_to_end(&mut bytes).map_err(named)?;
    } else {
        fs::File::open(path).map_err(named)?.take(LARGEST + 1).read_to_end(&mut bytes).map_err(named)?;
    }
    if bytes.len() as u64 > LARGEST {
        return Err(format!("{} has more than {LARGEST} bytes", path.display()).into());
    }
    Ok(bytes)
}

fn describe(report: &Report) -> String {
    let mut text = match (&report.dialect, report.refusal) {
        (Some(dialect), _) => format!("It would be taken: {dialect}.\n"),
        (None, Some(refusal)) => format!("It would be refused: {refusal}.\n"),
        (None, None) => "It would be refused.\n".to_owned(),
    };
    text.push_str(&format!("The body: {} bytes, SHA-256 {}.\n", report.body.bytes, report.body.sha256));
    if let Some(because) = &report.body.no_forms_because {
        text.push_str(&format!("Only the bytes themselves can be signed: {because}.\n"));
    }
    text.push('\n');
    text.push_str(&tried_table(report));
    if !report.also_fits.is_empty() {
        text.push('\n');
        text.push_str(&fits_table(report));
    }
    if !report.advice.is_empty() {
        text.push_str("\nWhat to change:\n");
        for advice in &report.advice {
            text.push_str(&format!("  {}\n", advice.text));
        }
    }
    if !report.accepted {
        let code = report.code;
        for (language, program) in [("curl", code.curl), ("Python", code.python), ("Node", code.node)] {
            text.push_str(&format!("\nHow to sign, in {language} ({}):\n\n{program}", code.scheme));
        }
    }
    text
}

/// Every dialect with every secret and header; which fits, and where its bytes part from the body.
fn tried_table(report: &Report) -> String {
    let mut table =
        Table::new(&["SIGNED", "SECRET", "HEADER", "FITS", "EXPECTED", ">DIFFERS AT", "SIGNED THERE", "SENT THERE"]);
    for tried in &report.tried {
        let fits = tried.matches.iter().map(|header| (header.as_str(), true));
        let differs = tried.differs.iter().map(|header| (header.as_str(), false));
        let mut rows: Vec<(&str, bool)> = fits.chain(differs).collect();
        if rows.is_empty() {
            rows.push(("-", false));
        }
        for (header, fits) in rows {
            let word = match (fits, tried.is_allowed) {
                (true, true) => "yes",
                (true, false) => "not allowed",
                (false, _) => "no",
            };
            let difference = tried.first_difference.as_ref();
            table.row([
                tried.signed.clone(),
                tried.secret.to_owned(),
                header.to_owned(),
                word.to_owned(),
                shorten(tried.expected.as_deref().unwrap_or("-"), SIGNATURE_WIDTH),
                difference.map_or_else(|| "-".to_owned(), |difference| difference.position.to_string()),
                difference.map_or_else(String::new, |difference| format!("{:?}", difference.signed)),
                difference.map_or_else(String::new, |difference| format!("{:?}", difference.sent)),
            ]);
        }
    }
    table.render()
}

fn fits_table(report: &Report) -> String {
    let mut table = Table::new(&["NOT TAKEN, AND FITS", "KEY", "SECRET", "HEADER", ">DIFFERS AT"]);
    for fit in &report.also_fits {
        table.row([
            fit.signed.clone(),
            fit.key.clone(),
            fit.secret.to_owned(),
            fit.header.clone(),
            fit.first_difference.as_ref().map_or_else(|| "-".to_owned(), |difference| difference.position.to_string()),
        ]);
    }
    table.render()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_are_read_as_curl_writes_them() {
        let text = "HTTP/1.1 200 OK\r\nX-Partner-ID: findyourwork\r\nX-Partner-Signature:bc:1d\r\n\r\n# a note\n";
        let expected = [("x-partner-id", "findyourwork"), ("x-partner-signature", "bc:1d")];
        assert_eq!(headers_of(text), Ok(expected.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec()));
        assert!(headers_of("no colon").is_err() && headers_of(": value").is_err());
    }
}
