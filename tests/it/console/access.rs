//! Who gets into the console, and what each may do there.

use std::collections::BTreeSet;
use std::env;
use std::fs;
use std::time::Duration;

use recado_console::{Entry, Needs, Sort};
use recado_kernel::users::{Role, Roles};
use reqwest::Method;
use serde_json::Value;

use crate::harness::app::App;
use crate::harness::browser::{Browser, PASSWORD, between};
use crate::harness::pair::story;

story!(no_one_gets_in_without_a_login, async |app: &App| {
    let stranger = app.browser();
    let answer = stranger.get("/admin/tasks/?state=dead").await;
    assert_eq!((answer.status, answer.header("location")), (303, "/admin/login/?back=%2Fadmin%2Ftasks%3Fstate%3Ddead"));
    // The address alone leads a person to the pages, and tells a program that there is nothing.
    let home = stranger.send(stranger.request(Method::GET, "/").header("accept", "text/html,*/*")).await;
    assert_eq!((home.status, home.header("location")), (303, "/admin/"));
    assert_eq!(app.get("/").await.must_be(404)["detail"], "No encontrado.");
    // Of a form, and of a part of a page, the way back is the page on which it stood.
    let stood = format!("{}/admin/tasks/?state=dead", app.url);
    let form = stranger.request(Method::POST, "/admin/tasks/bulk/").header("sec-fetch-site", "same-origin");
    let part = stranger.request(Method::GET, "/admin/tasks/count/").header("hx-request", "true");
    for (request, header) in [(form, "location"), (part, "hx-redirect")] {
        let answer = stranger.send(request.header("referer", &stood)).await;
        assert_eq!(answer.header(header), "/admin/login/?back=%2Fadmin%2Ftasks%2F%3Fstate%3Ddead", "{}", answer.status);
    }
    let login = stranger.page("/admin/login/?back=%2Fadmin%2Ftasks%2F").await;
    assert!(login.contains("autocomplete=\"current-password\"") && login.contains("autocomplete=\"username\""));
    let answer = stranger.get("/admin/login/?back=https://evil.example.com/").await;
    assert!(!answer.text.contains("evil.example.com"), "a stranger's address is no way back");
    assert!(answer.header("content-security-policy").starts_with("default-src 'none'; script-src 'self'"));
    assert_eq!((answer.header("cache-control"), answer.header("referrer-policy")), ("no-store", "same-origin"));
});

story!(a_link_sets_a_password_once, async |app: &App| {
    app.live_now();
    let made = app.recado_json(&["user", "create", "Ana@Example.com", "--roles", "operator"]).await;
    let link = made["link"].as_str().expect("a link");
    let path = &link[link.find("/admin/").expect("a page of the console")..];
    let mut browser = app.browser();
    assert!(browser.page(path).await.contains("ana@example.com"));
    assert_eq!(browser.post(path, &[("password", "short")]).await.status, 422);
    assert_eq!(browser.post(path, &[("password", PASSWORD)]).await.status, 303);
    assert_eq!(
        (browser.get(path).await.status, browser.post(path, &[("password", PASSWORD)]).await.status),
        (404, 404)
    );
    assert!(!browser.log_in("ana@example.com", "another sentence entirely").await);
    assert!(browser.log_in(" ANA@example.com", PASSWORD).await);
    assert!(browser.page("/admin/tasks/").await.contains("ana@example.com"));

    assert!(app.recado(&["user", "disable", "ana@example.com"]).await.status.success());
    assert_eq!(browser.get("/admin/tasks/").await.status, 303, "all her sessions have ended");
    assert!(!browser.log_in("ana@example.com", PASSWORD).await);
    let listed = app.recado_json(&["user", "list"]).await;
    assert_eq!((&listed[0]["name"], &listed[0]["roles"]), (&Value::from("ana@example.com"), &Value::from("operator")));
    assert!(!listed.to_string().contains("argon2"), "{listed}");
});

