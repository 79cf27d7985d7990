//! Experiences of another system, the operators who answer for them, and the group that is told of each.

use recado_kernel::ids::Id;
use recado_kernel::sql;
use reqwest::Method;
use serde_json::{Value, json};

use crate::harness::answer::Answer;
use crate::harness::app::App;
use crate::harness::pair::story;

const SA: &str = "/api/v1/superadmin/whatsapp";

impl App {
    /// Another system tells of an experience of organizer `org-7`.
    async fn experience(&self, id: &str, title: &str) -> Answer {
        let organizer =
            json!({"id": "org-7", "name": "Andes", "contact_phone": "0991234567", "contact_email": "a@example.com"});
        self.put(&format!("{SA}/experiences/{id}/"), &json!({"title": title, "slug": "volcan", "organizer": organizer}))
            .await
    }

    async fn experiences(&self) -> Vec<Value> {
        let list = self.get(&format!("{SA}/experiences/")).await.must_be(200);
        list["experiences"].as_array().expect("a list").clone()
    }

    async fn operators(&self) -> Value {
        self.get(&format!("{SA}/operators/")).await.must_be(200)
    }

    async fn bind(&self, experience: &str, group: &Value) -> Answer {
        self.patch(&format!("{SA}/experiences/{experience}/group/"), &json!({"group_id": group})).await
    }

    async fn default_group(&self, operator: &Value, group: &Value) -> Answer {
        let operator = operator.as_str().expect("an id");
        self.patch(&format!("{SA}/operators/{operator}/default-group/"), &json!({"group_id": group})).await
    }

    /// A chat, as a sync would store it.
    async fn chat(&self, chat_id: &str, kind: &str) -> Value {
        let (id, now) = (Id::new(self.clock.now()), self.clock.now());
        let mut session = self.begin().await;
        let written = sql!(
            run,
            &mut session,
            "insert into whatsapp_chats (id, chat_id, kind, name, participants, is_active, tags, message_count, unread_count,
                 created_at, updated_at) values ($1, $2, $3, $2, '[]', true, '[]', 0, 0, $4, $4)",
            id,
            chat_id,
            kind,
            now
        );
        written.expect("it is written");
        session.commit().await.expect("it is committed");
        id.to_string().into()
    }
}

// S003-8, S003-26, d30
story!(the_first_experience_of_an_organizer_makes_its_operator, async |app: &App| {
    let first = app.experience("exp-1", "Tour al volcán").await.must_be(201);
    assert_eq!(
        first,
        json!({
            "id": "exp-1", "title": "Tour al volcán", "slug": "volcan", "organizer": {"id": "org-7", "name": "Andes"},
            "current_whatsapp_group": null, "is_using_default_group": false, "has_custom_binding": false,
        })
    );
    assert_eq!(app.experience("exp-1", "Tour a la laguna").await.must_be(200)["title"], "Tour a la laguna");
    app.experience("exp-2", "Pesca").await.must_be(201);

    let operators = app.operators().await;
    assert_eq!((&operators["total"], &operators["organizers_without_operator"]), (&json!(1), &json!(0)), "{operators}");
    let operator = &operators["operators"][0];
    assert_eq!(operator["name"], "Andes");
    assert_eq!(operator["is_system_created"], true);
    assert_eq!(operator["experiences_count"], 2);
    assert_eq!(operator["contact_phone"], "+593991234567");
    assert_eq!(operator["organizer"], json!({"id": "org-7", "name": "Andes"}));
    assert_eq!(app.experiences().await.len(), 2);
});

