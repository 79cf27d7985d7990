//! A server that says goodbye before it was asked for anything.
//!
//! `421 Service not available` in place of a greeting is no word about a mail (RFC 5321, section 3.8): the server restarts, is
//! full, or has as many connections of ours as it wants. A mail that came at such a moment has had no attempt. That has an end,
//! for the next channel may work: how long the server has been like this is told with each failure.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use super::error::{Cause, SmtpError, Stage};

/// Since when the server takes no mail, as the clock counts durations.
#[derive(Default)]
pub(super) struct Unavailable(Mutex<Option<Duration>>);

impl Unavailable {
    /// For how long the server has not been available, when this answer says that it is not. Any other ends it, except that
    /// a connection which fails says neither.
    pub(super) fn heard<T>(&self, answer: &Result<T, SmtpError>, now: Duration) -> Option<Duration> {
        let mut since = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match answer {
            Err(SmtpError { stage, cause: Cause::Reply { code: 421, .. } }) if *stage <= Stage::Hello => {
                Some(now.saturating_sub(*since.get_or_insert(now)))
            }
            Err(SmtpError { stage: Stage::Connect, .. }) => None,
            Ok(_) | Err(_) => {
                *since = None;
                None
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reply(stage: Stage, code: u16) -> Result<(), SmtpError> {
        Err(SmtpError { stage, cause: Cause::Reply { code, text: String::new() } })
    }

    #[test]
    fn it_is_known_how_long_a_server_serves_no_one() {
        let at = Duration::from_secs;
        let server = Unavailable::default();
        assert_eq!(server.heard(&reply(Stage::Greeting, 421), at(10)), Some(at(0)));
        assert_eq!(server.heard(&reply(Stage::Hello, 421), at(70)), Some(at(60)));
        let refused = Err::<(), _>(SmtpError { stage: Stage::Connect, cause: Cause::Broken("refused".to_owned()) });
        assert_eq!(server.heard(&refused, at(80)), None);
        assert_eq!(server.heard(&reply(Stage::Greeting, 421), at(90)), Some(at(80)));
        for other in [Ok(()), reply(Stage::Greeting, 554), reply(Stage::Sender, 421), reply(Stage::Recipient, 421)] {
            assert_eq!(server.heard(&other, at(100)), None, "{other:?}");
            assert_eq!(server.heard(&reply(Stage::Greeting, 421), at(110)), Some(at(0)));
        }
    }
}