story!(a_session_ends, async |app: &App| {
    app.person("luis", "viewer").await;
    let (mut here, mut there) = (app.browser(), app.browser());
    assert!(here.log_in("luis", PASSWORD).await && there.log_in("luis", PASSWORD).await);
    assert_ne!(here.cookie, there.cookie);
    // Ended from another browser.
    let account = here.page("/admin/me/").await;
    let ends: Vec<&str> = account
        .split("action=\"")
        .filter_map(|rest| rest.split('"').next())
        .filter(|url| url.ends_with("/end/"))
        .collect();
    assert_eq!(ends.len(), 2, "{account}");
    let own = account.split("this one").next().expect("it is there").matches("/end/").count();
    let other = ends[1 - own.min(1)];
    assert_eq!(here.post(other, &[]).await.status, 303);
    assert_eq!(
        usize::from(here.get("/admin/me/").await.status == 200)
            + usize::from(there.get("/admin/me/").await.status == 200),
        1
    );
    // By not being used, and by being old.
    let mut late = app.browser();
    assert!(late.log_in("luis", PASSWORD).await);
    for _ in 0..13 {
        app.clock.advance(Duration::from_secs(11 * 60 * 60));
        assert_eq!(late.get("/admin/tasks/").await.status, 200);
    }
    app.clock.advance(Duration::from_secs(12 * 60 * 60 + 1));
    assert_eq!(late.get("/admin/tasks/").await.status, 303);
    // By logging out.
    assert!(late.log_in("luis", PASSWORD).await);
    let answer = late.post("/admin/logout/", &[]).await;
    assert!(answer.header("set-cookie").contains("Max-Age=0"));
    assert_eq!(late.get("/admin/tasks/").await.status, 303);
});

// Wrong names and wrong passwords are answered alike, and after ten the right one too.
story!(guesses_are_limited, async |app: &App| {
    app.person("luis", "viewer").await;
    let mut browser = app.browser();
    let wrong = async |name: &str| {
        let answer = app.browser().post("/admin/login/", &[("name", name), ("password", "not the password")]).await;
        (answer.status, answer.text.replace(name, "NAME"))
    };
    assert_eq!(wrong("luis").await, wrong("nina").await);
    for _ in 0..8 {
        wrong("luis").await;
    }
    assert!(!browser.log_in("luis", PASSWORD).await, "ten were made from here");
    app.clock.advance(Duration::from_secs(15 * 60));
    assert!(browser.log_in("luis", PASSWORD).await);
});

/// A path that leads somewhere, whatever stands in it.
fn filled(entry: &Entry) -> String {
    let id = "0197c1e0-7b3a-7c52-9d0e-2f6a1b4c8d90";
    ["{id}", "{subject}", "{token}"]
        .iter()
        .fold(entry.path.to_owned(), |path, part| path.replace(part, id))
        .replace("{kind}", "task")
        .replace("{file}", "console.css")
}

/// How a URL answers: its status, and where it leads. The body is left alone, because a stream has no end.
async fn asked(browser: &Browser, entry: &Entry, from: (&str, &str)) -> (u16, String) {
    let request = browser.request(entry.method.clone(), &filled(entry)).header(from.0, from.1);
    let request = if entry.method == Method::POST { request.form(&[("", "")]) } else { request };
    let answer = request.send().await.expect("the console answers");
    let leads_to = answer.headers().get("location").and_then(|there| there.to_str().ok()).unwrap_or_default();
    (answer.status().as_u16(), leads_to.to_owned())
}

const OUR_PAGE: (&str, &str) = ("sec-fetch-site", "same-origin");

/// All URLs. The one that ends a session comes last.
fn entries() -> Vec<Entry> {
    let mut entries = recado_console::entries();
    entries.sort_by_key(|entry| entry.path.ends_with("/logout"));
    entries
}

