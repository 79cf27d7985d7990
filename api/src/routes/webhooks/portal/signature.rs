//! Testing a signature. What it should have been is not shown: with it anyone who has the link could sign.

use std::sync::Arc;

use askama::Template;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use recado_kernel::language::Language;
use recado_webhooks::debugger::{self, Report, Reveal, SignatureCheck, Tried};
use recado_webhooks::dialect::{self, Received, Refusal};

use super::form::form;
use super::visitor::{Actor, Frame, Refused, Visitor, key, page};
use crate::extract::body::RawBody;
use crate::problem::Problem;
use crate::state::Api;

pub(super) async fn signature_form(visitor: Visitor) -> Response {
    page(StatusCode::OK, &SignaturePage::empty(visitor.frame))
}

pub(super) async fn test_signature(
    State(api): State<Arc<Api>>,
    Actor(visitor): Actor,
    body: Result<RawBody, Problem>,
) -> Result<Response, Refused> {
    let form = form(body, &visitor)?;
    let Visitor { frame, connection, .. } = visitor;
    let now = api.context.clock.now();
    let secrets = key(&api).map(|key| connection.inbound_secrets(key, now));
    let Ok(Ok(secrets)) = secrets else {
        return Err(Refused::problem(frame, Problem::Panicked));
    };
    let headers = headers_of(form.get("headers"));
    // Browsers write every line end of a text area as two letters; what was signed rarely has them.
    let as_pasted = form.get("body").to_owned();
    let with_single_ends = as_pasted.replace("\r\n", "\n");
    let rules = connection.rules(api.context.config.webhook_tolerance_seconds);
    let judge =
        |body: &str| dialect::verify(&secrets, &rules, Received { headers: &headers, body: body.as_bytes() }, now);
    let (verdict, body) = match judge(&with_single_ends) {
        Err(Refusal::Wrong) if judge(&as_pasted).is_ok() => (judge(&as_pasted), as_pasted),
        verdict => (verdict, with_single_ends.clone()),
    };
    let language = frame.language;
    // On a thread of its own kind: a large body is hashed a hundred times.
    let examined = tokio::task::spawn_blocking(move || {
        let received = Received { headers: &headers, body: body.as_bytes() };
        debugger::examine(SignatureCheck {
            secrets: &secrets,
            reveal: Reveal::Nothing,
            rules: &rules,
            received,
            now,
            language,
        })
    });
    let Ok(Report { tried, advice, .. }) = examined.await else {
        return Err(Refused::problem(frame, Problem::Panicked));
    };
    let tried = tried.iter().map(|one| TriedRow::of(frame.language, one)).collect();
    let advice = advice.into_iter().map(|one| one.text).collect();
    let (verdict, tone) = match verdict {
        Ok(dialect) => (format!("{} {dialect}", frame.t("La firma es correcta:", "The signature is right:")), "good"),
        Err(refusal) => (refused(frame.language, refusal).to_owned(), "bad"),
    };
    let headers = form.get("headers").to_owned();
    let body = with_single_ends;
    Ok(page(StatusCode::OK, &SignaturePage { verdict, tone, headers, body, tried, advice, frame }))
}

/// Headers as people paste them: from a log, from curl's `-v`, or from a list.
pub(super) fn headers_of(text: &str) -> Vec<(String, String)> {
    let pair = |line: &str| {
        let (name, value) = line.trim().trim_start_matches(['>', '<', '*']).trim().split_once(':')?;
        let tidy = |text: &str| text.trim().trim_matches(['"', '\'', ',']).trim().to_owned();
        Some((tidy(name).to_ascii_lowercase(), tidy(value)))
    };
    text.lines().filter_map(pair).take(100).collect()
}

pub(super) fn refused(language: Language, refusal: Refusal) -> &'static str {
    match refusal {
        Refusal::Missing => language.pick(
            "No hay firma: falta un encabezado como X-Partner-Signature o webhook-signature.",
            "There is no signature: a header such as X-Partner-Signature or webhook-signature is missing.",
        ),
        Refusal::Differing => language.pick(
            "Hay varias firmas que difieren entre sí. Envíe una sola.",
            "There are several signatures that differ. Send one alone.",
        ),
        Refusal::Wrong => language.pick(
            "La firma no coincide con ninguno de sus secretos en ninguna forma del cuerpo. Compruebe el secreto, y que firma los mismos bytes que envía.",
            "The signature fits none of your secrets in any form of the body. Check the secret, and that you sign the very bytes that you send.",
        ),
        Refusal::Stale => language.pick(
            "La firma es correcta, pero su hora está demasiado lejos de la nuestra. Revise su reloj.",
            "The signature is right, but its time is too far from ours. Check your clock.",
        ),
    }
}

#[derive(Template)]
#[template(path = "portal/signature.html")]
pub(super) struct SignaturePage {
    pub(super) frame: Frame,
    pub(super) verdict: String,
    pub(super) tone: &'static str,
    pub(super) headers: String,
    pub(super) body: String,
    /// What the sender should change.
    pub(super) advice: Vec<String>,
    pub(super) tried: Vec<TriedRow>,
}

impl SignaturePage {
    pub(super) fn empty(frame: Frame) -> Self {
        let none = String::new;
        Self { frame, verdict: none(), tone: "", headers: none(), body: none(), advice: Vec::new(), tried: Vec::new() }
    }
}

/// A line of the debugger. What the signature should have been is not shown: with it anybody who has the link could sign.
pub(super) struct TriedRow {
    pub(super) signed: String,
    pub(super) secret: &'static str,
    pub(super) matches: String,
    pub(super) tone: &'static str,
    pub(super) difference: String,
}

impl TriedRow {
    pub(super) fn of(language: Language, tried: &Tried) -> Self {
        let fits = !tried.matches.is_empty();
        let same = || language.pick("los mismos bytes", "the same bytes").to_owned();
        Self {
            signed: tried.signed.clone(),
            secret: if tried.secret == "current" {
                language.pick("actual", "current")
            } else {
                language.pick("anterior", "former")
            },
            matches: if fits { tried.matches.join(", ") } else { "–".to_owned() },
            tone: if fits { "good" } else { "" },
            difference: tried.first_difference.as_ref().map_or_else(same, |difference| {
                let (signed, sent) = (&difference.signed, &difference.sent);
                format!("{}: «{signed}» ≠ «{sent}»", difference.position)
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_are_read_as_people_paste_them() {
        let read = headers_of("> X-Partner-Signature: abc\n\"X-Other\": \"v\",\nnonsense\n\n  webhook-id:1:2 ");
        let expected = [("x-partner-signature", "abc"), ("x-other", "v"), ("webhook-id", "1:2")];
        let read: Vec<(&str, &str)> = read.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        assert_eq!(read, expected);
    }
}
