//! What a template ever was, what changed from one version to another, and where it is used.

use std::sync::Arc;

use axum::extract::State;
use recado_kernel::clock::Timestamp;
use recado_kernel::ids::Id;
use recado_notifications::catalogue::{Catalogue, Use};
use recado_notifications::catalogue_version;
use recado_notifications::channels::Channel;
use recado_notifications::orchestration;
use recado_notifications::targets::Target;
use recado_notifications::templates::versions::{self, Change, DiffLine, LineChange, Version};
use recado_notifications::templates::{self, Template};
use serde::Serialize;
use serde_json::Value;
use utoipa::{IntoParams, ToSchema};

use super::templates::{TemplateView, off_runtime, written};
use crate::auth::{Admin, May, Read};
use crate::extract::language::{Spoken, SpokenQuery};
use crate::extract::page::{Page, Paging};
use crate::extract::path::{Segment, Segments};
use crate::extract::query::Query;
use crate::extract::request::request;
use crate::problem::{FieldErrors, Problem};
use crate::routing::routes;
use crate::state::{Api, Routes};

pub(crate) fn routes() -> Routes {
    Routes::new()
        .routes(routes!(list_versions))
        .routes(routes!(show_version))
        .routes(routes!(show_diff))
        .routes(routes!(restore))
        .routes(routes!(show_usage))
}

/// What a template ever was, the newest first.
///
/// Every write makes a version: `PUT`, `PATCH`, `restore`, and `DELETE`, after which the versions stay. Messages name the version that
/// they were written with (`template_version`).
#[utoipa::path(get, path = "/{id}/versions", tag = "templates",
    params(("id" = Id, Path, description = "Id of the template, which may be deleted"), Paging),
    responses((status = 200, description = "A page of versions", body = Page<VersionView>)))]
async fn list_versions(
    _: May<Read>,
    State(api): State<Arc<Api>>,
    Segment(id): Segment<Id>,
    paging: Paging,
) -> Result<axum::Json<Page<VersionView>>, Problem> {
    let mut session = api.context.db.read().await?;
    let (found, count) = versions::list(&mut session, id, paging.limit(), paging.offset()).await?;
    if count == 0 {
        return Err(Problem::NotFound);
    }
    Ok(axum::Json(paging.page(found.iter().map(VersionView::from).collect(), count)?))
}

/// One version with its texts.
#[utoipa::path(get, path = "/{id}/versions/{version}", tag = "templates",
    params(("id" = Id, Path, description = "Id of the template"), ("version" = i32, Path, description = "Number of the version")),
    responses((status = 200, description = "The version", body = VersionDetail)))]
async fn show_version(
    _: May<Read>,
    State(api): State<Arc<Api>>,
    Segments(id, version): Segments<Id, i32>,
) -> Result<axum::Json<VersionDetail>, Problem> {
    Ok(axum::Json(find(&api, id, version).await?.into()))
}

/// What changed: from the version before, or from another one, to this.
#[utoipa::path(get, path = "/{id}/versions/{version}/diff", tag = "templates",
    params(("id" = Id, Path, description = "Id of the template"), ("version" = i32, Path, description = "Number of the version"), DiffQuery),
    responses((status = 200, description = "The difference", body = DiffView)))]
async fn show_diff(
    _: May<Read>,
    State(api): State<Arc<Api>>,
    Segments(id, version): Segments<Id, i32>,
    Query(DiffQuery { against }): Query<DiffQuery>,
) -> Result<axum::Json<DiffView>, Problem> {
    let wanted = against.unwrap_or(version.saturating_sub(1));
    let found = versions::find_many(&mut api.context.db.read().await?, id, &[wanted, version]).await?;
    let of = |number: i32| found.iter().find(|one| one.version == number).cloned();
    let after = of(version).ok_or(Problem::NotFound)?;
    let before = of(wanted);
    if before.is_none() && against.is_some() {
        return Err(FieldErrors::one("against", format!("Esta plantilla no tiene la versión {wanted}.")).into());
    }
    Ok(axum::Json(off_runtime(move || DiffView::of(before.as_ref(), &after)).await?))
}

/// Makes the template what it was in a version. That is a new version, so it can be undone like any other change.
///
/// A template that was deleted is there again, under its old id; cells of the matrix that named it have to be told.
#[utoipa::path(post, path = "/{id}/versions/{version}/restore", tag = "templates",
    params(("id" = Id, Path, description = "Id of the template"), ("version" = i32, Path, description = "Number of the version"), SpokenQuery),
    responses((status = 200, description = "The template, as it is now", body = TemplateView)))]