/// The table of docs/console.md is this one, so that a change of who may do what is seen. `UPDATE_DOCS=1` writes it.
#[test]
#[expect(clippy::disallowed_methods, reason = "a switch of this test, and no setting of the product")]
fn the_table_of_roles_is_in_the_document() {
    let mut table = String::from("| URL | what | needs |\n|---|---|---|\n");
    for entry in recado_console::entries() {
        let needs = match entry.needs {
            Needs::Nothing => "–",
            Needs::Login => "login",
            Needs::Role(role) => role.as_str(),
        };
        let what = match entry.sort {
            Sort::Page => "page",
            Sort::Part => "part",
            Sort::Action => "action",
        };
        table.push_str(&format!("| `{} {}/` | {what} | {needs} |\n", entry.method, entry.path));
    }
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/console.md");
    let document = fs::read_to_string(path).expect("the document is there");
    let start = document.find("| URL | what | needs |").expect("the document has the table");
    let end = document[start..].find("\n\n").map_or(document.len(), |end| start + end + 1);
    if env::var_os("UPDATE_DOCS").is_some() {
        let written = [&document[..start], &table, &document[end..]].concat();
        fs::write(path, written).expect("the document is written");
        return;
    }
    assert_eq!(&document[start..end], table, "UPDATE_DOCS=1 cargo test -p recado-tests the_table_of_roles writes it");
}

#[test]
fn no_action_is_open_but_those_before_the_login() {
    let open: BTreeSet<&str> = recado_console::entries()
        .into_iter()
        .filter(|entry| entry.sort == Sort::Action && entry.needs == Needs::Nothing)
        .map(|entry| entry.path)
        .collect();
    assert_eq!(open, BTreeSet::from(["/admin/login", "/admin/password/{token}"]));
}

// Every URL with every role: exactly what the table says. Who may not gets 403, and who is not logged in is sent to the login.
story!(each_role_may_what_it_may, async |app: &App| {
    app.leave_work();
    let mut people = Vec::new();
    for role in Role::ALL {
        people.push((role, app.operator(role.as_str()).await));
    }
    let stranger = app.browser();
    for entry in entries() {
        let (path, method) = (entry.path, &entry.method);
        let (status, leads_to) = asked(&stranger, &entry, OUR_PAGE).await;
        let to_login = status == 303 && leads_to.starts_with("/admin/login/");
        assert_eq!(to_login, entry.needs != Needs::Nothing, "{method} {path} for a stranger: {status} {leads_to}");
        assert!(to_login || matches!(status, 200 | 400 | 404), "{method} {path} for a stranger: {status}");
        for (role, browser) in &people {
            let may = match entry.needs {
                Needs::Role(needed) => Roles(vec![*role]).include(needed),
                Needs::Nothing | Needs::Login => true,
            };
            let (status, leads_to) = asked(browser, &entry, OUR_PAGE).await;
            let is_let_in = matches!(status, 200 | 204 | 303 | 400 | 404 | 409 | 422);
            assert_eq!(status == 403, !may, "{method} {path} for {role}: {status}");
            assert!(is_let_in || !may, "{method} {path} for {role}: {status}");
            let ends_here = path.ends_with("/logout");
            assert!(ends_here || !leads_to.starts_with("/admin/login/"), "{method} {path} for {role}: {leads_to}");
        }
    }
    assert!(entries().iter().any(|entry| entry.sort == Sort::Action));
});

