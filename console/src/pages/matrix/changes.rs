//! What changes: a review before it is written, writing it together, inheriting again, and taking it back.

use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;
use recado_kernel::audit;
use recado_kernel::db::Session;
use recado_kernel::ids::Id;
use recado_notifications::catalogue::Catalogue;
use recado_notifications::catalogue_version;
use recado_notifications::orchestration::{self, Cell, DeliveryMode, Matrix, Orchestration};
use recado_notifications::targets::Target;
use url::form_urlencoded;

use super::PATH;
use super::grid::page_of;
use super::staging::{Now, Place, Settings, Staged, form_of};
use crate::Console;
use crate::auth::{Edit, May};
use crate::failure::Failure;
use crate::form::Form;
use crate::notice::{Notice, then};
use crate::page::{Page, html, refused};
use crate::pages::texts::{matrix_path, service_name, service_path};
use crate::path::Path;

#[derive(askama::Template)]
#[template(path = "matrix/review.html")]
struct ReviewPage {
    page: Page,
    path: String,
    query: String,
    service: String,
    /// Whose matrix: a workshop, or all.
    taller_id: Option<String>,
    target: Target,
    /// It gets a matrix of its own with these changes.
    is_new: bool,
    changes: Vec<Change>,
    fields: Vec<(String, String)>,
}

struct Change {
    what: String,
    before: String,
    after: String,
}

/// Lists what a form stages, before it is written.
pub(crate) async fn review(
    may: May<Edit>,
    State(console): State<Arc<Console>>,
    Path(service): Path<String>,
    mut form: Form,
) -> Result<Response, Failure> {
    let catalogue = console.catalogue().await?;
    let place = Place::of_form(&catalogue, &service, &form)?;
    let now = Now::of(&place, &catalogue);
    let page = Page::new(&console, &may.visit, "matrix", "matrix-review");
    let staged = Staged::read(&mut form, &page, &place, &now, &catalogue);
    if form.is_ticked("back") {
        return html(&page_of(&console, &may, &catalogue, &place, &now, form));
    }
    form.find_conflicts(now.read_at(), &form_of(&place, &now, &catalogue));
    if form.is_wrong() {
        return refused(&page_of(&console, &may, &catalogue, &place, &now, form));
    }
    let changes = changes(&staged, &page, &now, &catalogue);
    html(&ReviewPage {
        path: service_path(&catalogue, place.service),
        query: place.query(),
        service: service_name(&catalogue, place.service.id).unwrap_or_default(),
        taller_id: place.taller_id.clone(),
        target: place.target,
        is_new: now.own.is_none(),
        changes,
        fields: form.fields().to_vec(),
        page,
    })
}

fn changes(staged: &Staged, page: &Page, now: &Now, catalogue: &Catalogue) -> Vec<Change> {
    let config = now.shown().map(|matrix| &matrix.config);
    let (mode, is_active) =
        config.map_or((DeliveryMode::default(), true), |config| (config.delivery_mode, config.is_active));
    let active = |is: bool| page.t(if is { "active" } else { "inactive" });
    let mut changes = Vec::new();
    if mode != staged.mode {
        let told = |mode: DeliveryMode| page.word("matrix-mode", mode);
        changes.push(Change { what: page.t("matrix-mode"), before: told(mode), after: told(staged.mode) });
    }
    if is_active != staged.is_active {
        changes.push(Change { what: page.t("state"), before: active(is_active), after: active(staged.is_active) });
    }
    let phase = |id: Id| catalogue.phases.iter().find(|phase| phase.id == id);
    changes.extend(staged.changed(now).into_iter().filter_map(|cell| {
        Some(Change {
            what: format!("{} · {}", phase(cell.phase_id)?.name, page.word("channel", cell.channel)),
            before: now.cell(cell.phase_id, cell.channel).told(page, catalogue),
            after: Settings::of(Some(cell)).told(page, catalogue),
        })
    }));
    changes
}

/// Writes what was reviewed, all of it or nothing.
pub(crate) async fn save(
    may: May<Edit>,
    State(console): State<Arc<Console>>,
    Path(service): Path<String>,
    mut form: Form,
) -> Result<Response, Failure> {
    let catalogue = console.catalogue().await?;
    let place = Place::of_form(&catalogue, &service, &form)?;
    let page = Page::new(&console, &may.visit, "matrix", "matrix-title");
    let mut session = console.context.db.begin().await?;
    catalogue_version::touch(&mut session).await?;
    let now = read_now(&mut session, &place, &catalogue).await?;
    let staged = Staged::read(&mut form, &page, &place, &now, &catalogue);
    form.find_conflicts(now.read_at(), &form_of(&place, &now, &catalogue));
    if form.is_wrong() {
        drop(session);
        return refused(&page_of(&console, &may, &catalogue, &place, &now, form));
    }
    let undo = write(&mut session, &may, &place, &now, staged).await?;
    session.commit().await?;
    let there = place.path(&catalogue);
    Ok(match undo {
        Undo::Entry(entry) => then(&there, &Notice::new("matrix-saved", 1).undone_by(format!("{PATH}undo/{entry}/"))),
        Undo::Inherit => {
            let fields =
                [("target", place.target.as_str()), ("taller_id", place.taller_id.as_deref().unwrap_or_default())];
            let query = form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish();
            let undo = format!("{}inherit/?{query}", service_path(&catalogue, place.service));
            then(&there, &Notice::new("matrix-made", 1).undone_by(undo))
        }
        Undo::Nothing => then(&there, &Notice::new("matrix-same", 0)),
    })
}