// S003-26: ten tellings at once, of ten experiences and of one.
story!(ten_experiences_at_once_make_one_operator, async |app: &App| {
    let ids: Vec<String> = (0..10).map(|number| format!("exp-{number}")).collect();
    let answers = futures::future::join_all(ids.iter().map(|id| app.experience(id, "Tour"))).await;
    assert!(
        answers.iter().all(|answer| answer.status == 201),
        "{:?}",
        answers.iter().map(|a| &a.text).collect::<Vec<_>>()
    );
    let answers = futures::future::join_all(ids.iter().map(|_| app.experience("exp-x", "Tour"))).await;
    assert_eq!(answers.iter().filter(|answer| answer.status == 201).count(), 1);
    assert_eq!(app.operators().await["total"], 1);
    assert_eq!(app.experiences().await.len(), 11);
});

// S003-9, S003-11, S003-25: which group is told, by all four rules, and what is beneath a choice that is taken back.
story!(the_group_of_an_experience_is_found_by_four_rules, async |app: &App| {
    app.experience("old", "Antes").await.must_be(201);
    let operator = app.operators().await["operators"][0]["id"].clone();
    let (first, second, third) =
        (app.chat("1@g.us", "group").await, app.chat("2@g.us", "group").await, app.chat("3@g.us", "group").await);
    let current = async |id: &str| {
        let all = app.experiences().await;
        let one = all.iter().find(|one| one["id"] == id).expect("it is listed").clone();
        let group = &one["current_whatsapp_group"];
        (group["id"].clone(), one["is_using_default_group"] == true, one["has_custom_binding"] == true)
    };
    assert_eq!(current("old").await, (Value::Null, false, false), "rule 4: none");

    let set = app.default_group(&operator, &first).await.must_be(200);
    assert_eq!(set["default_group"], json!({"id": first, "chat_id": "1@g.us", "name": "1@g.us"}));
    assert_eq!((&set["success"], &set["operator_id"]), (&json!(true), &operator));
    assert_eq!(current("old").await, (first.clone(), true, false), "rule 2: the operator's");

    app.experience("new", "Después").await.must_be(201);
    app.default_group(&operator, &second).await.must_be(200);
    assert_eq!(current("new").await, (second.clone(), true, false), "rule 2 beats rule 3");
    app.default_group(&operator, &Value::Null).await.must_be(200);
    assert_eq!(current("new").await, (first.clone(), true, false), "rule 3: what it was at first");
    assert_eq!(current("old").await, (Value::Null, false, false));

    let chosen = app.bind("new", &third).await.must_be(200);
    assert_eq!(
        chosen,
        json!({"success": true, "experience_id": "new", "is_override": true,
               "group": {"id": third, "chat_id": "3@g.us", "name": "3@g.us"}})
    );
    app.default_group(&operator, &second).await.must_be(200);
    assert_eq!(current("new").await, (third.clone(), false, true), "rule 1: the choice beats all");
    let back = app.bind("new", &Value::Null).await.must_be(200);
    assert_eq!((&back["group"]["id"], &back["is_override"]), (&second, &json!(false)), "{back}");
    app.default_group(&operator, &Value::Null).await.must_be(200);
    assert_eq!(current("new").await, (first, true, false), "the default binding is there still");
    app.experience("new", "Otra vez").await.must_be(200);
    assert!(current("new").await.1, "telling of it again changes no group");
});

// S003-9, S003-11, S003-27: what is no group is refused, and nothing changes.
story!(only_groups_can_be_linked, async |app: &App| {
    app.experience("exp-1", "Tour").await.must_be(201);
    let operator = app.operators().await["operators"][0]["id"].clone();
    let (group, person) = (app.chat("1@g.us", "group").await, app.chat("593991234567@c.us", "individual").await);
    app.bind("exp-1", &group).await.must_be(200);
    let unknown = json!("0199c2a4-7f3e-7c10-9d1a-0c8f4e1f2b3a");
    for wrong in [&unknown, &person, &json!("1@g.us"), &json!(""), &json!(7), &json!([]), &json!(false)] {
        let answer = app.bind("exp-1", wrong).await.must_be(400);
        assert!(answer["group_id"][0].is_string(), "{wrong}: {answer}");
    }
    let url = format!("{SA}/experiences/exp-1/group/");
    assert!(app.patch(&url, &json!({})).await.must_be(400)["group_id"][0].is_string());
    assert!(app.patch(&url, &json!({"group": null})).await.must_be(400)["group_id"][0].is_string());
    assert_eq!(app.experiences().await[0]["current_whatsapp_group"]["id"], group, "nothing was unlinked");
    assert_eq!(app.bind("nothing", &group).await.status, 404);

    assert_eq!(app.default_group(&operator, &unknown).await.status, 404, "an unknown group");
    assert_eq!(app.default_group(&unknown, &group).await.status, 404, "an unknown operator");
    app.default_group(&operator, &person).await.must_be(400);
    app.default_group(&operator, &json!("x")).await.must_be(400);
});

