//! Partners come, change, and go, and stay in the registry.

use futures::future::join_all;
use recado_kernel::sql;
use reqwest::Method;
use serde_json::{Value, json};

use crate::harness::answer::Answer;
use crate::harness::app::{App, seconds};
use crate::harness::pair::story;
use crate::harness::program::words;

pub(super) const PARTNERS: &str = "/api/v1/partners";

/// As the registry's own document registers one.
fn empresa_abc() -> Value {
    json!({
        "nombre": "Empresa ABC",
        "email": "contacto@empresaabc.com",
        "telefono": "+57 300 123 4567",
        "direccion": "Calle 123 #45-67, Bogotá"
    })
}

impl App {
    /// Registers a partner and returns its URL.
    pub(super) async fn partner(&self, name: &str) -> String {
        let body = json!({"nombre": name, "email": format!("{name}@example.com")});
        let created = self.post(PARTNERS, &body).await.must_be(201);
        format!("{PARTNERS}/{}", text(&created["partner"]["id"]))
    }

    async fn names(&self, query: &str) -> Vec<String> {
        let list = self.get(&format!("{PARTNERS}{query}")).await.must_be(200);
        let partners = list["partners"].as_array().expect("a list");
        partners.iter().map(|partner| text(&partner["nombre"])).collect()
    }
}

pub(super) fn text(value: &Value) -> String {
    value.as_str().unwrap_or_else(|| panic!("{value} is no text")).to_owned()
}

/// Refused in the registry's own words, and with nothing besides (S001-11).
#[track_caller]
pub(super) fn refused(answer: &Answer, status: u16, code: &str) -> String {
    let body = answer.json();
    assert_eq!((answer.status, body["codigo"].as_str()), (status, Some(code)), "{}", answer.text);
    assert_eq!(body.as_object().map(serde_json::Map::len), Some(2), "{body}");
    assert!(!answer.header("x-request-id").is_empty());
    text(&body["error"])
}

// S001-1, S001-10: active, and not verified yet.
story!(a_partner_is_registered, async |app: &App| {
    let created = app.post(PARTNERS, &empresa_abc()).await.must_be(201);
    let partner = &created["partner"];
    assert!(!text(&created["mensaje"]).is_empty());
    for (field, value) in empresa_abc().as_object().expect("fields") {
        assert_eq!(&partner[field], value, "{field}");
    }
    assert_eq!((&partner["estado"], &partner["estado_kyc"]), (&json!("ACTIVO"), &json!("PENDIENTE")));
    assert_eq!(partner["fecha_creacion"], "2026-01-20T14:30:00.000000Z");

    let least = json!({"nombre": " Uno ", "email": "uno@example.com"});
    let least = app.post("/api/v1/partners/", &least).await.must_be(201);
    assert_eq!((&least["partner"]["nombre"], &least["partner"]["telefono"]), (&json!("Uno"), &Value::Null));
    app.drain().await;
});

// S001-2, d22: all at once, unless somebody asks for less.
story!(partners_are_listed, async |app: &App| {
    let empty = app.get(PARTNERS).await.must_be(200);
    assert_eq!(empty, json!({"partners": [], "total": 0}));
    let mut urls = Vec::new();
    for name in ["uno", "dos", "tres", "cien_por_ciento"] {
        urls.push(app.partner(name).await);
        app.clock.advance(seconds(1));
    }
    app.post(&format!("{}/integraciones", urls[1]), &json!({"tipo": "BATCH", "nombre": "Lotes"})).await.must_be(201);
    app.put(&urls[2], &json!({"estado": "SUSPENDIDO"})).await.must_be(200);
    app.put(&format!("{}/kyc", urls[0]), &json!({"estado_kyc": "APROBADO"})).await.must_be(200);
    app.drain().await;

    let all = app.get(PARTNERS).await.must_be(200);
    let counts: Vec<_> =
        all["partners"].as_array().expect("a list").iter().map(|one| &one["integraciones_count"]).collect();
    assert_eq!((&all["total"], counts), (&json!(4), vec![&json!(0), &json!(1), &json!(0), &json!(0)]));
    assert_eq!(app.names("?estado=SUSPENDIDO").await, ["tres"]);
    assert_eq!(app.names("?estado_kyc=APROBADO").await, ["uno"]);
    assert_eq!(app.names("?nombre=dos").await, ["dos"]);
    assert_eq!(app.names("?search=TRES%40").await, ["tres"]);
    assert_eq!(app.names("?search=n_por").await, ["cien_por_ciento"], "a line below is no wildcard");
    assert_eq!(app.names("?search=nadie").await, [""; 0]);
    assert_eq!(app.names("?page=2&page_size=3").await, ["cien_por_ciento"]);
    assert_eq!(app.names("?page=9&page_size=3").await, [""; 0]);
    for (query, field) in
        [("?estado=BORRADO", "estado"), ("?page=0", "page"), ("?page_size=1001", "page_size"), ("?page=x", "page")]
    {
        let error = refused(&app.get(&format!("{PARTNERS}{query}")).await, 400, "DATOS_INVALIDOS");
        assert!(error.starts_with(field), "{query}: {error}");
    }
});

