//! The CRM in the console: its mapping with a live example.

use crate::harness::app::App;
use crate::harness::pair::story;

const MAPPING: &str = "/admin/crm/mapping/";

/// The fields of the form, as the page shows them.
fn fields(page: &str) -> Vec<(String, String)> {
    let texts = page.split("<input name=\"").skip(1).filter_map(|rest| {
        let (name, rest) = rest.split_once("\" value=\"")?;
        Some((name.to_owned(), rest.split('"').next()?.to_owned()))
    });
    let areas = page.split("<textarea name=\"").skip(1).filter_map(|rest| {
        let (name, rest) = rest.split_once('"')?;
        Some((name.to_owned(), rest.split_once('>')?.1.split("</textarea>").next()?.to_owned()))
    });
    texts.chain(areas).collect()
}

story!(a_mapping_is_tried_on_an_example_saved_and_undone, async |app: &App| {
    let editor = app.operator("editor").await;
    let page = editor.page(MAPPING).await;
    assert!(page.contains("CRM-123") && page.contains("campo_opc"), "{page}");
    let send = async |path: &str, name: &str, value: &str| {
        let mut form = fields(&page);
        form.iter_mut().filter(|(known, _)| known == name).for_each(|(_, kept)| *kept = value.to_owned());
        let form: Vec<(&str, &str)> = form.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        editor.post(path, &form).await
    };
    let tried = send(&format!("{MAPPING}preview/"), "observaciones", "De {lead.nombre} & <b>").await;
    assert!(tried.status == 200 && tried.text.contains("De Juan P") && !tried.text.contains("<b>\""), "{}", tried.text);
    let wrong = send(MAPPING, "id_presencia_crm", "CRM").await;
    assert!(wrong.status == 422 && wrong.text.contains("id_presencia_crm-wrong"), "{}", wrong.text);
    assert_eq!(send(MAPPING, "observaciones", "Nueva {lead.nombre}").await.status, 303);
    assert!(editor.page(MAPPING).await.contains("Nueva {lead.nombre}"));
    assert_eq!(app.acts("crm_mapping").await, ["change"]);
    let operator = app.operator("operator").await;
    assert_eq!(operator.post(MAPPING, &[]).await.status, 403);
    for path in ["/admin/crm/appointments/", "/admin/crm/presences/"] {
        operator.page(path).await;
    }
});
