//! Vehicles in the console.

use recado_notifications::vehicles;

use crate::harness::app::{App, seconds};
use crate::harness::pair::story;

const PATH: &str = "/admin/vehicles/";

story!(a_vehicle_is_found_changed_and_deleted, async |app: &App| {
    let car = app.know_the_car(9_000).await;
    app.sql("update vehicles set vehicle_id = 'v-1001'").await;
    let editor = app.operator("editor").await;
    for (search, is_found) in
        [("bc12", true), ("ABC123", true), ("v-1", true), ("a", true), ("xyz", false), ("%", false)]
    {
        let query = url::form_urlencoded::Serializer::new(String::new()).append_pair("search", search).finish();
        assert_eq!(editor.page(&format!("{PATH}?{query}")).await.contains(&car), is_found, "{search}");
    }
    let there = format!("{PATH}{car}/");
    app.clock.advance(seconds(1));
    let form = [
        ("customer_id", "customer-001"),
        ("plate", "xyz999"),
        ("brand", "Haval"),
        ("model", "H6"),
        ("current_kilometers", "12000"),
    ];
    let page = editor.post_and_follow(&there, &form).await;
    let found = async |plate: &str| vehicles::find_by_plate(&mut app.begin().await, plate).await.expect("it is read");
    assert_eq!(found("XYZ999").await.and_then(|car| car.current_kilometers), Some(12_000));
    editor.undo(&page).await;
    assert_eq!(found("ABC123").await.and_then(|car| car.current_kilometers), Some(9_000));
    let mut wrong = form;
    (wrong[0].1, wrong[4].1) = ("nobody", "many");
    let answer = editor.post(&there, &wrong).await;
    assert!(answer.status == 422 && answer.text.contains("Not a whole number."), "{}", answer.text);

    let delete = format!("{there}delete/");
    assert_eq!(editor.post(&delete, &[("typed", "ABC")]).await.status, 422);
    assert!(editor.post_and_follow(&delete, &[("typed", "abc123")]).await.contains("The vehicle is deleted."));
    let page = editor.post_and_follow(PATH, &form).await;
    assert!(page.contains("The vehicle is written."), "{page}");
    editor.undo(&page).await;
    assert!(found("XYZ999").await.is_none());
    assert_eq!(app.acts("vehicle").await, ["change", "change", "create", "delete", "delete"]);
    for entry in app.history("vehicle").await {
        assert!(!format!("{:?} {:?}", entry.before, entry.after).contains("ABC123"), "a plate names a person");
    }
    assert_eq!(app.operator("viewer").await.post(PATH, &form).await.status, 403);
});