// S001-3: with documents and integrations; what is no id names no one.
story!(a_partner_is_shown, async |app: &App| {
    let url = app.partner("uno").await;
    app.post(&format!("{url}/integraciones"), &json!({"tipo": "API", "nombre": "REST"})).await.must_be(201);
    app.drain().await;
    let partner = app.get(&url).await.must_be(200)["partner"].clone();
    assert_eq!((&partner["nombre"], &partner["documentos_kyc"]), (&json!("uno"), &json!({})));
    let integration = &partner["integraciones"][0];
    assert_eq!((&integration["tipo"], &integration["activa"]), (&json!("API"), &json!(true)));
    assert_eq!((&integration["descripcion"], &integration["fecha_revocacion"]), (&Value::Null, &Value::Null));
    for nobody in ["0198c0de-0000-7000-8000-000000000000", "1", "uno", "%00", "%ff", "integraciones"] {
        refused(&app.get(&format!("{PARTNERS}/{nobody}")).await, 404, "PARTNER_NO_ENCONTRADO");
        refused(&app.delete(&format!("{PARTNERS}/{nobody}"), &json!({})).await, 404, "PARTNER_NO_ENCONTRADO");
        refused(&app.put(&format!("{PARTNERS}/{nobody}"), &json!({})).await, 404, "PARTNER_NO_ENCONTRADO");
    }
});

// S001-4, S001-10, d22: what is sent is changed, `estado` among it; what is left out stays.
story!(a_partner_is_changed, async |app: &App| {
    let created = app.post(PARTNERS, &empresa_abc()).await.must_be(201);
    let url = format!("{PARTNERS}/{}", text(&created["partner"]["id"]));
    let changed = app.put(&url, &json!({"nombre": "Empresa ABC S.A.S.", "direccion": null})).await.must_be(200);
    let partner = &changed["partner"];
    assert_eq!((&partner["nombre"], &partner["direccion"]), (&json!("Empresa ABC S.A.S."), &Value::Null));
    assert_eq!(
        (&partner["telefono"], &partner["email"]),
        (&json!("+57 300 123 4567"), &json!("contacto@empresaabc.com"))
    );
    for state in ["INACTIVO", "SUSPENDIDO", "ACTIVO"] {
        let changed = app.put(&url, &json!({"estado": state})).await.must_be(200);
        assert_eq!(changed["partner"]["estado"], state);
    }
    // What was read may be written back as it is.
    let whole = app.get(&url).await.must_be(200)["partner"].clone();
    app.put(&url, &whole).await.must_be(200);
    app.put(&url, &json!({})).await.must_be(200);

    for state in [json!("ELIMINADO"), json!("activo"), json!(""), json!(null), json!(5), json!(["ACTIVO"])] {
        let error = refused(&app.put(&url, &json!({"estado": state})).await, 400, "DATOS_INVALIDOS");
        assert!(error.starts_with("estado: "), "{state}: {error}");
    }
    app.partner("otro").await;
    refused(&app.put(&url, &json!({"email": "OTRO@example.com"})).await, 409, "EMAIL_EXISTENTE");
    assert_eq!(app.get(&url).await.must_be(200)["partner"]["estado"], "ACTIVO", "what was refused changed nothing");
    app.drain().await;
});

