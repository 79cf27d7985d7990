//! Staff keep the list of customers, and what these prefer.

use recado_kernel::db::Db;
use recado_notifications::channels::Channel;
use reqwest::Method;
use serde_json::{Value, json};

use crate::harness::app::{App, SYNC_CUSTOMER, seconds};
use crate::harness::pair::story;
use crate::harness::sample;

pub(crate) const CUSTOMERS: &str = "/api/v1/notifications/customers/";

fn ana() -> Value {
    json!({"customer_id": "customer-002", "first_name": "Ana María", "last_name": "de la Torre", "email": "ana@EXAMPLE.com",
           "phone": "098 765 4321", "quiet_from": "21:00", "quiet_until": "07:30", "time_zone": "America/Guayaquil"})
}

impl App {
    async fn add_customer(&self, customer: &Value) -> Value {
        self.post(CUSTOMERS, customer).await.must_be(201)
    }
}

fn ids(page: &Value) -> Vec<&str> {
    let results = page["results"].as_array().expect("a list").iter();
    results.map(|customer| customer["customer_id"].as_str().expect("an id")).collect()
}

// S002-16, S002-17, S002-52: written, read, changed, replaced, deleted.
story!(the_life_of_a_customer, async |app: &App| {
    let created = app.add_customer(&ana()).await;
    let url = format!("{CUSTOMERS}customer-002/");
    assert_eq!(app.get(&url).await.must_be(200), created);
    let expected = json!({
        "id": created["id"], "customer_id": "customer-002", "first_name": "Ana María", "last_name": "de la Torre",
        "full_name": "Ana María de la Torre", "email": "ana@example.com", "phone": "+593987654321", "whatsapp": null,
        "unusual": [], "channel_preferences": [], "quiet_from": "21:00", "quiet_until": "07:30", "time_zone": "America/Guayaquil",
        "created_at": created["created_at"], "updated_at": created["created_at"]
    });
    assert_eq!(created, expected);

    app.clock.advance(seconds(60));
    let change = json!({"phone": null, "whatsapp": "+57 300 123 4567", "quiet_from": "", "quiet_until": null});
    let changed = app.patch(&url, &change).await.must_be(200);
    assert_eq!((&changed["phone"], &changed["whatsapp"]), (&Value::Null, &json!("+573001234567")));
    assert_eq!((&changed["quiet_from"], &changed["email"]), (&Value::Null, &json!("ana@example.com")));
    assert_ne!(changed["updated_at"], changed["created_at"]);
    let replaced = app.put(&url, &json!({"name": "Ana Torre", "email": "torre@example.com"})).await.must_be(200);
    assert_eq!((&replaced["first_name"], &replaced["last_name"]), (&json!("Ana"), &json!("Torre")));
    assert_eq!((&replaced["whatsapp"], &replaced["time_zone"]), (&changed["whatsapp"], &changed["time_zone"]));
    assert_eq!((&replaced["id"], &replaced["created_at"]), (&created["id"], &created["created_at"]));

    app.send(app.request(Method::DELETE, &url)).await.must_be(204);
    for method in [Method::GET, Method::DELETE] {
        app.send(app.request(method, &url)).await.must_be(404);
    }
    app.patch(&url, &json!({})).await.must_be(404);
    app.put(&url, &ana()).await.must_be(404);
});

// d15: whatever the caller calls its customers, as long as it is a text.
story!(a_customer_id_may_be_any_text, async |app: &App| {
    for (customer_id, segment) in [
        ("a/b", "a%2Fb"),
        ("ñandú 100% +1?", "%C3%B1and%C3%BA%20100%25%20+1%3F"),
        ("0194830c-7d5a-7000-8000-000000000001", "0194830c-7d5a-7000-8000-000000000001"),
        (&"x".repeat(100), &"x".repeat(100)),
    ] {
        app.add_customer(&json!({"customer_id": customer_id, "first_name": "A", "email": "a@example.com"})).await;
        let found = app.get(&format!("{CUSTOMERS}{segment}/")).await.must_be(200);
        assert_eq!(found["customer_id"], customer_id);
        let choice = json!({"channels": [{"channel": "email", "enabled": false, "priority": 1}]});
        app.post(&format!("{CUSTOMERS}{segment}/update_preferences/"), &choice).await.must_be(200);
        app.send(app.request(Method::DELETE, &format!("{CUSTOMERS}{segment}/"))).await.must_be(204);
    }
});

