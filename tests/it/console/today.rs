//! How things are, at a glance.

use recado_queue::lanes::SYNC;

use crate::harness::app::App;
use crate::harness::pair::story;
use crate::harness::sample;

story!(the_day_begins_with_what_is_wrong_and_what_to_do, async |app: &App| {
    app.leave_work();
    app.know_carlos().await;
    app.accepted(&sample::event()).await;
    let viewer = app.operator("viewer").await;
    let page = viewer.page("/admin/").await;
    let first =
        page.split("<p class=\"large\">").nth(1).and_then(|rest| rest.split("</p>").next()).expect("a sentence");
    assert!(first.starts_with("No worker reads"), "{first}");
    for said in [
        "does not work",
        "Start `recado worker -Q notifications.email`.",
        "To the workers",
        "notifications.email",
        "1 waiting",
    ] {
        assert!(page.replace("&#96;", "`").contains(said), "{said} in {page}");
    }
    assert!(!page.contains("carlos@"), "no address: {page}");

    app.sql(
        "insert into workers (id, queues, concurrency, held, version, started_at, seen_at, running, running_tasks, clock_ahead_ms)
         select 'host:1:a', 'notifications,webhooks,crm,conversations,partners,sync,maintenance', 1, 0, '0', created_at, created_at, 0, '[]', 0
         from schedules where name = 'cleanup'",
    )
    .await;
    let operator = app.operator("operator").await;
    operator.post_and_follow("/admin/queues/pause/", &[("queue", "sync"), ("reason", "cambio")]).await;
    let page = operator.page("/admin/").await;
    assert!(page.contains("Everything works but for what somebody stopped."), "{page}");
    assert!(page.contains("somebody wished it") && page.contains("/admin/queues/sync/resume/"), "{page}");
});

story!(the_figures_of_a_window_are_drawn_and_told, async |app: &App| {
    let viewer = app.operator("viewer").await;
    for odd in ["?window=60m", "?window=24h", "?window=30d", "?window=year"] {
        assert!(viewer.page(&format!("/admin/{odd}")).await.contains("Nothing happened in this time."), "{odd}");
    }
    app.context.samples.accepted(SYNC, 4);
    app.context.samples.write(&app.context.db, true).await.expect("they are written");
    let page = viewer.page("/admin/").await;
    assert!(page.contains("tasks accepted: at most 4") && page.contains("<path d=\"M"), "{page}");
    assert!(!page.contains("Nothing happened in this time."), "{page}");
});

// The stream begins with all that the page watches.
story!(the_page_of_today_is_live, async |app: &App| {
    let viewer = app.operator("viewer").await;
    let request = viewer.request(reqwest::Method::GET, "/admin/live?topics=findings&topics=queues&topics=figures");
    let mut answer = request.send().await.expect("it answers");
    let mut said = String::new();
    while !["#findings", "#lanes", "#figures"].iter().all(|place| said.contains(place)) {
        said.push_str(&String::from_utf8_lossy(&answer.chunk().await.expect("it goes on").expect("more")));
    }
    assert!(said.contains("No worker reads") && said.contains("tasks accepted"), "{said}");
});
