//! `recado doctor`: what is wrong, since when, whom it hits, and what to do. Exit status 0 when nothing is.

use std::process::ExitCode;

use clap::Args;
use recado_kernel::errors::explain;
use recado_kernel::language::Language;
use recado_queue::context::Context;
use recado_systems::diagnosis::{self, Finding, facts, sentences};
use serde_json::{Value, json};

use crate::ledger;
use crate::output::{Outcome, print, print_json, say};

#[derive(Args, Debug)]
pub(crate) struct Doctor {
    /// The language in which it tells: en or es
    #[arg(long, default_value = "en")]
    lang: Language,
}

pub(crate) async fn run(options: Doctor, json: bool) -> Outcome {
    let context = ledger::open().await?;
    let facts = match facts::gather(&context).await {
        Ok(facts) => facts,
        Err(error) => return Err(format!("the database cannot be asked: {}", explain(&error)).into()),
    };
    let findings = diagnosis::diagnose(&facts);
    let is_well = diagnosis::is_well(&findings);
    if json {
        print_json(&as_json(&context, &findings, options.lang, is_well))?;
    } else {
        say(&sentences::summary(&findings, options.lang, context.config.time_zone, facts.now));
        print(&describe(&context, &findings, options.lang));
    }
    Ok(if is_well { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn describe(context: &Context, findings: &[Finding], language: Language) -> String {
    let (zone, now) = (context.config.time_zone, context.clock.now());
    let mut text = String::new();
    for finding in findings {
        let told = sentences::tell(finding, language, zone, now);
        text.push_str(&format!("\n[{}] {}\n  → {}\n", finding.severity, told.sentence, told.remedy));
    }
    text
}

/// The same fields as `GET /api/v1/operations/diagnosis/`.
fn as_json(context: &Context, findings: &[Finding], language: Language, is_well: bool) -> Value {
    let (zone, now) = (context.config.time_zone, context.clock.now());
    let shown = |finding: &Finding| {
        let told = sentences::tell(finding, language, zone, now);
        json!({
            "severity": finding.severity,
            "code": finding.what.code(),
            "sentence": told.sentence,
            "remedy": told.remedy,
            "since": finding.since,
            "hits": finding.hits,
            "facts": finding.what,
        })
    };
    json!({
        "healthy": is_well,
        "summary": sentences::summary(findings, language, zone, now),
        "findings": findings.iter().map(shown).collect::<Vec<_>>(),
        "now": now,
    })
}
