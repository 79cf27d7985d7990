//! What a workshop starts with.

use recado_notifications::seed::{self, Totals};
use recado_notifications::templates;
use serde_json::json;

use crate::harness::app::App;
use crate::harness::pair::story;

impl App {
    async fn load_seed(&self, force: bool) {
        let mut session = self.begin().await;
        seed::load(&mut session, force, self.clock.now()).await.expect("the seed loads");
        session.commit().await.expect("it is committed");
    }

    async fn totals(&self) -> Totals {
        seed::totals(&mut self.begin().await).await.expect("they are counted")
    }

    async fn phase_names(&self) -> Vec<String> {
        let catalogue = self.get("/api/v1/notifications/catalog/").await.must_be(200);
        let phases = catalogue["phases"].as_array().expect("a list");
        phases.iter().map(|phase| phase["name"].as_str().expect("a name").to_owned()).collect()
    }
}

// S002-51: the totals of the document; a second run changes nothing.
story!(the_seed_has_its_totals, async |app: &App| {
    let totals = app.totals().await;
    let Totals { phases, service_types, subtypes, templates, configurations, cells, schedules } = totals;
    assert_eq!((phases, service_types, subtypes, configurations, cells, schedules), (5, 5, 6, 10, 150, 4));
    assert!(templates >= 40, "{templates}");
    app.load_seed(false).await;
    assert_eq!(app.totals().await, totals);
});

// S002-51: without --force what staff changed stays; with it the seed's own rows are made again, and only those.
story!(force_makes_the_seed_anew, async |app: &App| {
    let totals = app.totals().await;
    app.sql("update service_phases set name = 'Cita' where slug = 'phase-schedule'").await;
    app.sql("delete from phase_channel_configs where channel = 'push'").await;
    app.sql("update templates set body = 'nuestro', is_seed = false where name = 'Cita agendada (clientes, push)'")
        .await;

    app.load_seed(false).await;
    assert_eq!(app.phase_names().await[0], "Cita");
    app.load_seed(true).await;
    assert_eq!(app.phase_names().await[0], "Agendar Cita");
    assert_eq!(app.totals().await, totals);
    let mut session = app.begin().await;
    let templates = templates::all(&mut session).await.expect("they are read");
    assert!(templates.iter().any(|template| template.body == "nuestro"), "what staff made their own stays");
});

// S002-2, S002-47, S002-48: the catalogue, in the document's order and words.
story!(the_catalogue_is_the_documents, async |app: &App| {
    let expected = json!({
        "service_types": [
            {"slug": "mantenimiento-preventivo", "name": "Mantenimiento Preventivo", "icon": "Settings"},
            {"slug": "averia-revision", "name": "Avería/Revisión", "icon": "AlertTriangle", "subtypes": [
                {"slug": "averia-frenos", "name": "Frenos", "icon": "Circle"},
                {"slug": "averia-diagnostico", "name": "Diagnóstico", "icon": "Search"},
                {"slug": "averia-alineacion", "name": "Alineación", "icon": "Crosshair"}
            ]},
            {"slug": "colision-pintura", "name": "Colisión/Pintura", "icon": "SprayCan", "subtypes": [
                {"slug": "colision-siniestro", "name": "Siniestro", "icon": "ShieldAlert"},
                {"slug": "colision-golpe", "name": "Golpe", "icon": "Hammer"},
                {"slug": "colision-pintura", "name": "Pintura", "icon": "Paintbrush"}
            ]},
            {"slug": "avaluo-comercial", "name": "Avalúo Comercial", "icon": "BadgeDollarSign"},
            {"slug": "avaluo-mg", "name": "Avalúo MG", "icon": "BadgeCheck"}
        ],
        "phases": [
            {"slug": "phase-schedule", "name": "Agendar Cita", "icon": "Calendar", "order": 1},
            {"slug": "phase-reception", "name": "Recepción", "icon": "ClipboardCheck", "order": 2},
            {"slug": "phase-repair", "name": "Reparación", "icon": "Wrench", "order": 3},
            {"slug": "phase-quality", "name": "Control de Calidad", "icon": "ShieldCheck", "order": 4},
            {"slug": "phase-delivery", "name": "Entrega", "icon": "CarFront", "order": 5}
        ]
    });
    for path in ["/api/v1/notifications/catalog/", "/api/v1/notifications/catalog"] {
        assert_eq!(app.get(path).await.must_be(200), expected);
    }
});