// S001-5, S001-12: it stays and is shown; its integrations end; its e-mail stays taken; nothing can be done with it any more.
story!(a_deleted_partner_stays, async |app: &App| {
    let url = app.partner("uno").await;
    let integration =
        app.post(&format!("{url}/integraciones"), &json!({"tipo": "WEBHOOK", "nombre": "W"})).await.must_be(201);
    let deleted = app.send(app.request(Method::DELETE, &url)).await.must_be(200);
    assert_eq!(format!("{PARTNERS}/{}", text(&deleted["partner_id"])), url);
    let partner = app.get(&url).await.must_be(200)["partner"].clone();
    assert_eq!((&partner["estado"], &partner["integraciones"][0]["activa"]), (&json!("ELIMINADO"), &json!(false)));
    assert!(partner["integraciones"][0]["fecha_revocacion"].is_string());

    refused(&app.send(app.request(Method::DELETE, &url)).await, 410, "PARTNER_ELIMINADO");
    refused(&app.put(&url, &json!({"estado": "ACTIVO"})).await, 410, "PARTNER_ELIMINADO");
    refused(&app.put(&format!("{url}/kyc"), &json!({"estado_kyc": "APROBADO"})).await, 410, "PARTNER_ELIMINADO");
    let another = json!({"tipo": "API", "nombre": "A"});
    refused(&app.post(&format!("{url}/integraciones"), &another).await, 410, "PARTNER_ELIMINADO");
    let revoke = format!("{PARTNERS}/integraciones/{}/revocar", text(&integration["integracion"]["id"]));
    refused(&app.put(&revoke, &json!({})).await, 410, "INTEGRACION_YA_REVOCADA");
    let again = json!({"nombre": "uno", "email": "Uno@Example.COM"});
    refused(&app.post(PARTNERS, &again).await, 409, "EMAIL_EXISTENTE");
    assert_eq!(app.names("").await, ["uno"]);
    app.drain().await;
});

// S001-1, S001-11: each wrong field is named, all in one answer.
story!(wrong_fields_are_named, async |app: &App| {
    let with = |field: &str, value: Value| {
        let mut body = empresa_abc();
        body[field] = value;
        body
    };
    for (body, fields) in [
        (json!({}), &["nombre", "email"][..]),
        (json!({"email": "a@example.com"}), &["nombre"]),
        (with("nombre", json!(" ")), &["nombre"]),
        (with("nombre", json!(null)), &["nombre"]),
        (with("nombre", json!(["Empresa"])), &["nombre"]),
        (with("nombre", json!("x".repeat(256))), &["nombre"]),
        (with("nombre", json!("a\nb")), &["nombre"]),
        (with("email", json!(null)), &["email"]),
        (with("email", json!("contacto")), &["email"]),
        (with("email", json!({"a": 1})), &["email"]),
        (with("email", json!(format!("{}@example.com", "x".repeat(300)))), &["email"]),
        (with("telefono", json!(573001234567_i64)), &["telefono"]),
        (with("direccion", json!("x".repeat(2001))), &["direccion"]),
        (
            json!({"nombre": 5, "email": 5, "telefono": 5, "direccion": 5}),
            &["nombre", "email", "telefono", "direccion"],
        ),
    ] {
        let error = refused(&app.post(PARTNERS, &body).await, 400, "DATOS_INVALIDOS");
        for field in fields {
            assert!(error.contains(&format!("{field}: ")), "{field} of {body}: {error}");
        }
    }
    assert_eq!(app.names("").await, [""; 0], "nothing of it was stored");
});

// S001-12: one address is one partner, whatever its case and however many register it at once.
story!(an_email_is_registered_once, async |app: &App| {
    let spellings = ["Ana@Example.com", "ana@example.com", "ANA@EXAMPLE.COM", "aNa@eXample.com"];
    let answers = join_all((0..20).map(|number| async move {
        let body = json!({"nombre": format!("Ana {number}"), "email": spellings[number % spellings.len()]});
        app.post(PARTNERS, &body).await
    }))
    .await;
    let (created, taken): (Vec<_>, Vec<_>) = answers.iter().partition(|answer| answer.status == 201);
    assert_eq!((created.len(), taken.len()), (1, 19));
    taken.into_iter().for_each(|answer| drop(refused(answer, 409, "EMAIL_EXISTENTE")));
    assert_eq!(app.names("").await.len(), 1);
    app.drain().await;
});

