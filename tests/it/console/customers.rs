//! Customers in the console: who is found, whether they can be reached and what mends it, and what is done about them.

use recado_kernel::audit::{self, AuditFilter, Entry};
use recado_kernel::db::keyset::Cursor;
use recado_notifications::channels::Channel;
use recado_notifications::customers::{self, Customer, SearchIn};
use recado_notifications::suppressions;
use serde_json::json;

use crate::harness::app::{App, SECRET_KEY, seconds};
use crate::harness::pair::story;
use crate::harness::sample::{self, likes, refuses};

const PATH: &str = "/admin/customers/";
const CARLOS: &str = "/admin/customers/customer-001/";

impl App {
    pub(crate) async fn known_customer(&self, customer_id: &str) -> Option<Customer> {
        customers::find(&mut self.begin().await, customer_id).await.expect("it is read")
    }

    /// What was done to a thing, the oldest first.
    pub(crate) async fn history(&self, kind: &str) -> Vec<Entry> {
        let filter = AuditFilter { subject_kind: Some(kind.to_owned()), ..AuditFilter::default() };
        let mut log = audit::page(&mut self.begin().await, &filter, None, 100).await.expect("the log is read");
        log.reverse();
        log
    }

    async fn suppress(&self, channel: &str, address: &str) {
        let body = json!({"channel": channel, "address": address, "detail": "a mano"});
        self.post("/api/v1/notifications/suppressions/", &body).await.must_be(201);
    }
}

/// The section of a page that begins with this heading.
pub(crate) fn section<'p>(page: &'p str, heading: &str) -> &'p str {
    let start = page.find(heading).unwrap_or_else(|| panic!("{heading} in {page}"));
    page[start..].split("</section>").next().unwrap_or_default()
}

// Name, mail, number in any spelling, identifier and plate find the same on both engines, in either case, and addresses are hidden.
story!(a_customer_is_found_by_what_one_knows_of_them, async |app: &App| {
    app.know_the_car(9_000).await;
    app.sync_customer(&json!({
        "customer_id": "ana_1", "name": "Ana Ñandú \"100%\"", "email": "ana@example.com", "whatsapp": "+573001234567"
    }))
    .await;
    let (operator, viewer) = (app.operator("operator").await, app.operator("viewer").await);
    let find = async |browser: &crate::harness::browser::Browser, search: &str| {
        let query = url::form_urlencoded::Serializer::new(String::new()).append_pair("search", search).finish();
        let page = browser.page(&format!("{PATH}?{query}")).await;
        let found = ["customer-001", "ana_1"].into_iter().filter(|id| page.contains(&format!("{PATH}{id}/")));
        found.map(str::to_owned).collect::<Vec<_>>().join(" ")
    };
    for (search, expected) in [
        ("mendoza", "customer-001"),
        ("CARLOS M", "customer-001"),
        ("099 123-4567", "customer-001"),
        ("+593 (99) 123", "customer-001"),
        ("carlos@exam", "customer-001"),
        ("abc1", "customer-001"),
        ("ñandú", "ana_1"),
        ("ÑANDÚ", "ana_1"),
        ("Ñ", "ana_1"),
        ("a_1", "ana_1"),
        ("100%", "ana_1"),
        ("\"100", "ana_1"),
        ("%", "ana_1"),
        ("3001234567", "ana_1"),
        ("example.com", "customer-001 ana_1"),
        ("carlos OR ana", ""),
        ("\\", ""),
        ("", "customer-001 ana_1"),
    ] {
        assert_eq!(find(&operator, search).await, expected, "{search}");
    }
    // Who does not see addresses finds them only as a whole.
    for (search, expected) in [
        ("carlos@exam", ""),
        ("Carlos@example.com", "customer-001"),
        ("593991234567", "customer-001"),
        ("099 123 4567", "customer-001"),
        ("1234", ""),
        ("mendoza", "customer-001"),
    ] {
        assert_eq!(find(&viewer, search).await, expected, "{search}");
    }
    let page = operator.page(PATH).await;
    assert!(page.contains("c***@example.com") && !page.contains("carlos@example.com"), "{page}");
    assert!(!page.contains("991234567"), "{page}");
});