// S003-10: the number on WhatsApp has no other way in.
story!(an_operator_can_be_changed, async |app: &App| {
    app.experience("exp-1", "Tour").await.must_be(201);
    let id = app.operators().await["operators"][0]["id"].as_str().expect("an id").to_owned();
    let url = format!("{SA}/operators/{id}/");
    let changed =
        app.patch(&url, &json!({"whatsapp_number": "099 765 4321", "contact_name": "Ana"})).await.must_be(200);
    assert_eq!((&changed["whatsapp_number"], &changed["contact_name"]), (&json!("+593997654321"), &json!("Ana")));
    assert_eq!(changed["contact_email"], "a@example.com", "what is not sent stays");
    assert_eq!(app.get(&url).await.must_be(200), changed);

    let wrong = json!({"whatsapp_number": "12", "contact_email": "nadie", "name": "", "organizer_id": "org-9"});
    let refused = app.patch(&url, &wrong).await.must_be(400);
    for field in ["whatsapp_number", "contact_email", "name", "organizer_id"] {
        assert!(refused[field][0].is_string(), "{field}: {refused}");
    }
    assert_eq!(app.get(&url).await.must_be(200), changed, "nothing of it was written");
    assert!(app.patch(&url, &json!({"name": null})).await.must_be(400)["name"][0].is_string());
    assert_eq!(app.get(&format!("{SA}/operators/{}/", "0199c2a4-7f3e-7c10-9d1a-0c8f4e1f2b3a")).await.status, 404);

    let unlinked = app.patch(&url, &json!({"organizer_id": null})).await.must_be(200);
    assert_eq!((&unlinked["organizer"], &unlinked["experiences_count"]), (&Value::Null, &json!(0)));
    let list = app.operators().await;
    assert_eq!((&list["organizers_without_operator"], &list["total"]), (&json!(1), &json!(2)), "{list}");
    let orphan = &list["operators"][1];
    assert_eq!((&orphan["id"], &orphan["needs_operator_creation"]), (&Value::Null, &json!(true)), "{orphan}");
    assert_eq!(orphan["organizer"]["id"], "org-7");
    let page = app.get(&format!("{SA}/operators/?page=2&page_size=1")).await.must_be(200);
    assert_eq!(page["operators"], json!([orphan]), "pages go on behind the operators");

    app.patch(&url, &json!({"organizer_id": "org-7"})).await.must_be(200);
    let other = json!({"title": "Otra", "organizer": {"id": "org-8", "name": "Costa"}});
    app.put(&format!("{SA}/experiences/exp-2/"), &other).await.must_be(201);
    assert!(app.patch(&url, &json!({"organizer_id": "org-8"})).await.must_be(400)["organizer_id"][0].is_string());
});

