//! Words: for what was done, for the state of a delivery, and for why nothing goes out.

use recado_kernel::language::Language;
use recado_partners::standing::{Policy, Standing};
use recado_webhooks::deliveries::Status as DeliveryStatus;

use super::visitor::Visitor;
use crate::state::Api;

/// Why nothing goes out to this partner now, as a sentence.
pub(super) fn stopped(api: &Api, visitor: &Visitor) -> Option<String> {
    let standing = visitor.connection.standing(policy(api)).with_endpoint(&visitor.endpoint);
    (!standing.is_active()).then(|| explanation(visitor.frame.language, standing).to_owned())
}

pub(super) fn policy(api: &Api) -> Policy {
    Policy { require_kyc: api.context.config.partner_require_kyc }
}

/// What was done, by the word in the query.
pub(super) fn done(language: Language, word: &str) -> String {
    let text = match word {
        "replayed" => language.pick("Reenviada como entrega nueva.", "Sent again, as a new delivery."),
        "ordered" => language.pick("El reenvío está en curso.", "They are being sent again."),
        "tested" => language.pick(
            "Prueba enviada; abajo está cómo respondió su endpoint.",
            "Test sent; below is how your endpoint answered.",
        ),
        "resumed" => language.pick(
            "Su endpoint está activo. Lo que se perdió se reenvía con «todo desde que se desactivó».",
            "Your endpoint is active. What you missed is sent again by “everything since it was disabled”.",
        ),
        _ => "",
    };
    text.to_owned()
}

/// What a standing means, and what is to be done.
pub(super) fn explanation(language: Language, standing: Standing) -> &'static str {
    match standing {
        Standing::Active => language.pick("Los webhooks salen.", "Webhooks go out."),
        Standing::Inactive | Standing::Suspended | Standing::Deleted | Standing::Revoked => language.pick(
            "No sale ningún webhook: su cuenta no está activa. Escriba a quien le envió este enlace.",
            "No webhook goes out: your account is not active. Write to those who sent you this link.",
        ),
        Standing::KycPending => language.pick(
            "No sale ningún webhook hasta que se apruebe su verificación.",
            "No webhook goes out until your verification is approved.",
        ),
        Standing::Gone => language.pick(
            "Su endpoint respondió 410 y se desactivó. Haga que responda 2xx y reactívelo.",
            "Your endpoint answered 410 and was disabled. Make it answer 2xx, and re-enable it.",
        ),
        Standing::Failing => language.pick(
            "Su endpoint no aceptó nada durante cinco días y se desactivó. Haga que responda 2xx y reactívelo.",
            "Your endpoint took nothing for five days and was disabled. Make it answer 2xx, and re-enable it.",
        ),
    }
}

/// Its name, and how it is coloured.
pub(super) fn delivery_status(language: Language, status: DeliveryStatus) -> (&'static str, &'static str) {
    match status {
        DeliveryStatus::Pending => (language.pick("pendiente", "pending"), "wait"),
        DeliveryStatus::Delivered => (language.pick("entregada", "delivered"), "good"),
        DeliveryStatus::Failed => (language.pick("fallida", "failed"), "bad"),
        DeliveryStatus::Cancelled => (language.pick("cancelada", "cancelled"), "bad"),
        DeliveryStatus::Skipped => (language.pick("omitida", "skipped"), "wait"),
    }
}