// On PostgreSQL the search has its index, which is made after the migrations; elsewhere it does without.
story!(the_search_has_an_index_where_one_can_be_had, async |app: &App| {
    if !matches!(app.context.db, Db::Postgres { .. }) {
        return;
    }
    // As a process that starts later finds it.
    app.context.db.migrate().await.expect("the schema is up to date");
    let found: Option<(i64,)> = recado_kernel::sql!(
        one(i64,),
        &mut app.begin().await,
        "select count(*) from pg_indexes where indexname = 'customers_search' and indexdef like '%gin_trgm_ops%'"
    )
    .expect("indexes are listed");
    assert_eq!(found, Some((1,)));
    // An index of trigrams that has a bare column answers `=` too, and is taken for it at a hundred times the price.
    let tempting: Vec<(String,)> = recado_kernel::sql!(
        all(String,),
        &mut app.begin().await,
        "select c.relname::text from pg_index i join pg_class c on c.oid = i.indexrelid join pg_am a on a.oid = c.relam
         where a.amname = 'gin' and c.relname like '%search' and 0 <> any (i.indkey::smallint[])"
    )
    .expect("indexes are listed");
    assert_eq!(tempting, []);
});

// S002-16, S002-64: found by name, mail, number and id, a page at a time, each with preferences.
story!(customers_are_found, async |app: &App| {
    app.know_carlos().await;
    app.add_customer(&ana()).await;
    app.add_customer(&json!({"customer_id": "customer-003", "name": "Luis_100%", "whatsapp": "+573001234567"})).await;
    app.prefer("customer-001", &[sample::likes(Channel::Whatsapp, 1), sample::refuses(Channel::Email)]).await;
    for (query, expected) in [
        ("", vec!["customer-001", "customer-002", "customer-003"]),
        ("search=mendoza", vec!["customer-001"]),
        ("search=carlos+mend", vec!["customer-001"]),
        ("search=ANA%40example", vec!["customer-002"]),
        ("search=099+123-4567", vec!["customer-001"]),
        ("search=%2B57+300", vec!["customer-003"]),
        ("search=s_1", vec!["customer-003"]),
        ("search=0%25", vec!["customer-003"]),
        ("search=customer-00", vec!["customer-001", "customer-002", "customer-003"]),
        ("search=nobody", vec![]),
        ("search=%5C", vec![]),
        ("page_size=1&page=3", vec!["customer-003"]),
    ] {
        let found = app.get(&format!("{CUSTOMERS}?{query}")).await.must_be(200);
        assert_eq!(ids(&found), expected, "{query}");
    }
    let all = app.get(CUSTOMERS).await.must_be(200);
    let preferences = |place: usize| {
        let stated = all["results"][place]["channel_preferences"].as_array().expect("a list").iter();
        stated
            .map(|one| format!("{} {} {}", one["channel_display"], one["enabled"], one["priority"]))
            .collect::<Vec<_>>()
    };
    assert_eq!(preferences(0), ["\"WhatsApp\" true 1", "\"Email\" false 9"]);
    assert!(preferences(1).is_empty());
    app.get(&format!("{CUSTOMERS}?page=2")).await.must_be(404);
});

// S002-16, S002-17: what is wrong is named.
story!(a_wrong_customer_is_refused, async |app: &App| {
    app.know_carlos().await;
    let with = |field: &str, value: Value| {
        let mut customer = ana();
        customer[field] = value;
        customer
    };
    for (body, field) in [
        (json!({}), "customer_id"),
        (with("customer_id", json!("customer-001")), "customer_id"),
        (with("customer_id", json!("x".repeat(101))), "customer_id"),
        (with("email", json!("no-at-sign")), "email"),
        (with("phone", json!("call me")), "phone"),
        (with("whatsapp", json!(true)), "whatsapp"),
        (with("first_name", json!(" ")), "first_name"),
        (with("first_name", json!("a\nb")), "first_name"),
        (with("quiet_from", json!("9 pm")), "quiet_from"),
        (with("quiet_until", Value::Null), "quiet_until"),
        (with("time_zone", json!("Quito")), "time_zone"),
    ] {
        let answer = app.post(CUSTOMERS, &body).await.must_be(400);
        assert!(answer[field][0].is_string(), "{body}: {answer}");
    }
    let url = format!("{CUSTOMERS}customer-001/");
    for (body, field) in [(json!({"customer_id": "other"}), "customer_id"), (json!({"first_name": null}), "first_name")]
    {
        let answer = app.patch(&url, &body).await.must_be(400);
        assert!(answer[field][0].is_string(), "{body}: {answer}");
    }
    app.get(&format!("{CUSTOMERS}a%00b/")).await.must_be(404);
});