// The index follows what is written, changed and deleted, by whatever way.
story!(the_search_follows_every_change, async |app: &App| {
    let found = async |search: &str| {
        let sought = Some((search, SearchIn::All));
        let (found, _) =
            customers::page(&mut app.begin().await, sought, Cursor::Start, 10).await.expect("they are found");
        found.len()
    };
    app.know_carlos().await;
    assert_eq!((found("carlos@").await, found("mendoza").await), (1, 1));
    app.sync_customer(&json!({"customer_id": "customer-001", "name": "Karl Marx"})).await;
    assert_eq!((found("mendoza").await, found("karl").await, found("carlos@").await), (0, 1, 1));
    app.context.db.migrate().await.expect("once more changes nothing");
    app.sql("update customers set email = null, updated_at = updated_at").await;
    assert_eq!((found("carlos@").await, found("karl").await), (0, 1));
    app.sql("delete from customers").await;
    assert_eq!(found("karl").await, 0);
});

// Pages are turned from row to row, forwards and back.
story!(a_long_list_of_customers_has_pages, async |app: &App| {
    let viewer = app.operator("viewer").await;
    let mut session = app.begin().await;
    for number in 0..120 {
        let customer = customers::CustomerSync {
            customer_id: format!("c-{number:03}"),
            name: Some("Ana Paz".to_owned()),
            ..customers::CustomerSync::default()
        };
        customers::sync(&mut session, &customer, app.clock.now()).await.expect("it is written");
    }
    session.commit().await.expect("it is committed");
    let ids = |page: &str| -> (String, String, usize) {
        let found: Vec<&str> = page.split("class=\"id\">").skip(1).filter_map(|rest| rest.split('<').next()).collect();
        (found[0].to_owned(), found[found.len() - 1].to_owned(), found.len())
    };
    let link = |page: &str, rel: &str| {
        let before = page.split(&format!("rel=\"{rel}\"")).next().expect("a link");
        let href = before.rsplit("href=\"").next().and_then(|rest| rest.split('"').next()).expect("a link");
        href.replace("&#38;", "&").replace("&amp;", "&")
    };
    for start in [PATH.to_owned(), format!("{PATH}?search=ana+paz")] {
        let first = viewer.page(&start).await;
        assert_eq!(ids(&first), ("c-000".to_owned(), "c-049".to_owned(), 50));
        assert!(!first.contains("rel=\"prev\""));
        let second = viewer.page(&link(&first, "next")).await;
        assert_eq!(ids(&second), ("c-050".to_owned(), "c-099".to_owned(), 50));
        let third = viewer.page(&link(&second, "next")).await;
        assert_eq!((ids(&third).2, third.contains("rel=\"next\"")), (20, false));
        assert_eq!(ids(&viewer.page(&link(&second, "prev")).await), ids(&first));
    }
});

// Each reason stands there with the button that mends it, and after it she is reachable.
story!(why_a_customer_is_not_reached_stands_beside_what_mends_it, async |app: &App| {
    app.know_carlos().await;
    app.suppress("email", "carlos@example.com").await;
    app.prefer("customer-001", &[refuses(Channel::Whatsapp)]).await;
    let admin = app.operator("admin").await;
    let page = admin.page(CARLOS).await;
    let reach = section(&page, "Reachable now?");
    for said in [
        "The address is suppressed",
        "The customer switched this channel off",
        "no device that is subscribed",
        "Would not be tried",
        "Lift",
        "Switch on",
        ">no</span>",
    ] {
        assert!(reach.contains(said), "{said} in {reach}");
    }
    let lift = reach.split("action=\"/admin/suppressions/").nth(1).and_then(|rest| rest.split('"').next());
    let lift = format!("/admin/suppressions/{}", lift.expect("the button"));
    let page = admin.post_and_follow(&lift, &[("back", CARLOS)]).await;
    assert!(
        page.contains("The address is written to again.") && section(&page, "Reachable now?").contains(">yes</span>")
    );
    let again = admin.undo(&page).await;
    assert!(section(&again, "Reachable now?").contains("The address is suppressed"), "{again}");

    let page =
        admin.post_and_follow(&format!("{CARLOS}preferences/"), &[("channel", "whatsapp"), ("move", "on")]).await;
    assert!(section(&page, "Reachable now?").contains(">yes</span>"), "{page}");
    app.sql("update customers set quiet_from = '09:00', quiet_until = '10:00'").await;
    let page = admin.page(CARLOS).await;
    assert!(section(&page, "Reachable now?").contains("These are their quiet hours"), "{page}");
    assert!(
        page.contains("Quiet from 09:00 until 10:00.") && page.contains("class=\"hush\" x=\"540\" width=\"60\""),
        "{page}"
    );
    let viewer = app.operator("viewer").await.page(CARLOS).await;
    assert!(!viewer.contains("method=\"post\" action=\"/admin/suppressions/") && !viewer.contains("name=\"move\""));
});

