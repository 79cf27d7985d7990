//! Reminders in the console: the agenda, the dry run, and what is done about one.

use recado_notifications::jobs::CheckMaintenanceReminders;
use recado_notifications::reminders::{self, Status};
use serde_json::{Value, json};

use crate::harness::app::{App, at, seconds};
use crate::harness::pair::story;

const PATH: &str = "/admin/reminders/";

impl App {
    async fn due_on(&self, car: &str, day: &str, what: &str) -> String {
        self.add_reminder(&json!({
            "vehicle": car, "type": "date", "description": what, "target_date": day, "notify_before_days": 0
        }))
        .await
    }

    async fn statuses(&self) -> Vec<String> {
        let filter = reminders::ReminderFilter::default();
        let (all, _) = reminders::list(&mut self.begin().await, &filter, 100, 0).await.expect("they are read");
        let mut statuses: Vec<String> = all.iter().map(|one| format!("{} {}", one.description, one.status)).collect();
        statuses.sort_unstable();
        statuses
    }
}

/// The mornings of an agenda with what is announced on each.
fn mornings(page: &str) -> Vec<String> {
    let days = page.split("class=\"morning\"><h2>").skip(1).map(|day| {
        let name = day.split(" <span").next().unwrap_or_default();
        let names = day.split("</section>").next().unwrap_or_default().split("/admin/reminders/").skip(1);
        let names = names.filter_map(|rest| rest.split('>').nth(1)?.split('<').next());
        format!("{name}: {}", names.collect::<Vec<_>>().join(", "))
    });
    days.collect()
}

// 2026-03-29 is the Sunday on which Madrid sets its clocks forward. Each reminder stands on its own morning, at eight there.
story!(the_agenda_keeps_its_mornings_when_clocks_change, [("TIME_ZONE", "Europe/Madrid")], async |app: &App| {
    let car = app.know_the_car(9_000).await;
    let now = app.clock.now();
    app.clock.advance(at("2026-03-27T22:30:00Z").since(now));
    for (day, what) in [
        ("2026-03-28", "sábado"),
        ("2026-03-29", "domingo"),
        ("2026-03-30", "lunes"),
        ("2026-04-27", "lejos"),
        ("2026-02-01", "antes"),
    ] {
        app.due_on(&car, day, what).await;
        app.clock.advance(seconds(1));
    }
    app.add_reminder(
        &json!({"vehicle": car, "type": "kilometers", "description": "odómetro", "target_kilometers": 9_100}),
    )
    .await;
    app.add_reminder(
        &json!({"vehicle": car, "type": "kilometers", "description": "luego", "target_kilometers": 90_000}),
    )
    .await;
    let page = app.operator("viewer").await.page(PATH).await;
    assert_eq!(
        mornings(&page),
        ["Sat 28 Mar 2026: odómetro, antes, sábado", "Sun 29 Mar 2026: domingo", "Mon 30 Mar 2026: lunes"]
    );
    // Eight in the morning is an hour earlier by the clock that never changes.
    for moment in ["2026-03-28T07:00:00.000Z", "2026-03-29T06:00:00.000Z", "2026-03-30T06:00:00.000Z"] {
        assert!(page.contains(&format!("datetime=\"{moment}\"")), "{moment} in {page}");
    }
    assert!(page.contains("waits since before"), "{page}");
    let agenda = app.get("/api/v1/notifications/reminders/agenda/?days=2").await.must_be(200);
    let days: Vec<&Value> = agenda["mornings"].as_array().expect("mornings").iter().map(|one| &one["day"]).collect();
    assert_eq!(days, ["2026-03-28", "2026-03-29"], "of today's eight o'clock nothing is left: {agenda}");
});