// S002-17, "todos los campos requeridos": a PUT with a mail address alone blanked both names. It names what is missing, and
// nothing is lost; what is not required and not sent stays.
story!(a_whole_customer_has_a_first_name, async |app: &App| {
    app.add_customer(&ana()).await;
    let url = format!("{CUSTOMERS}customer-002/");
    let before = app.get(&url).await.must_be(200);
    for body in [
        json!({"email": "new@example.com"}),
        json!({"email": "new@example.com", "first_name": ""}),
        json!({"name": ""}),
    ] {
        let answer = app.put(&url, &body).await.must_be(400);
        assert!(answer["first_name"][0].is_string(), "{body}: {answer}");
    }
    assert_eq!(app.get(&url).await.must_be(200), before);
    let answer = app.post(CUSTOMERS, &json!({"customer_id": "customer-003", "phone": "call me"})).await.must_be(400);
    assert!(answer["first_name"][0].is_string() && answer["phone"][0].is_string(), "{answer}");
    let taken = json!({"customer_id": "customer-002", "email": "none", "quiet_from": 5});
    let answer = app.post(CUSTOMERS, &taken).await.must_be(400);
    let fields = ["customer_id", "email", "first_name", "quiet_from"];
    assert!(fields.iter().all(|field| answer[*field][0].is_string()), "all mistakes at once: {answer}");

    let put = app.put(&url, &json!({"first_name": "Anita", "email": "new@example.com"})).await.must_be(200);
    assert_eq!((&put["first_name"], &put["last_name"]), (&json!("Anita"), &before["last_name"]));
    assert_eq!((&put["phone"], &put["quiet_from"]), (&before["phone"], &before["quiet_from"]));
});

// Core services with integers for keys and telephones (Django REST framework reads them as texts), and what people typed around
// an address.
story!(numbers_are_read_as_texts, async |app: &App| {
    let body = json!({"customer_id": 42, "first_name": " Ana ", "email": "Ana Peña <ana@Example.com>", "phone": 593_991_234_567_i64,
                      "whatsapp": ""});
    let ana = app.add_customer(&body).await;
    assert_eq!((&ana["customer_id"], &ana["first_name"]), (&json!("42"), &json!("Ana")));
    assert_eq!((&ana["email"], &ana["phone"]), (&json!("ana@example.com"), &json!("+593991234567")));
    let url = format!("{CUSTOMERS}42/");
    app.put(&url, &json!({"customer_id": 42, "first_name": 5})).await.must_be(200);
    let choice = json!({"channels": [{"channel": "email", "enabled": "false", "priority": "1.0"}]});
    assert_eq!(app.post(&format!("{url}update_preferences/"), &choice).await.must_be(200)[0]["enabled"], false);
    let event = sample::event_with(json!({"customer_id": 42, "subtype_id": "", "taller_id": "", "correlation_id": "",
                                          "send_at": "", "critical": "1"}));
    assert_eq!(app.accepted(&event).await.notifications[0].channel, Channel::Whatsapp);
    app.drain().await;
});

// A numbering plan that was compiled in is no judge of who can be reached: a number of a possible length is written to, with a
// stray trunk zero too, and staff see that it is unusual.
story!(an_unusual_number_is_written_to, async |app: &App| {
    let body = json!({"customer_id": "customer-001", "name": "Carlos Mendoza", "phone": "+593 0 90 012 3456"});
    let carlos = app.add_customer(&body).await;
    assert_eq!((&carlos["phone"], &carlos["unusual"]), (&json!("+593900123456"), &json!(["phone"])));
    let list = app.get(CUSTOMERS).await.must_be(200);
    assert_eq!(list["results"][0]["unusual"], json!(["phone"]));
    let preview = app.post("/api/v1/notifications/events/dispatch/?dry_run=true", &sample::event()).await.must_be(200);
    let shown = (&preview["messages"][0]["channel"], &preview["messages"][0]["unusual"]);
    assert_eq!(shown, (&json!("whatsapp"), &json!(true)));
    app.accepted(&sample::event()).await;
    app.drain().await;
    assert_eq!(app.whatsapps()[0].number, "593900123456");
});

