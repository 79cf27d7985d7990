//! A login that wants a code besides the password (RFC 6238).

use std::time::Duration;

use totp_rs::{Builder, Secret};

use crate::harness::app::{App, SECRET_KEY};
use crate::harness::browser::{Browser, PASSWORD};
use crate::harness::pair::story;

impl App {
    /// What the phone of a person with this secret shows now.
    fn phone(&self, secret: &str) -> String {
        let secret = Secret::try_from_base32(secret).expect("base 32");
        let totp = Builder::new().with_secret(secret).build().expect("a good secret");
        let seconds = u64::try_from(self.clock.now().as_micros() / 1_000_000).expect("after 1970");
        totp.generate(seconds).to_string()
    }

    /// A person who has set up codes: a browser in which she is logged in, the secret of her phone, and her codes on paper.
    async fn with_codes(&self) -> (Browser, String, Vec<String>) {
        self.person("ana", "operator").await;
        let mut ana = self.browser();
        assert!(ana.log_in("ana", PASSWORD).await);
        assert_eq!(ana.post("/admin/me/codes/", &[]).await.status, 303);
        let page = ana.page("/admin/me/codes/").await;
        assert!(page.contains("<svg"), "{page}");
        let secret = page.split("<code>").nth(1).and_then(|rest| rest.split('<').next()).expect("the secret");
        let secret = secret.replace(' ', "");
        let wrong = ana.post("/admin/me/codes/confirm/", &[("code", "000000")]).await;
        assert!(wrong.status == 422 && wrong.text.contains("not the code of this moment"), "{}", wrong.text);
        let answer = ana.post("/admin/me/codes/confirm/", &[("code", &self.phone(&secret))]).await;
        assert_eq!(answer.status, 200, "{}", answer.text);
        let codes = answer.text.split("<pre tabindex=\"0\">").nth(1).and_then(|rest| rest.split("</pre>").next());
        let codes: Vec<String> = codes.expect("the codes").split_whitespace().map(str::to_owned).collect();
        assert_eq!(codes.len(), 10);
        (ana, secret, codes)
    }
}

async fn is_let_in(browser: &mut Browser, code: &str) -> bool {
    let answer = browser.post("/admin/login/", &[("name", "ana"), ("password", PASSWORD), ("code", code)]).await;
    if answer.status == 422 {
        assert!(answer.text.contains("Name, password or code is wrong"), "{}", answer.text);
    }
    answer.status == 303
}

story!(a_login_wants_a_code_and_none_is_good_twice, [SECRET_KEY], async |app: &App| {
    let (_, secret, codes) = app.with_codes().await;
    let mut browser = app.browser();
    assert!(!is_let_in(&mut browser, "").await, "the password alone");
    assert!(!is_let_in(&mut browser, &app.phone(&secret)).await, "the code that was used to set it up");
    app.clock.advance(Duration::from_secs(30));
    let code = app.phone(&secret);
    assert!(is_let_in(&mut browser, &format!("{} {}", &code[..3], &code[3..])).await, "as people type it");
    assert!(!is_let_in(&mut browser, &code).await, "a second time");
    assert!(is_let_in(&mut browser, &codes[0].to_uppercase()).await, "a code on paper");
    assert!(!is_let_in(&mut browser, &codes[0]).await, "a second time");
    app.clock.advance(Duration::from_secs(600));
    assert!(!is_let_in(&mut browser, &code).await, "an old one");
});

story!(codes_are_given_up_with_a_code_or_by_an_administrator, [SECRET_KEY], async |app: &App| {
    let (ana, secret, codes) = app.with_codes().await;
    let page = ana.post_and_follow("/admin/me/codes/forget/", &[("code", "123456")]).await;
    assert!(page.contains("Nothing was changed") && page.contains("10 codes on paper"), "{page}");
    assert_eq!(ana.get("/admin/me/codes/").await.status, 404, "the secret is never shown again");
    let page = ana.post_and_follow("/admin/me/codes/forget/", &[("code", &codes[1])]).await;
    assert!(page.contains("wants no code any more"), "{page}");
    let mut browser = app.browser();
    assert!(is_let_in(&mut browser, "").await);
    assert!(is_let_in(&mut browser, &app.phone(&secret)).await, "nor does it mind one");
});

story!(guessing_codes_is_slowed_down, [SECRET_KEY], async |app: &App| {
    let (_, secret, _) = app.with_codes().await;
    let mut browser = app.browser();
    for _ in 0..10 {
        assert!(!is_let_in(&mut browser, "000000").await);
    }
    app.clock.advance(Duration::from_secs(30));
    assert!(!is_let_in(&mut browser, &app.phone(&secret)).await, "ten were tried");
    app.clock.advance(Duration::from_secs(15 * 60));
    assert!(is_let_in(&mut browser, &app.phone(&secret)).await);
});