fn nasty_bodies() -> Vec<(&'static str, Vec<u8>)> {
    let nested = |open: &str, close: &str| {
        format!("{{\"documentos\":{}{}}}", open.repeat(10_000), close.repeat(10_000)).into_bytes()
    };
    vec![
        ("nothing", Vec::new()),
        ("null", b"null".to_vec()),
        ("a list", b"[]".to_vec()),
        ("half an object", b"{\"nombre\": ".to_vec()),
        ("not JSON", b"nombre=a&email=b".to_vec()),
        ("NaN", b"{\"nombre\": NaN}".to_vec()),
        ("a number without end", b"{\"configuracion\": {\"n\": 1e999}}".to_vec()),
        ("no UTF-8", b"{\"nombre\": \"\xff\xfe\"}".to_vec()),
        ("a lone surrogate", b"{\"nombre\": \"\\ud800\", \"motivo\": \"\\udfff\"}".to_vec()),
        ("NUL", b"{\"nombre\": \"a\\u0000b\"}".to_vec()),
        ("NUL as a key", b"{\"documentos\": {\"\\u0000\": 1}}".to_vec()),
        ("a key twice", b"{\"nombre\": \"a\", \"nombre\": \"b\"}".to_vec()),
        ("a key twice, deeper", b"{\"configuracion\": {\"a\": 1, \"a\": 2}}".to_vec()),
        ("lists in lists", nested("[", "]")),
        ("objects in objects", nested("{\"a\":", "}")),
        (
            "every field of a wrong type",
            br#"{"nombre": 1, "email": [], "estado": {}, "tipo": 1, "motivo": 1, "estado_kyc": 1}"#.to_vec(),
        ),
        (
            "much of one letter",
            format!(
                "{{\"nombre\": \"{0}\", \"motivo\": \"{0}\", \"estado_kyc\": \"{0}\", \"tipo\": \"{0}\"}}",
                "x".repeat(200_000)
            )
            .into_bytes(),
        ),
    ]
}

// S001-11, d23: whatever is sent to whatever URL, the answer blames the caller, in the registry's envelope; nothing is stored.
story!(nasty_bodies_are_the_callers_fault, async |app: &App| {
    let url = app.partner("uno").await;
    let integration =
        app.post(&format!("{url}/integraciones"), &json!({"tipo": "API", "nombre": "A"})).await.must_be(201);
    let revoke = format!("{PARTNERS}/integraciones/{}/revocar", text(&integration["integracion"]["id"]));
    app.drain().await;
    let doors = [
        (Method::POST, PARTNERS.to_owned()),
        (Method::PUT, url.clone()),
        (Method::PUT, format!("{url}/kyc")),
        (Method::POST, format!("{url}/integraciones")),
        (Method::PUT, revoke.clone()),
    ];
    for (what, body) in nasty_bodies() {
        for (method, door) in &doors {
            // A reason need not be given.
            if what == "nothing" && *door == revoke {
                continue;
            }
            let request = app.request(method.clone(), door).header("Content-Type", "application/json");
            let answer = app.send(request.body(body.clone())).await;
            let body = answer.json();
            assert_eq!(answer.status, 400, "{what} to {method} {door}: {}", answer.text);
            assert!(
                ["DATOS_INVALIDOS", "KYC_INVALIDO"].contains(&body["codigo"].as_str().unwrap_or_default()),
                "{what}: {body}"
            );
            assert!(body["error"].as_str().is_some_and(|error| error.len() > 10), "{what}: {body}");
        }
    }
    for (method, door) in &doors {
        let request =
            |body: Vec<u8>, kind: &str| app.request(method.clone(), door).header("Content-Type", kind).body(body);
        let large = format!("{{\"nombre\": \"{}\"}}", "x".repeat(1024 * 1024)).into_bytes();
        refused(&app.send(request(large, "application/json")).await, 413, "DATOS_INVALIDOS");
        refused(
            &app.send(request(b"nombre=a".to_vec(), "application/x-www-form-urlencoded")).await,
            415,
            "DATOS_INVALIDOS",
        );
    }
    let partner = app.get(&url).await.must_be(200)["partner"].clone();
    assert_eq!((&partner["nombre"], &partner["estado_kyc"]), (&json!("uno"), &json!("PENDIENTE")));
    assert_eq!(partner["integraciones"].as_array().map(Vec::len), Some(1));
    assert_eq!((app.names("").await.len(), app.drain().await), (1, 0), "and nobody is told of anything");
});

// d23: also where there is no such URL or no such method, below /api/v1/partners and nowhere else.
story!(the_envelope_reaches_where_no_handler_does, async |app: &App| {
    refused(&app.get("/api/v1/partners/a/b/c/d").await, 404, "NO_ENCONTRADO");
    let wrong = app.patch(PARTNERS, &json!({})).await;
    refused(&wrong, 405, "METODO_NO_PERMITIDO");
    assert!(wrong.header("allow").contains("POST"), "{}", wrong.header("allow"));
    assert!(app.get("/api/v1/partnerships").await.must_be(404)["detail"].is_string());

    let document = app.get("/api/schema/").await.must_be(200);
    let answers = &document["paths"]["/api/v1/partners/{id}"]["put"]["responses"];
    for status in ["400", "401", "403", "404", "410", "413", "415", "500", "503"] {
        let schema = &answers[status]["content"]["application/json"]["schema"]["$ref"];
        assert_eq!(schema, "#/components/schemas/RegistryError", "{status}: {answers}");
    }
    let theirs = &document["paths"]["/api/v1/notifications/vehicles/"]["post"]["responses"]["401"];
    assert_eq!(theirs["content"]["application/json"]["schema"]["$ref"], "#/components/schemas/Detail");
});