// Every link of the menu leads to a page that there is, and is drawn for every role that may open that page.
story!(the_menu_shows_each_role_where_it_may_go, async |app: &App| {
    let mut shown = Vec::new();
    for role in Role::ALL {
        let page = app.operator(role.as_str()).await.page("/admin/me/").await;
        let menu = between(&page, "<details class=\"menu\">", "</details>");
        let links = menu.split("href=\"").skip(1).filter_map(|rest| rest.split('"').next());
        shown.push((role, links.map(str::to_owned).collect::<BTreeSet<String>>()));
    }
    let entries = entries();
    let all: BTreeSet<&String> = shown.iter().flat_map(|(_, links)| links).collect();
    assert!(all.len() > 20, "{all:?}");
    for link in all {
        let entry = entries.iter().find(|entry| entry.path == link.trim_end_matches('/'));
        let Some(Entry { needs: Needs::Role(needed), .. }) = entry else { panic!("{link}: {entry:?}") };
        for (role, links) in &shown {
            let may = Roles(vec![*role]).include(*needed);
            assert_eq!(links.contains(link), may, "{link} for {role}");
        }
    }
});

// Each action that a page of another site posts is refused, whatever its role; so is the login, and the session goes on.
story!(no_action_is_taken_from_another_site, async |app: &App| {
    app.leave_work();
    let admin = app.operator("admin").await;
    let forgeries =
        [("sec-fetch-site", "cross-site"), ("sec-fetch-site", "same-site"), ("origin", "https://evil.example.com")];
    for entry in entries().iter().filter(|entry| entry.sort == Sort::Action) {
        for forged in forgeries {
            let (status, _) = asked(&admin, entry, forged).await;
            assert_eq!(status, 403, "{} {forged:?}", entry.path);
        }
    }
    assert!(admin.page("/admin/me/").await.contains("admin-1"), "nobody was logged out");
    assert!(entries().iter().all(|entry| (entry.sort == Sort::Action) == (entry.method == Method::POST)));
});

story!(a_form_of_another_site_is_refused, async |app: &App| {
    let admin = app.operator("admin").await;
    for (name, value) in [
        ("sec-fetch-site", "cross-site"),
        ("sec-fetch-site", "same-site"),
        ("origin", "https://evil.example.com"),
        ("origin", "null"),
    ] {
        let forged = admin.request(Method::POST, "/admin/me/").header(name, value).form(&[("theme", "dark")]);
        let answer = admin.send(forged).await;
        assert_eq!(answer.status, 403, "{name}: {value}");
        assert!(answer.text.contains("not sent by this site"), "{}", answer.text);
    }
    assert_eq!(admin.post("/admin/me/", &[("theme", "dark")]).await.status, 303);
    assert!(admin.page("/admin/me/").await.contains("data-theme=\"dark\""));
});

story!(over_plain_http_from_elsewhere_it_says_that_it_needs_tls, async |app: &App| {
    let browser = app.browser();
    let ask = browser.request(Method::GET, "/admin/login/").header("host", "avisos.example.com");
    let answer = browser.send(ask).await;
    assert!(answer.text.contains("needs TLS") && !answer.text.contains("type=\"password\""), "{}", answer.text);
    let ask = browser
        .request(Method::GET, "/admin/login/")
        .header("host", "avisos.example.com")
        .header("x-forwarded-proto", "https");
    assert!(browser.send(ask).await.text.contains("type=\"password\""));
});

story!(
    a_proxy_names_the_person,
    [("CONSOLE_TRUSTED_HEADER", "X-Forwarded-User"), ("TRUSTED_PROXIES", "127.0.0.1")],
    async |app: &App| {
        app.person("luis", "viewer").await;
        let browser = app.browser();
        let ask = async |name: &str| {
            browser.send(browser.request(Method::GET, "/admin/tasks/").header("x-forwarded-user", name)).await.status
        };
        assert_eq!((ask("luis").await, ask("nina").await, ask("").await), (200, 303, 303));
    }
);

story!(
    a_header_of_a_stranger_is_not_believed,
    [("CONSOLE_TRUSTED_HEADER", "X-Forwarded-User"), ("TRUSTED_PROXIES", "10.0.0.1")],
    async |app: &App| {
        app.person("luis", "viewer").await;
        let browser = app.browser();
        let ask = browser.request(Method::GET, "/admin/tasks/").header("x-forwarded-user", "luis");
        assert_eq!(browser.send(ask).await.status, 303);
    }
);