// S002-18, S002-19: the channels that are named are decided, the others stay as they are, and the dispatch obeys.
story!(a_customer_chooses_channels, async |app: &App| {
    app.know_carlos().await;
    let (preferences, update) =
        (format!("{CUSTOMERS}customer-001/preferences/"), format!("{CUSTOMERS}customer-001/update_preferences/"));
    assert_eq!(app.get(&preferences).await.must_be(200), json!([]));
    let body = json!({"channels": [
        {"channel": "whatsapp", "enabled": true, "priority": 1}, {"channel": "email", "enabled": true, "priority": 2}
    ]});
    let first = app.post(&update, &body).await.must_be(200);
    let words = |stated: &Value| -> Vec<String> {
        let stated = stated.as_array().expect("a list").iter();
        stated.map(|one| format!("{} {} {}", one["channel"], one["enabled"], one["priority"])).collect()
    };
    assert_eq!(words(&first), ["\"whatsapp\" true 1", "\"email\" true 2"]);
    let second = app.post(&update, &json!({"channels": [{"channel": "email", "enabled": false}]})).await.must_be(200);
    assert_eq!(words(&second), ["\"email\" false 1", "\"whatsapp\" true 1"]);
    assert_eq!(app.get(&preferences).await.must_be(200), second);
    assert_eq!(second[1]["id"], first[0]["id"]);

    app.task_for(&sample::event()).await;
    app.drain().await;
    assert_eq!((app.mails().len(), app.whatsapps().len()), (0, 1));

    for wrong in [
        json!({}),
        json!({"channels": []}),
        json!({"channels": "email"}),
        json!({"channels": ["email"]}),
        json!({"channels": [{"channel": "fax", "enabled": true, "priority": 1}]}),
        json!({"channels": [{"enabled": true, "priority": 1}]}),
        json!({"channels": [{"channel": "push", "enabled": true, "priority": 0}]}),
        json!({"channels": [{"channel": "push", "enabled": "perhaps", "priority": 1}]}),
        json!({"channels": [{"channel": "push", "priority": 1}, {"channel": "push", "priority": 2}]}),
    ] {
        let answer = app.post(&update, &wrong).await.must_be(400);
        assert!(answer["channels"][0].is_string(), "{wrong}: {answer}");
    }
    assert_eq!(app.get(&preferences).await.must_be(200), second, "what is wrong changes nothing");
    app.get(&format!("{CUSTOMERS}nobody/preferences/")).await.must_be(404);
    app.post(&format!("{CUSTOMERS}nobody/update_preferences/"), &body).await.must_be(404);
});

// S002-20: a customer's vehicles; with the customer they go, and what was sent stays in the log.
story!(what_is_a_customers_goes_with_them, async |app: &App| {
    let vehicle = app.know_the_car(9_000).await;
    app.subscribe("customer-001").await;
    app.prefer("customer-001", &[sample::likes(Channel::Email, 1)]).await;
    let task = app.task_for(&sample::event()).await;
    app.drain().await;
    let url = format!("{CUSTOMERS}customer-001/");
    let vehicles = app.get(&format!("{url}vehicles/")).await.must_be(200);
    assert_eq!((&vehicles[0]["id"], &vehicles[0]["plate"]), (&json!(vehicle), &json!("ABC123")));

    app.send(app.request(Method::DELETE, &format!("{url}?erase=false"))).await.must_be(204);
    app.get(&format!("{url}vehicles/")).await.must_be(404);
    app.get("/api/v1/notifications/push/status/customer-001/").await.must_be(404);
    app.get(&format!("/api/v1/notifications/vehicles/{vehicle}/")).await.must_be(404);
    let status = app.status(task).await;
    assert_eq!(status["notifications"][0]["recipient"], "c***@example.com");

    // A customer who comes again begins again.
    app.post(SYNC_CUSTOMER, &sample::customer()).await.must_be(202);
    app.drain().await;
    assert_eq!(app.get(&url).await.must_be(200)["channel_preferences"], json!([]));
});