// S001-11: a database that is away is our fault, and passes.
story!(an_outage_is_said_in_the_envelope, async |app: &App| {
    app.leave_work();
    app.context.db.close().await;
    let answer = app.get(PARTNERS).await;
    refused(&answer, 503, "ERROR_INTERNO");
    assert_eq!(answer.header("retry-after"), "1");
});

const CLOSED: [(&str, &str); 2] = [("ALLOW_ANONYMOUS_API", "false"), ("API_KEYS", "a-key-of-the-environment")];

// d21, d23: where the API is closed, it wants a key; who may only look changes nothing.
story!(the_registry_wants_a_key, CLOSED, async |app: &App| {
    let with = |method: Method, key: &str| app.request(method, PARTNERS).bearer_auth(key);
    refused(&app.get(PARTNERS).await, 401, "NO_AUTENTICADO");
    refused(&app.post(PARTNERS, &empresa_abc()).await, 401, "NO_AUTENTICADO");
    let keys = app.request(Method::POST, "/api/v1/notifications/api-keys/").bearer_auth(CLOSED[1].1);
    let made = app.send(keys.json(&json!({"name": "crm", "scopes": ["read"]}))).await.must_be(201);
    let reader = text(&made["key"]);
    app.send(with(Method::GET, &reader)).await.must_be(200);
    refused(&app.send(with(Method::POST, &reader).json(&empresa_abc())).await, 403, "SIN_PERMISO");
    app.send(with(Method::POST, CLOSED[1].1).json(&empresa_abc())).await.must_be(201);
    app.drain().await;
});

// S001-15: the two tables of the registry before are there and filled. S001-9: its probe answers.
story!(the_tables_have_their_names, async |app: &App| {
    let url = app.partner("uno").await;
    app.post(&format!("{url}/integraciones"), &json!({"tipo": "REAL_TIME", "nombre": "RT"})).await.must_be(201);
    let rows: Option<(i64, i64)> = sql!(
        one(i64, i64),
        &mut app.begin().await,
        "select (select count(*) from partners), (select count(*) from integraciones)"
    )
    .expect("the tables are there");
    assert_eq!(rows, Some((1, 1)));
    app.get("/health").await.must_be(200);
    app.drain().await;
});

// S001-14: the database by its former name; and what an operator sees there.
story!(an_operator_looks_at_partners, async |app: &App| {
    app.live_now();
    let url = app.partner("uno").await;
    app.put(&format!("{url}/kyc"), &json!({"estado_kyc": "REQUIERE_DOCUMENTOS", "comentarios": "Falta el RUT"}))
        .await
        .must_be(200);
    app.post(&format!("{url}/integraciones"), &json!({"tipo": "API", "nombre": "REST"})).await.must_be(201);
    app.partner("dos").await;
    app.drain().await;
    let listed = app.recado_json(&["partners", "list", "--kyc", "REQUIERE_DOCUMENTOS"]).await;
    assert_eq!((listed.as_array().map(Vec::len), &listed[0]["name"]), (Some(1), &json!("uno")));
    let id = url.rsplit('/').next().expect("an id");
    let shown = words(&app.recado(&["partners", "show", id]).await);
    for word in ["uno@example.com", "REQUIERE_DOCUMENTOS", "Falta el RUT", "REST"] {
        assert!(shown.contains(word), "{word} is missing in:\n{shown}");
    }

    let environment = app.environment(&[]);
    let former = [("SQLALCHEMY_DATABASE_URI", environment["DATABASE_URL"].as_str()), ("DATABASE_URL", "")];
    let output = app.program("recado", &former).args(["partners", "list"]).output().await.expect("it runs");
    assert!(words(&output).contains("dos"), "{}", words(&output));
    let unknown = app.recado(&["partners", "show", "0198c0de-0000-7000-8000-000000000000"]).await;
    assert_eq!(unknown.status.code(), Some(1));
});
