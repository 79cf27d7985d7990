//! Recipients that an account refuses one after the other.
//!
//! A server that knows none of ten people has something against us, whatever it says of them: it does not know our domain, its
//! directory is empty, its administrator has written one text for all refusals. Then no address is suppressed, and those that
//! were are written to again.

use std::sync::{Mutex, PoisonError};

use recado_kernel::ids::Id;
use recado_notifications::channels::Channel;
use recado_notifications::fallback::FailureClass;
use recado_notifications::suppressions::key;

use super::super::failure::{Bounced, Fault, InARow, SendFailure};

/// How many different people may not exist in a row before the account is asked instead. Of real addresses one in fifty is dead.
const LONGEST: usize = 5;

/// The refusals since the last mail that the account took.
#[derive(Default)]
pub(super) struct Streak(Mutex<Vec<Bounced>>);

impl Streak {
    /// The outcome as it is to be believed.
    pub(super) fn judge<T>(
        &self,
        notification_id: Id,
        address: &str,
        outcome: Result<T, SendFailure>,
    ) -> Result<T, SendFailure> {
        let mut refused = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match outcome {
            Ok(taken) => {
                refused.clear();
                Ok(taken)
            }
            Err(failure) if failure.bounced => {
                let address = key(Channel::Email, address);
                // One that is tried twice says nothing new.
                if refused.len() < LONGEST && refused.iter().all(|other| other.address != address) {
                    refused.push(Bounced { notification_id, address });
                }
                Err(if refused.len() < LONGEST { failure } else { doubtful(failure, &refused) })
            }
            Err(failure) => Err(failure),
        }
    }
}

/// Not the recipient's fault after all.
fn doubtful(failure: SendFailure, refused: &[Bounced]) -> SendFailure {
    SendFailure {
        class: FailureClass::Misconfigured,
        fault: Fault::Account,
        bounced: false,
        not_bounced: Some(Box::new(InARow(refused.to_vec()))),
        reason: format!(
            "the SMTP server has refused {LONGEST} recipients or more in a row and taken none, so that it is not about them; check the account: EMAIL_HOST, EMAIL_HOST_USER and DEFAULT_FROM_EMAIL"
        ),
        ..failure
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(streak: &Streak, address: &str) -> SendFailure {
        let failure = SendFailure { bounced: true, ..SendFailure::new(FailureClass::Permanent, "CODE", "") };
        streak.judge::<()>(Id::of_name(address), address, Err(failure)).unwrap_err()
    }

    /// Many recipients that are refused in a row are never about the recipients (hyvor/relay#258).
    #[test]
    fn a_streak_of_refusals_suspends_suppression_and_takes_it_back() {
        let streak = Streak::default();
        for number in 1..LONGEST {
            assert!(refused(&streak, &format!("cliente{number}@example.com")).bounced);
        }
        assert!(refused(&streak, "Cliente1@example.com").bounced, "the same one says nothing new");
        for last in ["cliente98@example.com", "cliente99@example.com"] {
            let failure = refused(&streak, last);
            assert_eq!((failure.class, failure.fault), (FailureClass::Misconfigured, Fault::Account));
            assert!(!failure.bounced && failure.reason.contains("EMAIL_HOST"), "{}", failure.reason);
            let InARow(taken_back) = *failure.not_bounced.expect("they are named");
            assert_eq!((taken_back.len(), taken_back[0].address.as_str()), (LONGEST, "cliente1@example.com"));
        }
    }

    #[test]
    fn one_mail_that_is_taken_clears_the_account() {
        let streak = Streak::default();
        for round in 0..3 {
            for number in 1..LONGEST {
                assert!(refused(&streak, &format!("cliente{round}{number}@example.com")).bounced);
            }
            let other = SendFailure::new(FailureClass::Transient, "CODE", "");
            assert!(streak.judge::<()>(Id::of_name("x"), "x@example.com", Err(other)).is_err());
            streak.judge(Id::of_name("maria"), "maria@example.com", Ok(())).unwrap();
        }
    }
}