/// The matrix as this transaction sees it: the catalogue in memory may be a moment older.
async fn read_now(session: &mut Session, place: &Place<'_>, catalogue: &Catalogue) -> Result<Now, Failure> {
    let taller_id = place.taller_id.as_deref();
    let own = orchestration::find_own(session, place.service.id, place.target, taller_id).await?;
    let own = match own {
        Some(config) => Matrix::find(session, config.id).await?,
        None => None,
    };
    Ok(Now { own, ..Now::of(place, catalogue) })
}

enum Undo {
    Entry(Id),
    /// Its own matrix is taken away again.
    Inherit,
    Nothing,
}

async fn write(
    session: &mut Session,
    may: &May<Edit>,
    place: &Place<'_>,
    now: &Now,
    staged: Staged,
) -> Result<Undo, Failure> {
    let (actor, at) = (may.visit.actor(), may.visit.now);
    let changed: Vec<Cell> = staged.changed(now).into_iter().cloned().collect();
    let Staged { mode, is_active, cells } = staged;
    let Some(own) = &now.own else {
        let config = Orchestration {
            id: cells.first().map_or_else(|| Id::new(at), |cell| cell.config_id),
            service_type_id: place.service.id,
            target: place.target,
            taller_id: place.taller_id.clone(),
            is_active,
            description: String::new(),
            delivery_mode: mode,
            created_at: at,
            updated_at: at,
        };
        orchestration::make(session, &Matrix { config, cells }, &actor, at).await?;
        return Ok(Undo::Inherit);
    };
    let config = Orchestration { is_active, delivery_mode: mode, ..own.config.clone() };
    let is_same = own.config.is_active == is_active && own.config.delivery_mode == mode;
    if is_same && changed.is_empty() {
        return Ok(Undo::Nothing);
    }
    let after = Matrix { config, cells: changed };
    Ok(Undo::Entry(orchestration::save(session, own, &after, &actor, at).await?))
}

/// Takes a matrix away, so that what it inherits counts again.
pub(crate) async fn inherit(
    may: May<Edit>,
    State(console): State<Arc<Console>>,
    Path(service): Path<String>,
    form: Form,
) -> Result<Response, Failure> {
    let catalogue = console.catalogue().await?;
    let place = Place::of_form(&catalogue, &service, &form)?;
    let mut session = console.context.db.begin().await?;
    catalogue_version::touch(&mut session).await?;
    let taller_id = place.taller_id.as_deref();
    let own = orchestration::find_own(&mut session, place.service.id, place.target, taller_id).await?;
    let own = own.ok_or(Failure::NotFound)?;
    let entry = orchestration::delete(&mut session, own.id, &may.visit.actor(), may.visit.now).await?;
    session.commit().await?;
    let notice = Notice::new("matrix-inherits", 1);
    let notice = match entry {
        Some(entry) => notice.undone_by(format!("{PATH}undo/{entry}/")),
        None => notice,
    };
    Ok(then(&place.path(&catalogue), &notice))
}

/// Gives a matrix back as it was before an entry of the audit log.
pub(crate) async fn undo(
    may: May<Edit>,
    State(console): State<Arc<Console>>,
    Path(entry): Path<Id>,
) -> Result<Response, Failure> {
    let catalogue = console.catalogue().await?;
    let mut session = console.context.db.begin().await?;
    catalogue_version::touch(&mut session).await?;
    let entry = audit::find(&mut session, entry).await?.ok_or(Failure::NotFound)?;
    let given_back = orchestration::give_back(&mut session, &entry, &may.visit.actor(), may.visit.now).await?;
    let (config, entry) = given_back.ok_or(Failure::NotFound)?;
    session.commit().await?;
    let notice = Notice::new("matrix-undone", 1);
    let notice = match entry {
        Some(entry) => notice.undone_by(format!("{PATH}undo/{entry}/")),
        None => notice,
    };
    Ok(then(&matrix_path(&catalogue, &config), &notice))
}
