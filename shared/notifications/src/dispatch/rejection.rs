//! Why an event is not accepted.

use recado_kernel::language::Sentence;

/// Why an event was not accepted. All but the last two are the caller's to mend.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Rejection {
    /// Fields with their errors, in the shape that clients of Django parse.
    #[error("fields are wrong: {}", named(.0))]
    Fields(Vec<(String, Sentence)>),
    /// The event makes no sense here: no such slug, customer or configuration; a sentence for each.
    #[error("{}", joined(.0))]
    Refused(Vec<Sentence>),
    /// The context lacks what the words need (S002-42): the names as they stand in the texts, and the minimum by its ids.
    #[error("variables are missing: {0:?}")]
    MissingVariables(Vec<String>),
    /// A template of the workshop cannot be rendered.
    #[error("the template `{template}` cannot be rendered: {reason}")]
    Template { template: String, reason: Sentence },
    /// The key stands for another request.
    #[error("this Idempotency-Key was used for another request")]
    KeyReused,
    /// The batch was lost to trouble of ours; nothing of it was written.
    #[error("the ledger could not be written")]
    Unavailable,
}

impl Rejection {
    /// The customer is unknown.
    pub(super) fn no_such_customer(customer_id: &str) -> Self {
        Self::Refused(vec![Self::unknown_customer(customer_id)])
    }

    /// The same as a sentence, to stand beside others.
    pub(super) fn unknown_customer(customer_id: &str) -> Sentence {
        let (customer, sync) = (customer_id.escape_debug(), "/api/internal/v1/customers/sync/");
        Sentence::new(
            format!("No existe el cliente con customer_id `{customer}`. Sincronícelo primero en {sync}."),
            format!("There is no customer with customer_id `{customer}`. Synchronise it first at {sync}."),
        )
    }
}

/// The sentences, one after the other.
fn joined(sentences: &[Sentence]) -> String {
    sentences.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
}

/// The sentences, each behind the name of its field.
fn named(errors: &[(String, Sentence)]) -> String {
    errors.iter().map(|(field, error)| format!("{field}: {error}")).collect::<Vec<_>>().join(" ")
}
