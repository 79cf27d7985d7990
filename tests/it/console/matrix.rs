//! The matrix in the console: staged, reviewed, written together, and taken back.

use recado_kernel::audit::{self, AuditFilter};
use serde_json::{Value, json};

use crate::harness::app::{App, seconds};
use crate::harness::browser::Browser;
use crate::harness::pair::story;

const PATH: &str = "/admin/matrix/mantenimiento-preventivo/";
const WORKSHOP: &str = "/admin/matrix/mantenimiento-preventivo/?taller_id=norte";

/// The fields of the form as a browser would send them.
pub(super) fn fields(page: &str) -> Vec<(String, String)> {
    let form = page.split("id=\"matrix\"").nth(1).expect("the page has the form");
    let form = form.split("</form>").next().expect("a form");
    let attribute = |tag: &str, name: &str| {
        let rest = tag.split(&format!(" {name}=\"")).nth(1)?;
        rest.split('"').next().map(str::to_owned)
    };
    let mut fields = Vec::new();
    for piece in form.split('<') {
        let tag = piece.split('>').next().unwrap_or_default();
        let Some(name) = attribute(tag, "name") else { continue };
        if tag.starts_with("input") {
            let is_box = tag.contains("type=\"checkbox\"");
            if !is_box || tag.ends_with("checked") || tag.contains(" checked ") {
                fields.push((name, attribute(tag, "value").unwrap_or_else(|| "on".to_owned())));
            }
        } else if tag.starts_with("select") {
            let options = form.split(&format!("name=\"{name}\"")).nth(1).expect("it is there");
            let options = options.split("</select>").next().expect("an end");
            let mut options =
                options.split("<option").skip(1).map(|option| option.split('>').next().unwrap_or_default());
            let chosen = options.clone().find(|option| option.ends_with("selected")).or_else(|| options.next());
            fields.push((name, chosen.and_then(|option| attribute(option, "value")).unwrap_or_default()));
        }
    }
    fields
}

