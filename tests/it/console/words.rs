//! In which language the console speaks, where what it says comes from below its pages.

use crate::harness::app::{App, SECRET_KEY};
use crate::harness::browser::Browser;
use crate::harness::pair::story;

/// A form with a mistake, and what is said of it in English and in Spanish.
type Mistake<'m> = (&'m str, &'m [(&'m str, &'m str)], &'m str, &'m str);

const MISTAKES: [Mistake<'_>; 15] = [
    (
        "/admin/workshops/",
        &[("taller_id", "a/b"), ("name", "Norte")],
        "It may hold no slash",
        "No puede contener una barra",
    ),
    (
        "/admin/workshops/",
        &[("taller_id", "norte"), ("name", "Norte"), ("time_zone", "Ecuador/Quito")],
        "This is not a time zone of IANA",
        "No es una zona horaria de IANA",
    ),
    (
        "/admin/workshops/",
        &[("taller_id", "norte"), ("name", "Norte"), ("quiet_from", "22:00")],
        "Give both hours",
        "Indique ambas horas",
    ),
    (
        "/admin/customers/",
        &[("customer_id", "c1"), ("first_name", "Ana"), ("email", "ana")],
        "Email must have exactly one @",
        "El correo debe tener exactamente una @",
    ),
    (
        "/admin/customers/",
        &[("customer_id", "c1"), ("first_name", "Ana"), ("phone", "12")],
        "is not a number that can exist",
        "No es un número que pueda existir",
    ),
    (
        "/admin/vehicles/",
        &[("customer_id", "nobody"), ("plate", "ABC123"), ("brand", "Haval"), ("model", "H6")],
        "There is no customer with this customer_id",
        "No existe un cliente con este customer_id",
    ),
    (
        "/admin/vehicles/",
        &[
            ("customer_id", "customer-001"),
            ("plate", "ABC123"),
            ("brand", "Haval"),
            ("model", "H6"),
            ("image_url", "foto"),
        ],
        "Write a valid URL",
        "Introduzca una URL válida",
    ),
    (
        "/admin/reminders/",
        &[("kind", "date"), ("description", "")],
        "This field may not be blank.",
        "Este campo no puede estar en blanco.",
    ),
    (
        "/admin/providers/new/email/",
        &[("name", "smtp"), ("priority", "0"), ("settings.host", "smtp.example.com")],
        "It must be between 1 and 1000.",
        "Debe estar entre 1 y 1000.",
    ),
    ("/admin/keys/", &[("name", "crm")], "Choose at least one permission", "Indique al menos un permiso"),
    ("/admin/suppressions/", &[("channel", "push"), ("address", "x")], "Pushes have no address", "no tienen dirección"),
    (
        "/admin/partners/",
        &[("nombre", "ABC"), ("email", "a@b@c")],
        "Email must have exactly one @",
        "El correo debe tener exactamente una @",
    ),
    (
        "/admin/templates/",
        &[("name", "x"), ("channel", "email"), ("target", "clients"), ("body", "uno\n{% if Nombre %}")],
        "Line 2: `{% if %}` is not closed",
        "Línea 2: `{% if %}` no se cierra",
    ),
    (
        "/admin/try/",
        &[("event_type", "party"), ("customer_id", "customer-001")],
        "is not a valid choice",
        "no es una elección válida",
    ),
    ("/admin/crm/mapping/", &[("id_presencia_crm", "CRM")], "must contain {id}", "debe contener {id}"),
];

async fn refuses(browser: &Browser, is_english: bool) {
    for (path, fields, english, spanish) in MISTAKES {
        let answer = browser.post(path, fields).await;
        assert_eq!(answer.status, 422, "{path}: {}", answer.text);
        let (said, silent) = if is_english { (english, spanish) } else { (spanish, english) };
        assert!(answer.text.contains(said) && !answer.text.contains(silent), "{path}: {said}: {}", answer.text);
    }
}

// The API tells the same mistakes in Spanish; its own stories hold those words.
story!(a_form_says_what_is_wrong_in_the_language_of_its_reader, [SECRET_KEY], async |app: &App| {
    app.know_carlos().await;
    let browser = app.operator("admin").await;
    refuses(&browser, true).await;
    assert_eq!(browser.post("/admin/me/", &[("language", "es")]).await.status, 303);
    refuses(&browser, false).await;
});

// On a phone the filters are behind this line.
story!(a_list_says_how_many_filters_are_set, async |app: &App| {
    let browser = app.operator("viewer").await;
    for (path, said) in [
        ("/admin/tasks/", "<summary>Filters</summary>"),
        ("/admin/tasks/?state=dead&lane=&kind=&error=&window=day", "<summary>Filters: 1 is set</summary>"),
        ("/admin/notifications/?channel=email&status=failed&window=week", "<summary>Filters: 3 are set</summary>"),
        ("/admin/webhooks/endpoints/?search=a%26b", "<summary>Filters: 1 is set</summary>"),
    ] {
        let page = browser.page(path).await;
        let (before, after) = page.split_once(said).unwrap_or_else(|| panic!("no {said} on {path}: {page}"));
        assert!(before.ends_with("<details class=\"sift\">") && after.contains("</form></details>"), "{path}: {page}");
    }
});
