//! All URLs of the console on one page. A slash at their end makes no difference.
//!
//! The first argument of each handler says what it needs; `docs/console.md` has the table that comes of it.

mod account;
mod audit;
mod bulk;
mod chats;
mod codes;
mod crm;
mod customer;
mod customers;
mod deliveries;
mod dry_run;
mod endpoints;
mod events;
mod experiences;
mod failures;
mod inbound;
mod inbox;
mod keys;
mod live;
mod login;
mod matrix;
mod notifications;
mod operators;
mod partners;
mod providers;
mod queues;
mod reminders;
mod requests;
mod schedules;
mod search;
mod signatures;
mod suppressions;
mod tasks;
mod template_preview;
mod template_tests;
mod template_versions;
mod templates;
mod texts;
mod today;
mod users;
mod vehicles;
mod views;
mod whatsapp;
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
        .part("/admin/me/codes", codes::show)
        .action("/admin/me/codes", codes::set_up)
        .action("/admin/me/codes/confirm", codes::confirm)
        .action("/admin/me/codes/forget", codes::forget)
        .part("/admin/views", views::of_page)
        .action("/admin/views", views::save)
        .action("/admin/views/{id}/delete", views::delete)
        // Messages
        .page("/admin/notifications", notifications::list)
        .part("/admin/notifications/count", notifications::count)
        .page("/admin/notifications/{id}", notifications::show)
        .part("/admin/notifications/{id}/html", notifications::html_of)
        .action("/admin/notifications/{id}/cancel", notifications::cancel)
        .action("/admin/notifications/{id}/resend", notifications::resend)
        .action("/admin/notifications/{id}/retry", notifications::retry)
        .action("/admin/notifications/{id}/reveal", notifications::reveal)
        .page("/admin/events/{correlation_id}", events::show)
        .page("/admin/failures", failures::list)
        .page("/admin/failures/{group}", failures::show)
        .page("/admin/failures/{group}/retry", failures::confirm)
        .action("/admin/failures/{group}/retry", failures::start)
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
        .action("/admin/schedules/{name}", schedules::save)
        .action("/admin/schedules/{name}/run", schedules::run)
        .action("/admin/schedules/{name}/enable", schedules::enable)
        .action("/admin/schedules/{name}/disable", schedules::disable)
        .page("/admin/bulk", bulk::list)
        .page("/admin/bulk/{id}", bulk::show)
        .action("/admin/bulk/{id}/stop", bulk::stop)
        .action("/admin/bulk/{id}/resume", bulk::resume)
        // People
        .page("/admin/customers", customers::list)
        .action("/admin/customers", customers::create)
        .page("/admin/customers/new", customers::new)
        .page("/admin/customers/{customer_id}", customer::show)
        .action("/admin/customers/{customer_id}", customers::save)
        .page("/admin/customers/{customer_id}/edit", customers::edit)
        .action("/admin/customers/{customer_id}/preferences", customer::arrange)
        .action("/admin/customers/{customer_id}/reveal", customer::reveal)
        .action("/admin/customers/{customer_id}/suppress", customer::suppress)
        .action("/admin/customers/{customer_id}/devices/{id}/remove", customer::remove_device)
        .action("/admin/customers/{customer_id}/delete", customer::delete)
        .action("/admin/customers/{customer_id}/erase", customer::erase)
        .page("/admin/vehicles", vehicles::list)
        .action("/admin/vehicles", vehicles::create)
        .page("/admin/vehicles/new", vehicles::new)
        .page("/admin/vehicles/{id}", vehicles::show)
        .action("/admin/vehicles/{id}", vehicles::save)
        .action("/admin/vehicles/{id}/delete", vehicles::delete)
        .page("/admin/reminders", reminders::list)
        .action("/admin/reminders", reminders::create)
        .page("/admin/reminders/new", reminders::new)
        .page("/admin/reminders/dry-run", reminders::dry_run)
        .page("/admin/reminders/{id}", reminders::show)
        .action("/admin/reminders/{id}", reminders::save)
        .action("/admin/reminders/{id}/complete", reminders::complete)
        .action("/admin/reminders/{id}/cancel", reminders::cancel)
        .action("/admin/reminders/{id}/reopen", reminders::reopen)
        .page("/admin/suppressions", suppressions::list)
        .action("/admin/suppressions", suppressions::create)
        .page("/admin/suppressions/new", suppressions::new)
        .action("/admin/suppressions/{id}/lift", suppressions::lift)
        .action("/admin/suppressions/{id}/restore", suppressions::restore)
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
        .page("/admin/partners", partners::list)
        .action("/admin/partners", partners::create)
        .page("/admin/partners/new", partners::new)
        .page("/admin/partners/{id}", partners::show)
        .action("/admin/partners/{id}", partners::save)
        .action("/admin/partners/{id}/state", partners::set_state)
        .action("/admin/partners/{id}/kyc", partners::verify)
        .action("/admin/partners/{id}/integrations", partners::integrate)
        .action("/admin/partners/{id}/integrations/{integration}/revoke", partners::revoke)
        .action("/admin/partners/{id}/rotate", partners::rotate)
        .action("/admin/partners/{id}/link", partners::link)
        .action("/admin/partners/{id}/revoke-links", partners::revoke_links)
        .action("/admin/partners/{id}/test", partners::test)
        .action("/admin/partners/{id}/delete", partners::delete)
        .page("/admin/webhooks/deliveries", deliveries::list)
        .part("/admin/webhooks/deliveries/count", deliveries::count)
        .page("/admin/webhooks/deliveries/{id}", deliveries::show)
        .action("/admin/webhooks/deliveries/{id}/replay", deliveries::replay)
        .page("/admin/webhooks/endpoints", endpoints::list)
        .page("/admin/webhooks/endpoints/{id}", endpoints::show)
        .action("/admin/webhooks/endpoints/{id}", endpoints::save)
        .action("/admin/webhooks/endpoints/{id}/pause", endpoints::pause)
        .action("/admin/webhooks/endpoints/{id}/resume", endpoints::resume)
        .action("/admin/webhooks/endpoints/{id}/test", endpoints::test)
        .page("/admin/webhooks/endpoints/{id}/replay", endpoints::confirm_replay)
        .action("/admin/webhooks/endpoints/{id}/replay", endpoints::replay)
        .page("/admin/webhooks/inbound", inbound::list)
        .page("/admin/webhooks/inbound/{id}", inbound::show)
        .page("/admin/crm/mapping", crm::show)
        .action("/admin/crm/mapping", crm::save)
        .action("/admin/crm/mapping/preview", crm::preview)
        .page("/admin/crm/appointments", crm::appointments)
        .page("/admin/crm/presences", crm::presences)
        .page("/admin/signatures", signatures::show)
        .action("/admin/signatures", signatures::look)
        // WhatsApp
        .page("/admin/whatsapp", whatsapp::show)
        .action("/admin/whatsapp/check", whatsapp::check)
        .action("/admin/whatsapp/restart", whatsapp::restart)
        .action("/admin/whatsapp/sync", whatsapp::sync)
        .page("/admin/conversations/chats", chats::list)
        .page("/admin/conversations/chats/{id}", chats::show)
        .action("/admin/conversations/chats/{id}/reveal", chats::reveal)
        .action("/admin/conversations/chats/{id}/send", chats::send)
        .action("/admin/conversations/chats/{id}/sync", chats::sync)
        .page("/admin/conversations/requests", requests::list)
        .page("/admin/conversations/requests/{id}", requests::show)
        .action("/admin/conversations/requests/{id}/reveal", requests::reveal)
        .action("/admin/conversations/requests/{id}/confirm", requests::confirm)
        .action("/admin/conversations/requests/{id}/reject", requests::reject)
        .action("/admin/conversations/requests/{id}/tell", requests::tell)
        .page("/admin/conversations/operators", operators::list)
        .page("/admin/conversations/operators/{id}", operators::show)
        .action("/admin/conversations/operators/{id}", operators::save)
        .action("/admin/conversations/operators/{id}/reveal", operators::reveal)
        .page("/admin/conversations/experiences", experiences::list)
        .page("/admin/conversations/experiences/{id}", experiences::show)
        .action("/admin/conversations/experiences/{id}", experiences::choose)
        // Developers
        .page("/admin/try", dry_run::show)
        .action("/admin/try", dry_run::run)
        .part("/admin/try/mail", dry_run::mail)
        .action("/admin/try/send", dry_run::send)
        .action("/admin/try/sample", dry_run::send_sample)
        .page("/admin/inbox", inbox::list)
        .page("/admin/inbox/{n}", inbox::show)
        .part("/admin/inbox/{n}/html", inbox::mail)
        .action("/admin/inbox/faults", inbox::set_fault)
        // Settings
        .page("/admin/workshops", workshops::list)
        .action("/admin/workshops", workshops::create)
        .page("/admin/workshops/new", workshops::new)
        .page("/admin/workshops/{taller_id}", workshops::show)
        .action("/admin/workshops/{taller_id}", workshops::save)
        .action("/admin/workshops/{taller_id}/delete", workshops::delete)
        .page("/admin/providers", providers::list)
        .page("/admin/providers/new/{channel}", providers::new)
        .action("/admin/providers/new/{channel}", providers::create)
        .part("/admin/providers/checks/{task}", providers::show_check)
        .action("/admin/providers/{channel}/{account}/check", providers::check)
        .page("/admin/providers/{id}", providers::show)
        .action("/admin/providers/{id}", providers::save)
        .action("/admin/providers/{id}/delete", providers::delete)
        .page("/admin/keys", keys::list)
        .action("/admin/keys", keys::create)
        .action("/admin/keys/{id}/revoke", keys::revoke)
        .page("/admin/users", users::list)
        .action("/admin/users", users::create)
        .page("/admin/users/{id}", users::show)
        .action("/admin/users/{id}/roles", users::save_roles)
        .action("/admin/users/{id}/reset", users::reset)
        .action("/admin/users/{id}/disable", users::disable)
        .action("/admin/users/{id}/enable", users::enable)
        .action("/admin/users/{id}/forget-codes", users::forget_codes)
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
    providers::CHECK,
    notifications::NEW,
    notifications::ONE,
    events::ONE,
    inbox::NEW,
    template_tests::TEST,
    deliveries::ONE,
    endpoints::ONE,
    whatsapp::SESSIONS,
    requests::ONE,
];

async fn nothing_here(_: May<Enter>) -> Failure {
    Failure::NotFound
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn topics_have_names_of_their_own() {
        let names: BTreeSet<&str> = TOPICS.iter().map(|topic| topic.name).collect();
        assert_eq!(names.len(), TOPICS.len());
    }
}