/// A form with some fields changed; one without a value is left out, as a box that is not ticked.
fn changed(form: &[(String, String)], changes: &[(&str, &str)]) -> Vec<(String, String)> {
    let mut form: Vec<(String, String)> =
        form.iter().filter(|(name, _)| changes.iter().all(|(changed, _)| changed != name)).cloned().collect();
    let set = changes.iter().filter(|(_, value)| !value.is_empty());
    form.extend(set.map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
    form
}

async fn post(browser: &Browser, path: &str, form: &[(String, String)]) -> crate::harness::answer::Answer {
    let form: Vec<(&str, &str)> = form.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    browser.post(path, &form).await
}

async fn save(browser: &Browser, form: &[(String, String)]) -> String {
    let form: Vec<(&str, &str)> = form.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    browser.post_and_follow(PATH, &form).await
}

impl App {
    /// A cell as the API tells it, of the general matrix or a workshop's.
    pub(super) async fn matrix_cell(&self, taller_id: &str, phase: &str, channel: &str) -> Value {
        let url = format!(
            "/api/v1/notifications/orchestration/?service_type_id=mantenimiento-preventivo&target=clients&taller_id={taller_id}"
        );
        let page = self.get(&url).await.must_be(200);
        let cells = page["results"][0]["phase_configs"].as_array().cloned().unwrap_or_default();
        let found = cells.into_iter().find(|cell| cell["phase_name"] == phase && cell["channel"] == channel);
        found.unwrap_or(Value::Null)
    }
}

story!(changes_of_a_matrix_are_staged_reviewed_saved_and_taken_back, async |app: &App| {
    let editor = app.operator("editor").await;
    assert!(editor.page("/admin/matrix/").await.contains(PATH));
    let page = editor.page(PATH).await;
    let form = changed(
        &fields(&page),
        &[
            ("phase-schedule.push.on", ""),
            ("phase-reception.whatsapp.receipt", "read"),
            ("phase-reception.whatsapp.wait", "10"),
            ("phase-reception.whatsapp.unit", "min"),
            ("mode", "all"),
        ],
    );
    let review = post(&editor, &format!("{PATH}review/"), &form).await;
    assert_eq!(review.status, 200, "{}", review.text);
    assert!(review.text.contains("Save 3 changes"), "{}", review.text);
    assert!(review.text.contains("without “read” in 10 min, the next"), "{}", review.text);
    assert!(
        review.text.contains("<ins>off · best match</ins>") && review.text.contains("all at once"),
        "{}",
        review.text
    );
    assert_eq!(app.matrix_cell("null", "Agendar Cita", "push").await["enabled"], true, "nothing is saved yet");
    let back = post(&editor, &format!("{PATH}review/"), &changed(&form, &[("back", "1")])).await;
    assert!(!fields(&back.text).iter().any(|(name, _)| name == "phase-schedule.push.on"), "what was staged stays");

    app.clock.advance(seconds(1));
    let saved = save(&editor, &form).await;
    assert!(saved.contains("The matrix is saved."), "{saved}");
    assert_eq!(app.matrix_cell("null", "Agendar Cita", "push").await["enabled"], false);
    let waits = app.matrix_cell("null", "Recepción", "whatsapp").await;
    assert_eq!((&waits["await_receipt"], &waits["await_seconds"]), (&json!("read"), &json!(600)));

    app.clock.advance(seconds(1));
    let undone = editor.undo(&saved).await;
    assert!(undone.contains("The matrix is as it was before."), "{undone}");
    assert_eq!(app.matrix_cell("null", "Agendar Cita", "push").await["enabled"], true);
    assert_eq!(app.matrix_cell("null", "Recepción", "whatsapp").await["await_receipt"], Value::Null);
    editor.undo(&undone).await;
    assert_eq!(app.matrix_cell("null", "Agendar Cita", "push").await["enabled"], false);

    let same = save(&editor, &fields(&editor.page(PATH).await)).await;
    assert!(same.contains("nothing has changed"), "{same}");
    let filter = AuditFilter { subject_kind: Some("orchestration".to_owned()), ..AuditFilter::default() };
    let log = audit::page(&mut app.begin().await, &filter, None, 10).await.expect("the log is read");
    assert_eq!(log.len(), 3);
    assert!(log.iter().all(|entry| entry.action == "change" && entry.actor == "editor-1"), "{log:?}");
    let before = log[0].before.as_ref().expect("what was before").0.to_string();
    assert!(before.contains("phase-schedule.push") && !before.contains("phase-repair"), "{before}");
});

story!(a_workshop_sees_what_it_inherits_and_may_inherit_again, async |app: &App| {
    let editor = app.operator("editor").await;
    let page = editor.page(WORKSHOP).await;
    assert!(page.contains("It has no matrix of its own") && page.contains("inherited"), "{page}");
    let form = changed(&fields(&page), &[("phase-schedule.push.on", "")]);
    let review = post(&editor, &format!("{PATH}review/"), &form).await.text;
    assert!(review.contains("With this it gets a matrix of its own"), "{review}");
    let made = save(&editor, &form).await;
    assert!(made.contains("It has a matrix of its own now.") && made.contains("1 cell differs"), "{made}");
    assert!(made.contains("would inherit: on"), "{made}");
    assert_eq!(app.matrix_cell("norte", "Agendar Cita", "push").await["enabled"], false);
    assert_eq!(app.matrix_cell("null", "Agendar Cita", "push").await["enabled"], true);
    assert!(editor.page("/admin/matrix/").await.contains("norte: 1 difference"));

    let undone = editor.undo(&made).await;
    assert!(undone.contains("uses the inherited matrix again"), "{undone}");
    assert_eq!(app.matrix_cell("norte", "Agendar Cita", "push").await, Value::Null);
    editor.undo(&undone).await;
    assert_eq!(
        app.matrix_cell("norte", "Agendar Cita", "push").await["enabled"],
        false,
        "what was deleted is given back"
    );
    assert_eq!(app.matrix_cell("norte", "Recepción", "email").await["enabled"], true);
});

story!(what_is_wrong_in_a_cell_is_told_there_and_nothing_is_saved, async |app: &App| {
    let editor = app.operator("editor").await;
    let form = fields(&editor.page(PATH).await);
    let wrong = [
        ("phase-schedule.push.on", ""),
        ("phase-schedule.whatsapp.receipt", "read"),
        ("phase-schedule.whatsapp.wait", "mucho"),
    ];
    for path in [format!("{PATH}review/"), PATH.to_owned()] {
        let refused = post(&editor, &path, &changed(&form, &wrong)).await;
        assert_eq!(refused.status, 422, "{path}");
        assert!(refused.text.contains("Not a whole number."), "{}", refused.text);
    }
    let template = app.get("/api/v1/notifications/templates/?channel=push&target=clients").await.must_be(200);
    let push = template["results"][0]["id"].as_str().expect("a template").to_owned();
    let refused = post(&editor, PATH, &changed(&form, &[("phase-schedule.email.template", &push)])).await;
    assert!(refused.status == 422 && refused.text.contains("for the channel push"), "{}", refused.text);
    assert_eq!(app.matrix_cell("null", "Agendar Cita", "push").await["enabled"], true);
    let gone = editor.get("/admin/matrix/nada/").await;
    assert_eq!(gone.status, 404);
});

story!(two_who_change_a_matrix_do_not_lose_each_other, async |app: &App| {
    let editor = app.operator("editor").await;
    let form = fields(&editor.page(PATH).await);
    app.clock.advance(seconds(1));
    save(&editor, &changed(&form, &[("phase-schedule.push.on", "")])).await;
    let second = post(&editor, PATH, &changed(&form, &[("phase-reception.push.on", "")])).await;
    assert_eq!(second.status, 422);
    assert!(
        second.text.contains("Somebody changed this") && second.text.contains("phase-schedule.push.on"),
        "{}",
        second.text
    );
    assert_eq!(app.matrix_cell("null", "Recepción", "push").await["enabled"], true);
});

story!(who_may_only_look_changes_no_matrix, async |app: &App| {
    let viewer = app.operator("viewer operator").await;
    let page = viewer.page(PATH).await;
    assert!(page.contains("<fieldset disabled>") && !page.contains("Review the changes"), "{page}");
    for path in [PATH.to_owned(), format!("{PATH}review/"), format!("{PATH}inherit/")] {
        assert_eq!(post(&viewer, &path, &[]).await.status, 403, "{path}");
    }
});