// The order is changed with buttons; each move has its undo, and an opt-out in between is not lost.
story!(channels_move_and_come_back, async |app: &App| {
    app.know_carlos().await;
    app.prefer("customer-001", &[likes(Channel::Whatsapp, 1), refuses(Channel::Email)]).await;
    let editor = app.operator("editor").await;
    let order = async || {
        let all =
            customers::preferences(&mut app.begin().await, &["customer-001".to_owned()]).await.expect("they are read");
        let order = customers::order(&all);
        order.into_iter().map(|(channel, on)| format!("{channel}{}", if on { "" } else { " off" })).collect::<Vec<_>>()
    };
    let arrange = format!("{CARLOS}preferences/");
    assert_eq!(order().await, ["whatsapp", "email off", "push"]);
    let page = editor.post_and_follow(&arrange, &[("channel", "push"), ("move", "up")]).await;
    assert_eq!(order().await, ["whatsapp", "push", "email off"]);
    assert!(page.contains("The order is changed."), "{page}");
    editor.undo(&page).await;
    assert_eq!(order().await, ["whatsapp", "email off", "push"]);
    let page = editor.post_and_follow(&arrange, &[("channel", "whatsapp"), ("move", "off")]).await;
    assert!(page.contains("by editor-1"), "who switched it off stands beside it: {page}");
    editor.undo(&page).await;
    assert_eq!(order().await, ["whatsapp", "email off", "push"]);
    assert_eq!(app.acts("customer").await.iter().filter(|act| *act == "set_preferences").count(), 5);
    assert_eq!(editor.post(&arrange, &[("channel", "fax"), ("move", "up")]).await.status, 400);
    let page = editor.post_and_follow(&arrange, &[("channel", "whatsapp"), ("move", "up")]).await;
    assert!(page.contains("Nothing was done"), "{page}");
    assert_eq!(app.operator("viewer").await.post(&arrange, &[("channel", "push"), ("move", "up")]).await.status, 403);
});

// Looking at an address is an act of its own, which a viewer may not do.
story!(an_address_is_revealed_and_that_is_kept, async |app: &App| {
    app.know_carlos().await;
    let operator = app.operator("operator").await;
    let page = operator.page(CARLOS).await;
    assert!(
        page.contains("c***@example.com") && !page.contains("carlos@example.com") && !page.contains("991234567"),
        "{page}"
    );
    let shown = operator.post(&format!("{CARLOS}reveal/"), &[]).await;
    assert!(shown.status == 200 && shown.text.contains("carlos@example.com") && shown.text.contains("+593991234567"));
    let [entry] = app.history("customer").await.try_into().expect("one entry");
    assert_eq!(
        (entry.action.as_str(), entry.subject.as_str(), entry.actor.as_str()),
        ("reveal", "customer-001", "operator-1")
    );
    assert!(!operator.page(CARLOS).await.contains("carlos@example.com"), "the next page hides them again");
    let viewer = app.operator("viewer").await;
    assert!(!viewer.page(CARLOS).await.contains("/reveal/"));
    assert_eq!(viewer.post(&format!("{CARLOS}reveal/"), &[]).await.status, 403);
    assert_eq!(app.history("customer").await.len(), 1);
});

// A form changes what is kept of a person without showing an address, and its undo brings one back that was replaced.
story!(a_customer_is_written_changed_and_restored, [SECRET_KEY], async |app: &App| {
    let editor = app.operator("editor").await;
    let ana =
        [("customer_id", "ana/1"), ("first_name", "Ana"), ("email", "ana@example.com"), ("phone", "099 123 4567")];
    let page = editor.post_and_follow(PATH, &ana).await;
    assert!(page.contains("The customer is written.") && page.contains("a***@example.com"), "{page}");
    let there = format!("{PATH}ana%2F1/");
    let form = editor.page(&format!("{there}edit/")).await;
    assert!(!form.contains("ana@example.com") && form.contains("Now a***@example.com."), "{form}");
    app.clock.advance(seconds(1));
    let changed = [
        ("first_name", "Ana"),
        ("last_name", "Paz"),
        ("email", "paz@example.com"),
        ("remove_phone", "on"),
        ("time_zone", "Europe/Madrid"),
    ];
    let page = editor.post_and_follow(&there, &changed).await;
    assert!(!page.contains("ana@example.com") && !page.contains("ana%40") && !page.contains("991234567"), "{page}");
    let now = app.known_customer("ana/1").await.expect("she is there");
    assert_eq!(
        (now.email.as_deref(), now.phone.as_deref(), now.last_name.as_str()),
        (Some("paz@example.com"), None, "Paz")
    );
    editor.undo(&page).await;
    let back = app.known_customer("ana/1").await.expect("she is there");
    assert_eq!((back.email.as_deref(), back.phone.as_deref()), (Some("ana@example.com"), Some("+593991234567")));
    assert_eq!((back.last_name.as_str(), back.time_zone), ("", None));
    for entry in app.history("customer").await {
        let said = format!("{:?} {:?}", entry.before, entry.after);
        assert!(!said.contains("example.com") && !said.contains("9912") && !said.contains("Paz"), "{said}");
    }
    let wrong = editor
        .post(PATH, &[("customer_id", "ana/1"), ("first_name", ""), ("email", "no"), ("quiet_from", "25:00")])
        .await;
    assert!(
        wrong.status == 422 && wrong.text.contains("aria-invalid=\"true\"") && wrong.text.contains("Not a time of day")
    );
    let taken = editor.post(PATH, &[("customer_id", "ana/1"), ("first_name", "A")]).await;
    assert!(taken.text.contains("There is a customer with this identifier already."), "{}", taken.text);
    let page = editor.post_and_follow(PATH, &[("customer_id", "new"), ("first_name", "N")]).await;
    editor.undo(&page).await;
    assert!(app.known_customer("new").await.is_none(), "a customer who was just made is unmade");
    assert_eq!(app.operator("viewer").await.post(PATH, &ana).await.status, 403);
});