async fn restore(
    may: May<Admin>,
    Spoken(language): Spoken,
    State(api): State<Arc<Api>>,
    Segments(id, version): Segments<Id, i32>,
) -> Result<axum::Json<TemplateView>, Problem> {
    let version = find(&api, id, version).await?;
    check(&api, &version).await?;
    let mut session = api.context.db.begin().await?;
    catalogue_version::touch(&mut session).await?;
    versions::restore(&mut session, &version, &may.actor(), api.context.clock.now()).await?;
    orchestration::forget_misfits(&mut session).await?;
    session.commit().await?;
    written(&api, id, language).await
}

/// Where a template is used: the cells of the matrix that send it, what it wins against where it fits, and what wins against it.
#[utoipa::path(get, path = "/{id}/usage", tag = "templates", params(("id" = Id, Path, description = "Id of the template")),
    responses((status = 200, description = "Its uses", body = UsageView)))]
async fn show_usage(
    _: May<Read>,
    State(api): State<Arc<Api>>,
    Segment(id): Segment<Id>,
) -> Result<axum::Json<UsageView>, Problem> {
    let catalogue = api.catalogue().await?;
    let usage = off_runtime(move || catalogue.template(id).map(|template| UsageView::of(template, &catalogue))).await?;
    usage.map(axum::Json).ok_or(Problem::NotFound)
}

async fn find(api: &Api, id: Id, version: i32) -> Result<Version, Problem> {
    let found = versions::find_many(&mut api.context.db.read().await?, id, &[version]).await?;
    found.into_iter().next().ok_or(Problem::NotFound)
}

/// What was right once may be refused now: the rules for texts may have changed.
async fn check(api: &Api, version: &Version) -> Result<(), Problem> {
    let (subject, body) = (version.subject.clone(), version.body.clone());
    let strict_case = api.context.config.template_strict_case;
    let mut errors = FieldErrors::default();
    for flaw in off_runtime(move || templates::flaws(&subject, &body, strict_case)).await? {
        errors.add(flaw.part.as_str(), flaw.explanation());
    }
    errors.none_or_problem()
}

request! {
    /// What a version is compared with.
    #[derive(Debug, IntoParams)]
    #[into_params(parameter_in = Query)]
    struct DiffQuery {
        /// The version that came before; without it, the one before this.
        against: Option<i32>,
    }
}

/// A version, without its texts.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = TemplateVersion)]
struct VersionView {
    /// Its number, from 1.
    #[schema(examples(3))]
    version: i32,
    /// How it came to be.
    change: Change,
    /// The version that was restored.
    restored_from: Option<i32>,
    /// Who wrote it, as the log names callers; null for what came with the program.
    #[schema(examples("panel"))]
    author: Option<String>,
    /// When.
    written_at: Timestamp,
    /// How staff called the template.
    name: String,
    /// Whether it was in use.
    is_active: bool,
}

impl From<&Version> for VersionView {
    fn from(version: &Version) -> Self {
        Self {
            version: version.version,
            change: version.change,
            restored_from: version.restored_from,
            author: version.author.clone(),
            written_at: version.written_at,
            name: version.name.clone(),
            is_active: version.is_active,
        }
    }
}

/// A version with its texts.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = TemplateVersionDetail)]
struct VersionDetail {
    #[serde(flatten)]
    version: VersionView,
    /// Subject of an email, title of a push.
    subject: String,
    /// The message, with variables.
    body: String,
    /// The channel.
    channel: Channel,
    /// The audience.
    target: Target,
    /// Only for this type of event.
    event_type: Option<String>,
    /// Only for this type of service.
    service_type: Option<Id>,
    /// Only for this subtype.
    subtype: Option<Id>,
    /// Only in this phase.
    phase: Option<Id>,
    /// Only for this workshop.
    taller_id: Option<String>,
    /// Wins over a template that fits as well.
    is_default: bool,
}

impl From<Version> for VersionDetail {
    fn from(version: Version) -> Self {
        Self {
            version: VersionView::from(&version),
            subject: version.subject,
            body: version.body,
            channel: version.channel,
            target: version.target,
            event_type: version.event_type,
            service_type: version.service_type_id,
            subtype: version.subtype_id,
            phase: version.phase_id,
            taller_id: version.taller_id,
            is_default: version.is_default,
        }
    }
}

