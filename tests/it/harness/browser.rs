//! A person with a browser, as far as HTTP goes: a cookie, forms, and what a browser says of where a request comes from.

use recado_kernel::users::{self, Roles};
use recado_kernel::{passwords, sessions, tls};
use reqwest::header::{COOKIE, SET_COOKIE};
use reqwest::redirect::Policy;
use reqwest::{Client, Method, RequestBuilder};
use secrecy::ExposeSecret;

use crate::harness::answer::Answer;
use crate::harness::app::{App, operator};

/// What everyone in the stories has for a password.
pub(crate) const PASSWORD: &str = "a sentence that is easy to keep";

pub(crate) struct Browser {
    http: Client,
    url: String,
    pub(crate) cookie: String,
}

impl App {
    /// A browser in which no one is logged in.
    pub(crate) fn browser(&self) -> Browser {
        #[expect(clippy::disallowed_methods, reason = "it speaks to this test's own server on loopback")]
        let http = tls::http_client().no_proxy().redirect(Policy::none()).build().expect("a client");
        Browser { http, url: self.url.clone(), cookie: String::new() }
    }

    /// A person of this name with these roles, who has a password.
    pub(crate) async fn person(&self, name: &str, roles: &str) {
        let now = self.clock.now();
        let hash = passwords::hash(PASSWORD.into()).await;
        let mut session = self.begin().await;
        let id = users::create(&mut session, name, &Roles::from(roles.to_owned()), &operator(), now)
            .await
            .expect("it is written");
        users::set_password(&mut session, id.expect("a new name"), &hash).await.expect("it is kept");
        session.commit().await.expect("it is committed");
    }

    /// The browser of a person with these roles who is logged in. Their name is that of the roles.
    pub(crate) async fn operator(&self, roles: &str) -> Browser {
        let now = self.clock.now();
        let mut session = self.begin().await;
        let name = format!("{}-1", roles.replace(' ', "-"));
        let id = users::create(&mut session, &name, &Roles::from(roles.to_owned()), &operator(), now)
            .await
            .expect("it is written");
        let begun = sessions::begin(&mut session, id.expect("a new name"), "story", "127.0.0.1", now).await;
        let (_, token) = begun.expect("a session");
        session.commit().await.expect("it is committed");
        Browser { cookie: format!("recado_session={}", token.expose_secret()), ..self.browser() }
    }
}

impl Browser {
    pub(crate) fn request(&self, method: Method, path: &str) -> RequestBuilder {
        let request = self.http.request(method, format!("{}{path}", self.url)).header("accept-language", "en");
        if self.cookie.is_empty() { request } else { request.header(COOKIE, &self.cookie) }
    }

    pub(crate) async fn send(&self, request: RequestBuilder) -> Answer {
        Answer::read(request.send().await.expect("the console answers")).await
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.send(self.request(Method::GET, path)).await
    }

    /// The page, which must be there.
    pub(crate) async fn page(&self, path: &str) -> String {
        let answer = self.get(path).await;
        assert_eq!(answer.status, 200, "{path}: {}", answer.text);
        answer.text
    }

    /// A form of our own page.
    pub(crate) async fn post(&self, path: &str, fields: &[(&str, &str)]) -> Answer {
        self.send(self.request(Method::POST, path).header("sec-fetch-site", "same-origin").form(fields)).await
    }

    /// A form, and the page that follows it.
    pub(crate) async fn post_and_follow(&self, path: &str, fields: &[(&str, &str)]) -> String {
        let answer = self.post(path, fields).await;
        assert_eq!(answer.status, 303, "{path}: {}", answer.text);
        let notice = answer.header(SET_COOKIE.as_str()).split(';').next().unwrap_or_default().to_owned();
        let there = answer.header("location").to_owned();
        let request = self.request(Method::GET, &there).header(COOKIE, format!("{}; {notice}", self.cookie));
        let request = request.build().expect("a request");
        Answer::read(self.http.execute(request).await.expect("the console answers")).await.text
    }

    /// Takes back what a page says was done, and the page that follows.
    pub(crate) async fn undo(&self, page: &str) -> String {
        let notice = page.split("class=\"notice\"").nth(1).expect("the page says what was done");
        let action = notice.split("action=\"").nth(1).and_then(|rest| rest.split('"').next());
        let action = action.expect("it can be undone").replace("&#38;", "&").replace("&amp;", "&");
        self.post_and_follow(&action, &[]).await
    }

    /// Logs in through the form. False: it was refused.
    pub(crate) async fn log_in(&mut self, name: &str, password: &str) -> bool {
        let answer = self.post("/admin/login/", &[("name", name), ("password", password)]).await;
        if answer.status != 303 {
            assert_eq!(answer.status, 422, "{}", answer.text);
            return false;
        }
        self.cookie = answer.header("set-cookie").split(';').next().unwrap_or_default().to_owned();
        true
    }
}

/// What stands between two texts of a page.
pub(crate) fn between<'p>(page: &'p str, before: &str, after: &str) -> &'p str {
    let rest = page.split(before).nth(1).unwrap_or_else(|| panic!("no {before} in {page}"));
    rest.split(after).next().expect("a text has a beginning")
}
