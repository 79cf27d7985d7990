//! A caller that sends too much is asked to wait; everybody else notices nothing.

use reqwest::Method;

use crate::harness::answer::Answer;
use crate::harness::app::{App, SYNC_CUSTOMER, seconds};
use crate::harness::pair::story;
use crate::harness::sample;

const VEHICLES: &str = "/api/v1/notifications/vehicles/";

impl App {
    async fn look(&self, key: &str) -> Answer {
        self.send(self.request(Method::GET, VEHICLES).bearer_auth(key)).await
    }
}

// d21: as many as were promised, then 429 with the time to wait, in the words of Django REST framework.
story!(
    each_key_has_a_limit_of_its_own,
    [
        ("ALLOW_ANONYMOUS_API", "false"),
        ("API_KEYS", "the-first-key-of-two,the-second-key-of-two"),
        ("API_RATE_LIMIT_PER_MINUTE", "3"),
    ],
    async |app: &App| {
        for left in ["2", "1", "0"] {
            let answer = app.look("the-first-key-of-two").await;
            assert_eq!((answer.status, answer.header("x-ratelimit-remaining")), (200, left));
            assert_eq!(answer.header("x-ratelimit-limit"), "3");
        }
        let refused = app.look("the-first-key-of-two").await;
        assert_eq!((refused.header("retry-after"), refused.header("x-ratelimit-remaining")), ("20", "0"));
        let body = refused.must_be(429);
        assert_eq!(body["detail"], "Solicitud regulada (throttled). Disponible en 20 segundos.");

        app.look("the-second-key-of-two").await.must_be(200);
        // Services of the same house and probes are not counted.
        for _ in 0..5 {
            app.post(SYNC_CUSTOMER, &sample::customer()).await.must_be(202);
            app.get("/health").await.must_be(200);
        }
        app.clock.advance(seconds(20));
        app.look("the-first-key-of-two").await.must_be(200);
        app.look("the-first-key-of-two").await.must_be(429);
        app.drain().await;
    }
);

// Where the API is open, who calls from this machine is not limited.
story!(an_open_api_does_not_limit_this_machine, [("API_RATE_LIMIT_PER_MINUTE", "1")], async |app: &App| {
    for _ in 0..5 {
        let answer = app.get(VEHICLES).await;
        assert_eq!((answer.status, answer.header("x-ratelimit-limit")), (200, ""));
    }
});
