//! What is wrong, since when, whom it hits, and what to do: what `recado doctor` prints.

use std::sync::Arc;

use axum::extract::State;
use recado_kernel::clock::Timestamp;
use recado_systems::diagnosis::{self, Finding, Severity, facts, sentences};
use serde::Serialize;
use serde_json::{Map, Value};
use utoipa::ToSchema;

use crate::auth::{May, Read};
use crate::extract::language::{Spoken, SpokenQuery};
use crate::problem::Problem;
use crate::routing::routes;
use crate::state::{Api, Routes};

pub(crate) fn routes() -> Routes {
    Routes::new().routes(routes!(diagnose))
}

/// What is wrong, the worst first.
///
/// It is reckoned from what is there at the moment: lanes, workers, pauses, the samples of the last day. Always `200`; `healthy` says
/// whether something is wrong.
#[utoipa::path(get, path = "/", tag = "operations", params(SpokenQuery),
    responses((status = 200, description = "The diagnosis", body = DiagnosisView)))]
async fn diagnose(
    _: May<Read>,
    State(api): State<Arc<Api>>,
    Spoken(language): Spoken,
) -> Result<axum::Json<DiagnosisView>, Problem> {
    let facts = facts::gather(&api.context).await?;
    let (zone, now) = (api.context.config.time_zone, facts.now);
    let findings = diagnosis::diagnose(&facts);
    Ok(axum::Json(DiagnosisView {
        healthy: diagnosis::is_well(&findings),
        summary: sentences::summary(&findings, language, zone, now),
        findings: findings.iter().map(|one| FindingView::of(one, sentences::tell(one, language, zone, now))).collect(),
        now,
    }))
}

/// A diagnosis.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Diagnosis)]
struct DiagnosisView {
    /// Nothing is wrong but for what somebody wished.
    healthy: bool,
    /// All of it in one sentence.
    #[schema(examples("Ningún worker lee sync desde 08:30: 7 tareas en espera."))]
    summary: String,
    /// The worst first.
    findings: Vec<FindingView>,
    /// When this was asked.
    now: Timestamp,
}

/// Something that is wrong.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Finding)]
struct FindingView {
    /// `error`: something does not work. `warning`: somebody should look. `note`: somebody wished it so.
    severity: Severity,
    /// For programs.
    #[schema(examples("lane_unread"))]
    code: &'static str,
    /// What is wrong, and whom it hits.
    sentence: String,
    /// What to do about it.
    remedy: String,
    /// Since when, as far as that is known.
    since: Option<Timestamp>,
    /// How many tasks, messages or parts it hits.
    hits: i64,
    /// What the sentence was made of.
    #[schema(value_type = Object)]
    facts: Map<String, Value>,
}

impl FindingView {
    fn of(finding: &Finding, told: sentences::Told) -> Self {
        let facts = match serde_json::to_value(&finding.what) {
            Ok(Value::Object(facts)) => facts,
            _ => Map::new(),
        };
        let Finding { severity, since, hits, .. } = *finding;
        Self { severity, code: finding.what.code(), sentence: told.sentence, remedy: told.remedy, since, hits, facts }
    }
}