/// What is not the same in two versions.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = TemplateDiff)]
struct DiffView {
    /// The version that came before; null when this is the first.
    from: Option<i32>,
    /// This version.
    to: i32,
    /// The fields that differ.
    changes: Vec<FieldChange>,
    /// The lines of the subject; empty when it is the same.
    subject: Vec<Line>,
    /// The lines of the message; empty when it is the same.
    body: Vec<Line>,
}

impl DiffView {
    fn of(before: Option<&Version>, after: &Version) -> Self {
        let changes = versions::changed_fields(before, after);
        let lines = |field: &str, text: fn(&Version) -> &str| -> Vec<Line> {
            if changes.iter().all(|(changed, ..)| *changed != field) {
                return Vec::new();
            }
            versions::lines(before.map(text).unwrap_or_default(), text(after)).into_iter().map(Line::from).collect()
        };
        Self {
            from: before.map(|version| version.version),
            to: after.version,
            subject: lines("subject", |version| &version.subject),
            body: lines("body", |version| &version.body),
            changes: changes
                .iter()
                .map(|(field, before, after)| FieldChange { field, before: before.clone(), after: after.clone() })
                .collect(),
        }
    }
}

/// A field that differs.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = TemplateFieldChange)]
struct FieldChange {
    /// Its name.
    #[schema(examples("is_active"))]
    field: &'static str,
    /// What it held; null where there was nothing.
    before: Value,
    /// What it holds.
    after: Value,
}

/// A line of a text.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = TemplateDiffLine)]
struct Line {
    /// What became of it.
    change: LineChange,
    /// Its text.
    text: String,
}

impl From<DiffLine> for Line {
    fn from(line: DiffLine) -> Self {
        Self { change: line.change, text: line.text }
    }
}

/// Where a template is used.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = TemplateUsage)]
struct UsageView {
    /// The cells of the matrix that name it, or for which it fits best.
    cells: Vec<CellUse>,
    /// The templates that fit where it fits best, and lose against it; the best first.
    beats: Vec<Rival>,
    /// The templates that win against it even there.
    loses_to: Vec<Rival>,
}

impl UsageView {
    fn of(template: &Template, catalogue: &Catalogue) -> Self {
        let (beats, loses_to) = catalogue.rivals(template);
        let rivals =
            |found: &[&Template]| found.iter().map(|one| Rival { id: one.id, name: one.name.clone() }).collect();
        Self {
            cells: catalogue.uses(template).iter().map(|one| CellUse::of(one, catalogue)).collect(),
            beats: rivals(&beats),
            loses_to: rivals(&loses_to),
        }
    }
}

/// A cell that a template is used in.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = TemplateCellUse)]
struct CellUse {
    /// The matrix.
    config_id: Id,
    /// Its type or subtype of service.
    service_type_id: Id,
    /// Its name.
    service_type_name: Option<String>,
    /// Only for events of this subtype; null for all.
    subtype_id: Option<Id>,
    /// Its audience.
    target: Target,
    /// Its workshop; null for all that have none of their own.
    taller_id: Option<String>,
    /// The phase.
    phase_id: Id,
    /// Its name.
    phase_name: Option<String>,
    /// The channel.
    channel: Channel,
    /// Whether the matrix and the cell are in use.
    enabled: bool,
    /// `named`: the cell names the template; `best_match`: it fits best.
    #[schema(examples("best_match"))]
    how: &'static str,
    /// Whether it is what the cell sends. A template that is named and not in use is not.
    is_sent: bool,
}

impl CellUse {
    fn of(one: &Use<'_>, catalogue: &Catalogue) -> Self {
        let phase = catalogue.phases.iter().find(|phase| phase.id == one.cell.phase_id);
        Self {
            config_id: one.config.id,
            service_type_id: one.config.service_type_id,
            service_type_name: catalogue.service(one.config.service_type_id).map(|service| service.name.clone()),
            subtype_id: one.subtype_id,
            target: one.config.target,
            taller_id: one.config.taller_id.clone(),
            phase_id: one.cell.phase_id,
            phase_name: phase.map(|phase| phase.name.clone()),
            channel: one.cell.channel,
            enabled: one.config.is_active && one.cell.enabled,
            how: if one.is_named { "named" } else { "best_match" },
            is_sent: one.is_sent,
        }
    }
}

/// Another template for the same place.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = TemplateRival)]
struct Rival {
    /// Its id.
    id: Id,
    /// How staff call it.
    name: String,
}