// The person is forgotten when the identifier is typed; afterwards the card says so and offers nothing.
story!(a_person_is_erased_when_the_identifier_is_typed, async |app: &App| {
    app.know_carlos().await;
    app.accepted(&sample::event()).await;
    app.drain().await;
    let admin = app.operator("admin").await;
    let erase = format!("{CARLOS}erase/");
    let refused = admin.post(&erase, &[("typed", "customer-1")]).await;
    assert!(refused.status == 422 && refused.text.contains("That is not what stands above."), "{}", refused.text);
    assert!(app.known_customer("customer-001").await.is_some());
    assert_eq!(app.operator("editor").await.post(&erase, &[("typed", "customer-001")]).await.status, 403);
    let page = admin.post_and_follow(&erase, &[("typed", "customer-001")]).await;
    assert!(page.contains("The person is forgotten") && page.contains("asked to be forgotten"), "{page}");
    assert!(!page.contains("Mendoza") && !page.contains(&format!("action=\"{CARLOS}")), "{page}");
    assert!(app.known_customer("customer-001").await.is_none());
    assert!(app.acts("customer").await.contains(&"erase".to_owned()));
    assert_eq!(admin.get(&format!("{PATH}nobody/")).await.status, 404);
    app.drain().await;
});

// A device is removed when it is meant, and only one of this customer; the API does the same.
story!(a_device_is_removed, async |app: &App| {
    app.know_carlos().await;
    app.subscribe("customer-001").await;
    let devices = "/api/v1/notifications/customers/customer-001/devices/";
    let listed = app.get(devices).await.must_be(200);
    let id = listed[0]["id"].as_str().expect("an id").to_owned();
    assert!(listed[0].get("auth").is_none() && listed[0]["service"] == "127.0.0.1", "{listed}");
    let editor = app.operator("editor").await;
    let remove = format!("{CARLOS}devices/{id}/remove/");
    assert!(editor.post_and_follow(&remove, &[]).await.contains("tick that you mean it"));
    assert!(editor.post_and_follow(&remove, &[("sure", "on")]).await.contains("The device is removed."));
    assert_eq!(app.get(devices).await.must_be(200), json!([]));
    assert_eq!(app.acts("customer").await, ["remove_device"]);
    app.send(app.request(reqwest::Method::DELETE, &format!("{devices}{id}/"))).await.must_be(404);
});

// What others could write into the card is harmless.
story!(hostile_people_are_harmless, async |app: &App| {
    let hostile = "<script>alert(1)</script>\u{202e}'\"";
    app.sync_customer(&json!({"customer_id": hostile, "name": hostile, "email": "a@example.com"})).await;
    app.suppress("email", "a@example.com").await;
    app.sql("update suppressions set detail = '<img src=x onerror=alert(1)> <a@example.com>'").await;
    let admin = app.operator("admin").await;
    let list = admin.page(PATH).await;
    let there = list.split("class=\"what\"><a href=\"").nth(1).and_then(|rest| rest.split('"').next()).expect("a link");
    for page in [list.clone(), admin.page(there).await, admin.page(&format!("{there}edit/")).await] {
        assert!(!page.contains("<script>alert") && !page.contains("<img src=x"), "{page}");
    }
    let listed = suppressions::list(&mut app.begin().await, &suppressions::SuppressionFilter::default(), 10, 0).await;
    assert_eq!(listed.expect("they are listed").1, 1);
    assert!(!admin.page("/admin/suppressions/").await.contains("a@example.com"));
});
