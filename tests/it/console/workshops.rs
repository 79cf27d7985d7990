//! Workshops in the console: what a page on which things are changed must do.

use recado_kernel::audit::{self, AuditFilter};
use recado_notifications::workshops::{self, Workshop};

use crate::harness::app::App;
use crate::harness::pair::story;

const PATH: &str = "/admin/workshops/";

const NORTH: [(&str, &str); 6] = [
    ("taller_id", "norte 1"),
    ("name", "Taller Norte"),
    ("is_active", "on"),
    ("email_enabled", "on"),
    ("quiet_from", "22:00"),
    ("quiet_until", "07:00"),
];

impl App {
    async fn workshop(&self, taller_id: &str) -> Option<Workshop> {
        workshops::find(&mut self.begin().await, taller_id).await.expect("it is read")
    }
}

/// The moment that a form holds, so that the second of two who change the same is told.
fn read_at(page: &str) -> String {
    let rest = page.split("name=\"read_at\" value=\"").nth(1).expect("the form holds the moment");
    rest.split('"').next().expect("a value").to_owned()
}

story!(a_workshop_is_made_changed_and_deleted_and_each_can_be_undone, async |app: &App| {
    let admin = app.operator("admin").await;
    let page = admin.post_and_follow(PATH, &NORTH).await;
    assert!(page.contains("The workshop is written.") && page.contains("22:00"), "{page}");
    let made = app.workshop("norte 1").await.expect("it is there");
    assert!(made.email_enabled && !made.whatsapp_enabled, "{made:?}");
    assert!(admin.page(PATH).await.contains("href=\"/admin/workshops/norte%201/\""));

    app.later(std::time::Duration::from_secs(1)).await;
    let there = format!("{PATH}norte%201/");
    let mut changed = NORTH.to_vec();
    changed[1].1 = "Norte & Co";
    let page = admin.post_and_follow(&there, &changed).await;
    assert!(page.contains("Norte &#38; Co") || page.contains("Norte &amp; Co"), "{page}");
    admin.undo(&page).await;
    let restored = app.workshop("norte 1").await.expect("it is there");
    assert_eq!((restored.name, restored.quiet_from), (made.name, made.quiet_from));

    let page = admin.post_and_follow(&format!("{there}delete/"), &[]).await;
    assert!(app.workshop("norte 1").await.is_none());
    admin.undo(&page).await;
    assert_eq!(app.workshop("norte 1").await.expect("it is back").name, "Taller Norte");

    let filter = AuditFilter { subject_kind: Some("workshop".to_owned()), ..AuditFilter::default() };
    let log = audit::page(&mut app.begin().await, &filter, None, 100).await.expect("the log is read");
    let mut actions: Vec<&str> = log.iter().map(|entry| entry.action.as_str()).collect();
    actions.sort_unstable();
    assert_eq!(actions, ["change", "change", "create", "create", "delete"]);
});

story!(a_wrong_form_is_shown_again_with_what_was_typed, async |app: &App| {
    let admin = app.operator("admin").await;
    admin.post_and_follow(PATH, &NORTH).await;
    let again = admin.post(PATH, &NORTH).await;
    assert!(again.status == 422 && again.text.contains("There is a workshop with this identifier already."));
    let wrong = [("taller_id", "a/b"), ("name", "<b>"), ("quiet_from", "25:61"), ("time_zone", "Quito")];
    let answer = admin.post(PATH, &wrong).await;
    assert_eq!(answer.status, 422);
    for said in ["value=\"a/b\"", "Not a time of day", "America/Guayaquil", "aria-invalid=\"true\""] {
        assert!(answer.text.contains(said), "{said} in {}", answer.text);
    }
    assert!(!answer.text.contains("<b>"), "{}", answer.text);
    assert!(app.workshop("a/b").await.is_none());
});

story!(the_second_of_two_who_change_a_workshop_sees_the_difference, async |app: &App| {
    let admin = app.operator("admin").await;
    let page = admin.post_and_follow(PATH, &NORTH).await;
    let there = format!("{PATH}norte%201/");
    let first_read = read_at(&page);
    app.later(std::time::Duration::from_secs(1)).await;
    let by = |name: &'static str, read_at: String| {
        let mut form: Vec<(&str, String)> = NORTH.iter().map(|(name, value)| (*name, (*value).to_owned())).collect();
        form[1].1 = name.to_owned();
        form.push(("read_at", read_at));
        form
    };
    let post = async |form: Vec<(&str, String)>| {
        let form: Vec<(&str, &str)> = form.iter().map(|(name, value)| (*name, value.as_str())).collect();
        admin.post(&there, &form).await
    };
    assert_eq!(post(by("Primero", first_read.clone())).await.status, 303);
    let second = post(by("Segundo", first_read)).await;
    assert_eq!(second.status, 422);
    assert!(
        second.text.contains("Somebody changed this") && second.text.contains("<del>Primero</del>"),
        "{}",
        second.text
    );
    assert_eq!(app.workshop("norte 1").await.expect("it is there").name, "Primero");
    assert_eq!(post(by("Segundo", read_at(&second.text))).await.status, 303);
    assert_eq!(app.workshop("norte 1").await.expect("it is there").name, "Segundo");
});

story!(only_an_administrator_changes_workshops, async |app: &App| {
    app.operator("admin").await.post_and_follow(PATH, &NORTH).await;
    let viewer = app.operator("viewer").await;
    let page = viewer.page(&format!("{PATH}norte%201/")).await;
    assert!(page.contains("disabled") && !page.contains("/delete/"), "{page}");
    assert_eq!(viewer.post(PATH, &NORTH).await.status, 403);
});