// What the dry run says of the next morning is what is sent then.
story!(the_dry_run_is_what_is_sent, async |app: &App| {
    let car = app.know_the_car(9_000).await;
    app.sync_customer(&json!({"customer_id": "nobody", "name": "Sin Nada"})).await;
    app.sync_vehicle(&json!({"customer_id": "nobody", "plate": "NADA", "brand": "Haval", "model": "H6"})).await;
    let found = app.get("/api/v1/notifications/vehicles/?plate=NADA").await.must_be(200);
    let unreachable = found["results"][0]["id"].as_str().expect("an id").to_owned();
    app.due_on(&car, "2026-01-21", "mañana").await;
    app.due_on(&car, "2026-01-22", "pasado").await;
    app.due_on(&unreachable, "2026-01-21", "nadie").await;
    let page = app.operator("operator").await.page(&format!("{PATH}dry-run/")).await;
    assert!(page.contains("Wed 21 Jan 2026") && page.contains("2 due, 1 would be sent."), "{page}");
    for said in [
        "mañana",
        "nadie",
        "reaches no one",
        "c***@example.com",
        "<b>push</b>: ",
        "/admin/schedules/check_maintenance_reminders/",
    ] {
        assert!(page.contains(said), "{said} in {page}");
    }
    assert!(!page.contains("pasado") && !page.contains("carlos@example.com"), "{page}");
    let told = app.get("/api/v1/notifications/reminders/dry-run/").await.must_be(200);
    let channels: Vec<String> = told["reminders"]
        .as_array()
        .expect("reminders")
        .iter()
        .map(|one| one["preview"]["messages"].as_array().map_or(0, Vec::len).to_string())
        .collect();
    assert_eq!(channels.iter().filter(|count| *count == "2").count(), 1, "{told}");
    assert!(
        app.mails().is_empty() && app.statuses().await.iter().all(|one| one.ends_with("pending")),
        "nothing is sent"
    );

    let wait = at("2026-01-21T13:00:00Z").since(app.clock.now());
    app.clock.advance(wait);
    app.enqueue(&CheckMaintenanceReminders {}).await;
    app.drain().await;
    assert_eq!(app.statuses().await, ["mañana notified", "nadie pending", "pasado pending"]);
    let mails = app.mails();
    assert_eq!(mails.len(), 1);
    let subject = &told["reminders"]
        .as_array()
        .expect("reminders")
        .iter()
        .find_map(|one| one["preview"]["messages"][0]["subject"].as_str().map(str::to_owned));
    assert_eq!(mails[0].header("Subject").map(str::to_owned), *subject, "its words too");
});

// Done and skipped can be undone; a form changes the rest, and moves its morning.
story!(a_reminder_is_written_changed_done_and_skipped, async |app: &App| {
    let car = app.know_the_car(9_000).await;
    let editor = app.operator("editor").await;
    let form = [
        ("vehicle", car.as_str()),
        ("kind", "date"),
        ("description", "aceite"),
        ("target_date", "2026-02-10"),
        ("notify_before_days", "7"),
        ("notify_before_km", "500"),
        ("notify_via", "email"),
    ];
    let page = editor.post_and_follow(PATH, &form).await;
    assert!(page.contains("The reminder is written.") && page.contains("Tue 3 Feb 2026"), "{page}");
    let mut forms = page.split("action=\"/admin/reminders/").filter_map(|rest| rest.split('"').next());
    let there = forms.find_map(|action| action.strip_suffix("complete/"));
    let there = format!("{PATH}{}", there.expect("its own address"));
    app.clock.advance(seconds(1));
    let mut later = form;
    later[3].1 = "2026-02-20";
    let page = editor.post_and_follow(&there, &later).await;
    assert!(page.contains("Fri 13 Feb 2026"), "{page}");
    assert!(editor.undo(&page).await.contains("Tue 3 Feb 2026"));
    for (act, status) in [("complete", Status::Completed), ("cancel", Status::Cancelled)] {
        let page = editor.post_and_follow(&format!("{there}{act}/"), &[]).await;
        assert_eq!(app.statuses().await, [format!("aceite {status}")]);
        assert!(mornings(&editor.page(PATH).await).is_empty());
        editor.undo(&page).await;
        assert_eq!(app.statuses().await, ["aceite pending"]);
    }
    assert_eq!(app.acts("reminder").await, ["cancel", "change", "change", "complete", "create", "reopen", "reopen"]);
    let wrong = editor.post(PATH, &[("vehicle", "x"), ("kind", "both"), ("target_date", "mañana")]).await;
    assert!(wrong.status == 422 && wrong.text.contains("There is no vehicle with this id."), "{}", wrong.text);
    assert!(editor.page(&format!("{PATH}?status=pending")).await.contains("aceite"));
    assert!(!editor.page(&format!("{PATH}?status=overdue")).await.contains("aceite"));
    let viewer = app.operator("viewer").await;
    assert!(!viewer.page(&there).await.contains(&format!("action=\"{there}complete/")));
    assert_eq!(viewer.post(&format!("{there}complete/"), &[]).await.status, 403);
});
