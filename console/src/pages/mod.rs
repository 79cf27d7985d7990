//! All URLs of the console on one page. A slash at their end makes no difference.
//!
//! The first argument of each handler says what it needs; `docs/console.md` has the table that comes of it.

mod account;
mod audit;
mod bulk;
mod failures;
mod live;
mod login;
mod matrix;
mod queues;
mod schedules;
mod search;
mod tasks;
mod template_preview;
mod template_tests;
mod template_versions;
mod templates;
mod texts;
mod today;
mod workers;
mod workshops;

use crate::assets;
use crate::auth::{Enter, May};
use crate::failure::Failure;
use crate::live::Topic;
use crate::routes::Routes;

pub(crate) fn all() -> Routes {
    Routes::default()
        .page("/admin", today::show)
        // Who one is
        .page("/admin/login", login::show)
        .action("/admin/login", login::log_in)
        .action("/admin/logout", login::log_out)
        .part("/admin/password/{token}", login::choose_password)
        .action("/admin/password/{token}", login::set_password)
        .page("/admin/me", account::show)
        .action("/admin/me", account::save)
        .action("/admin/me/sessions/{id}/end", account::end_session)
        // Messages
        .page("/admin/failures", failures::list)
        // Work
        .page("/admin/tasks", tasks::list)
        .part("/admin/tasks/count", tasks::count)
        .page("/admin/tasks/bulk", tasks::confirm_bulk)
        .action("/admin/tasks/bulk", tasks::start_bulk)
        .page("/admin/tasks/{id}", tasks::show)
        .action("/admin/tasks/{id}/retry", tasks::retry)
        .action("/admin/tasks/{id}/cancel", tasks::cancel)
        .page("/admin/queues", queues::list)
        .action("/admin/queues/pause", queues::pause)
        .action("/admin/queues/{name}/resume", queues::resume)
        .page("/admin/workers", workers::list)
        .action("/admin/workers/{id}/drain", workers::drain)
        .action("/admin/workers/{id}/take-back", workers::take_back)
        .page("/admin/schedules", schedules::list)
        .page("/admin/schedules/{name}", schedules::show)
        .action("/admin/schedules/{name}/run", schedules::run)
        .action("/admin/schedules/{name}/enable", schedules::enable)
        .action("/admin/schedules/{name}/disable", schedules::disable)
        .page("/admin/bulk", bulk::list)
        .page("/admin/bulk/{id}", bulk::show)
        .action("/admin/bulk/{id}/stop", bulk::stop)
        .action("/admin/bulk/{id}/resume", bulk::resume)
        // People
        // Texts
        .page("/admin/templates", templates::list)
        .action("/admin/templates", templates::create)
        .page("/admin/templates/new", templates::new)
        .action("/admin/templates/preview", templates::show_preview)
        .part("/admin/templates/frame", template_preview::frame)
        .action("/admin/templates/frame", template_preview::frame)
        .page("/admin/templates/{id}", templates::show)
        .action("/admin/templates/{id}", templates::save)
        .action("/admin/templates/{id}/enable", templates::enable)
        .action("/admin/templates/{id}/disable", templates::disable)
        .action("/admin/templates/{id}/delete", templates::delete)
        .action("/admin/templates/{id}/test", template_tests::send)
        .page("/admin/templates/tests/{id}", template_tests::show)
        .page("/admin/templates/{id}/versions", template_versions::list)
        .page("/admin/templates/{id}/versions/{version}", template_versions::show)
        .action("/admin/templates/{id}/versions/{version}/restore", template_versions::restore)
        .page("/admin/matrix", matrix::list)
        .page("/admin/matrix/{service}", matrix::show)
        .action("/admin/matrix/{service}", matrix::save)
        .action("/admin/matrix/{service}/review", matrix::review)
        .action("/admin/matrix/{service}/inherit", matrix::inherit)
        .action("/admin/matrix/undo/{entry}", matrix::undo)
        // Partners
        // WhatsApp
        // Developers
        // Settings
        .page("/admin/workshops", workshops::list)
        .action("/admin/workshops", workshops::create)
        .page("/admin/workshops/new", workshops::new)
        .page("/admin/workshops/{taller_id}", workshops::show)
        .action("/admin/workshops/{taller_id}", workshops::save)
        .action("/admin/workshops/{taller_id}/delete", workshops::delete)
        // Everything
        .page("/admin/search", search::find)
        .page("/admin/audit", audit::list)
        .part("/admin/audit/of/{kind}/{subject}", audit::history)
        // What pages are made of
        .part("/admin/live", live::stream)
        .part("/admin/assets/{file}", assets::asset)
        // No fallback: the API, which mounts this, has one
        .part("/admin/{*rest}", nothing_here)
}

/// What pages can watch.
pub(crate) const TOPICS: &[Topic] = &[
    today::FINDINGS,
    today::FIGURES,
    tasks::COUNTS,
    tasks::ONE,
    tasks::NEW,
    queues::LANES,
    workers::FLEET,
    bulk::ONE,
    template_tests::TEST,
];

async fn nothing_here(_: May<Enter>) -> Failure {
    Failure::NotFound
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use crate::auth::Needs;
    use crate::routes::Sort;

    use super::*;

    /// The table of docs/console.md is this one, so that a change of who may do what is seen. `UPDATE_DOCS=1` writes it.
    #[test]
    fn the_table_of_roles_is_in_the_document() {
        let mut table = String::from("| URL | what | needs |\n|---|---|---|\n");
        for entry in all().entries {
            let needs = match entry.needs {
                Needs::Nothing => "–",
                Needs::Login => "login",
                Needs::Role(role) => role.as_str(),
            };
            table.push_str(&format!("| `{} {}/` | {} | {needs} |\n", entry.method, entry.path, word(entry.sort)));
        }
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/console.md");
        let document = std::fs::read_to_string(path).expect("the document is there");
        let start = document.find("| URL | what | needs |").expect("the document has the table");
        let end = document[start..].find("\n\n").map_or(document.len(), |end| start + end + 1);
        if std::env::var_os("UPDATE_DOCS").is_some() {
            let written = [&document[..start], &table, &document[end..]].concat();
            std::fs::write(path, written).expect("the document is written");
            return;
        }
        assert_eq!(&document[start..end], table, "UPDATE_DOCS=1 cargo test -p recado-console writes it");
    }

    fn word(sort: Sort) -> &'static str {
        match sort {
            Sort::Page => "page",
            Sort::Part => "part",
            Sort::Action => "action",
        }
    }

    #[test]
    fn no_action_is_open_but_those_before_the_login() {
        let open: BTreeSet<&str> = all()
            .entries
            .into_iter()
            .filter(|entry| entry.sort == Sort::Action && entry.needs == Needs::Nothing)
            .map(|entry| entry.path)
            .collect();
        assert_eq!(open, BTreeSet::from(["/admin/login", "/admin/password/{token}"]));
    }

    #[test]
    fn topics_have_names_of_their_own() {
        let names: BTreeSet<&str> = TOPICS.iter().map(|topic| topic.name).collect();
        assert_eq!(names.len(), TOPICS.len());
    }
}