// Bad input: the field is named, and nothing is stored.
story!(a_wrong_experience_is_refused, async |app: &App| {
    let url = format!("{SA}/experiences/exp-1/");
    let table = [
        (json!({}), "title"),
        (json!({"title": ""}), "title"),
        (json!({"title": "x".repeat(256)}), "title"),
        (json!({"title": "T", "organizer": {}}), "organizer"),
        (json!({"title": "T", "organizer": 7}), "organizer"),
        (json!({"title": "T", "organizer": {"id": "o", "name": " "}}), "organizer"),
        (json!({"title": "T", "organizer": {"id": "o", "name": "N", "contact_email": "nadie"}}), "organizer"),
        (json!({"title": "T", "organizer": {"id": "o".repeat(101), "name": "N"}}), "organizer"),
        (json!({"title": "T", "slug": "a\u{1}b"}), "slug"),
    ];
    for (body, field) in table {
        let answer = app.put(&url, &body).await.must_be(400);
        assert!(!answer[field].is_null(), "{body}: {answer}");
    }
    assert_eq!(app.put(&format!("{SA}/experiences/{}/", "x".repeat(101)), &json!({"title": "T"})).await.status, 400);
    assert_eq!(app.experiences().await, Vec::<Value>::new());
    assert_eq!(app.operators().await["total"], 0);

    app.put(&url, &json!({"title": "Sin organizador", "organizer": null})).await.must_be(201);
    let only = &app.experiences().await[0];
    assert_eq!((&only["organizer"], &only["slug"]), (&Value::Null, &json!("sin-organizador")));
    let none = app.get(&format!("{SA}/experiences/?search=volc%C3%A1n")).await.must_be(200);
    assert_eq!(none, json!({"experiences": [], "total": 0}));
    assert_eq!(app.get(&format!("{SA}/experiences/?page=2")).await.status, 404);
});

// S003-29, d21: the superadmin's lists are no matter of applications.
story!(
    operators_need_a_key_of_an_admin,
    [("ALLOW_ANONYMOUS_API", "false"), ("API_KEYS", "a-key-of-the-stories-of-16")],
    async |app: &App| {
        let made = app.recado_json(&["api-key", "create", "bridge", "--scopes", "dispatch"]).await;
        let key = made["key"].as_str().expect("a key");
        for path in ["experiences", "operators"] {
            let with = async |key: &str| {
                app.send(app.request(Method::GET, &format!("{SA}/{path}/")).bearer_auth(key)).await.status
            };
            assert_eq!(with(key).await, 403, "{path}");
            assert_eq!(with("a-key-of-the-stories-of-16").await, 200, "{path}");
            assert_eq!(app.send(app.request(Method::GET, &format!("{SA}/{path}/"))).await.status, 401, "{path}");
        }
    }
);

// S003-21: by the name that Django gave it; a second run changes nothing.
story!(operators_are_migrated_to_organizers, async |app: &App| {
    app.experience("exp-1", "Tour").await.must_be(201);
    let id = app.operators().await["operators"][0]["id"].as_str().expect("an id").to_owned();
    app.patch(&format!("{SA}/operators/{id}/"), &json!({"organizer_id": null})).await.must_be(200);
    let other = json!({"title": "Otra", "organizer": {"id": "org-8", "name": "Costa"}});
    app.put(&format!("{SA}/experiences/exp-2/"), &other).await.must_be(201);
    app.sql("delete from tour_operators where organizer_id = 'org-8'").await;

    let migrate = async |arguments: &[&str]| {
        let output = app.recado(&[&["--json", "migrate_operators_to_organizers"], arguments].concat()).await;
        assert!(output.status.success(), "{output:?}");
        serde_json::from_slice::<Value>(&output.stdout).expect("JSON")
    };
    let planned = migrate(&["--dry-run"]).await;
    assert_eq!((&planned["linked"], &planned["created"]), (&json!(1), &json!(1)), "{planned}");
    assert_eq!(app.operators().await["organizers_without_operator"], 2, "a dry run changes nothing");
    assert_eq!(migrate(&[]).await["total"], 2);
    let operators = app.operators().await;
    assert_eq!((&operators["organizers_without_operator"], &operators["total"]), (&json!(0), &json!(2)), "{operators}");
    assert_eq!(app.get(&format!("{SA}/operators/{id}/")).await.must_be(200)["organizer"]["id"], "org-7");
    assert_eq!(migrate(&[]).await["total"], 0);
});
