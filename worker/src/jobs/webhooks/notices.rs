//! Tells of what happened to an endpoint: those who subscribed by webhook, and its owner by e-mail. Once each, for the mail and
//! the webhooks are written in the transaction that takes the notice.

use std::fmt::Write as _;
use std::sync::Arc;

use recado_kernel::clock::Timestamp;
use recado_kernel::db::{self, Session};
use recado_notifications::notices as mails;
use recado_partners::connections::{self, Connection};
use recado_partners::partners::Status as PartnerStatus;
use recado_partners::payload::payload;
use recado_partners::{erasure, portal, system};
use recado_queue::context::Context;
use recado_queue::ring::Ring;
use recado_queue::tasks::Claimed;
use recado_webhooks::deliveries::{self, Delivery};
use recado_webhooks::endpoints::{self, DisabledReason, Endpoint};
use recado_webhooks::jobs::AnnounceEndpoint;
use recado_webhooks::notices::{self, Notice, NoticeKind};
use recado_webhooks::portal::LONGEST_LIFETIME;
use serde_json::json;

use super::Sender;
use crate::registry::{JobError, Outcome};

pub(super) async fn announce(
    sender: Arc<Sender>,
    task: Arc<Claimed>,
    _: AnnounceEndpoint,
) -> Result<Outcome, JobError> {
    let context = &sender.context;
    let now = context.clock.now();
    let mut session = context.db.begin().await?;
    let Some(notice) = notices::take(&mut session, task.id, now).await? else {
        return Ok(Outcome::Done(json!({ "told": false })));
    };
    let Some(endpoint) = endpoints::find(&mut session, notice.endpoint_id).await? else {
        session.commit().await?;
        return Ok(Outcome::Done(json!({ "told": false, "reason": "the endpoint no longer exists" })));
    };
    let owner = connections::of_endpoint(&mut session, endpoint.id).await?;
    let (events, mut rings) = tell(&mut session, &notice, &endpoint, owner.as_ref(), now).await?;
    let mail = mail(context, &notice, &endpoint, owner.as_ref(), now);
    let is_mailed = mail.is_some();
    if let Some(mail) = mail {
        rings.extend(mails::mail(&mut session, mail, context.config.retry, now).await?);
    }
    session.commit().await?;
    context.ring(&rings).await;
    Ok(Outcome::Done(json!({ "told": true, "mailed": is_mailed, "events": events })))
}

/// A webhook to every endpoint that names the event's type. As with what happens to partners, a subscription to everything is not
/// meant; and what receivers are told are ids and states, never addresses.
async fn tell(
    session: &mut Session,
    notice: &Notice,
    endpoint: &Endpoint,
    owner: Option<&Connection>,
    now: Timestamp,
) -> db::Result<(usize, Vec<Ring>)> {
    let event_type = notice.kind.event_type();
    let data = json!({
        "endpoint_id": endpoint.id,
        "partner_id": owner.map(|owner| owner.partner.id),
        "reason": notice.reason,
        "since": notice.since,
        "last_status_code": notice.last_status_code,
        "at": notice.at,
    });
    let body = payload(event_type, &data, notice.at);
    let listening = endpoints::listening(session, system::NAME).await?;
    let subscribed = |one: &&Endpoint| {
        let is_told_to_itself = one.id == endpoint.id && notice.kind == NoticeKind::Disabled;
        one.events.is_some() && one.wants(event_type) && !is_told_to_itself
    };
    let made: Vec<Delivery> = listening
        .iter()
        .filter(subscribed)
        .map(|one| Delivery::of_event(one, event_type, &body, now).map(|made| made.about(endpoint.id.to_string())))
        .collect::<Result<_, _>>()
        .expect("ids and words have a canonical form");
    let rings = deliveries::send(session, &made, now).await?;
    Ok((made.len(), rings))
}

/// The mail to the owner. `None`: there is no one to write to, or it left and knows why nothing comes any more.
fn mail(
    context: &Context,
    notice: &Notice,
    endpoint: &Endpoint,
    owner: Option<&Connection>,
    now: Timestamp,
) -> Option<mails::Notice> {
    let partner = owner.map(|owner| &owner.partner);
    if partner.is_some_and(|partner| partner.status == PartnerStatus::Deleted) {
        return None;
    }
    let registered = partner.and_then(|partner| partner.contact_email.clone().or_else(|| partner.email.clone()));
    let address = registered.or_else(|| endpoint.owner_email.clone())?;
    let config = &context.config;
    let link = match (owner, &config.public_url, &config.secret_key) {
        (Some(owner), Some(public_url), Some(key)) => {
            Some(portal::pass(owner, LONGEST_LIFETIME, now).url(public_url, key))
        }
        _ => None,
    };
    let missed = Facts { notice, endpoint, link: link.as_deref(), zone: config.time_zone };
    Some(mails::Notice {
        key: format!("webhook_notice:{}", notice.id),
        event_type: notice.kind.event_type().to_owned(),
        recipient: partner
            .map_or_else(|| format!("endpoint:{}", endpoint.id), |partner| erasure::recipient(partner.id)),
        address,
        subject: missed.subject(),
        body: missed.body(),
    })
}

/// What the owner is told.
struct Facts<'n> {
    notice: &'n Notice,
    endpoint: &'n Endpoint,
    link: Option<&'n str>,
    zone: chrono_tz::Tz,
}

impl Facts<'_> {
    fn subject(&self) -> String {
        let name = &self.endpoint.name;
        match self.notice.kind {
            NoticeKind::Disabled => format!("Desactivamos los webhooks de {name}"),
            NoticeKind::Failing => format!("{name} no recibe nuestros webhooks"),
            NoticeKind::Recovered => format!("{name} recibe de nuevo nuestros webhooks"),
            NoticeKind::Enabled => format!("Reactivamos los webhooks de {name}"),
        }
    }

    /// What happened, since when, the last answer, and what is to be done.
    fn body(&self) -> String {
        let mut body = String::from("Hola:\n\n");
        body.push_str(&self.what());
        body.push_str("\n\n");
        let fact = |body: &mut String, name: &str, value: &str| {
            writeln!(body, "{name}: {value}").expect("writing to a string cannot fail");
        };
        fact(&mut body, "Endpoint", &shown(&self.endpoint.url));
        if let Some(since) = self.notice.since {
            fact(&mut body, "Sin entregas desde", &self.moment(since));
        }
        if let Some(answer) = self.last_answer() {
            fact(&mut body, "Última respuesta", &answer);
        }
        body.push('\n');
        body.push_str(self.remedy());
        match self.link {
            Some(link) => {
                write!(body, "\n\nVea sus entregas, pruebe su endpoint y {} aquí (el enlace vale 7 días y abre solo lo suyo; no lo reenvíe):\n{link}\n", self.act())
                    .expect("writing to a string cannot fail");
            }
            None => body.push_str("\n\nPara ver sus entregas, pídanos un enlace a su portal.\n"),
        }
        body
    }

    fn what(&self) -> String {
        let name = &self.endpoint.name;
        match (self.notice.kind, self.notice.reason) {
            (NoticeKind::Disabled, Some(DisabledReason::Gone)) => format!(
                "El endpoint de {name} respondió 410 (Gone), que significa que ya no quiere webhooks. Lo desactivamos el {}: no le enviamos nada más. Lo pendiente quedó guardado y se puede reenviar.",
                self.moment(self.notice.at)
            ),
            (NoticeKind::Disabled, _) => format!(
                "El endpoint de {name} no aceptó ningún webhook durante cinco días. Lo desactivamos el {}: no le enviamos nada más. Lo pendiente quedó guardado y se puede reenviar.",
                self.moment(self.notice.at)
            ),
            (NoticeKind::Failing, _) => format!(
                "El endpoint de {name} no acepta nuestros webhooks. Seguimos intentándolo, cada vez con más espera. Si en cinco días no acepta ninguno, lo desactivaremos."
            ),
            (NoticeKind::Recovered, _) => {
                format!("El endpoint de {name} acepta de nuevo nuestros webhooks. Lo que esperaba sale por sí solo.")
            }
            (NoticeKind::Enabled, _) => format!(
                "El endpoint de {name} está activo de nuevo. Lo que se canceló mientras estuvo desactivado no sale por sí solo: se reenvía a pedido."
            ),
        }
    }

    fn remedy(&self) -> &'static str {
        match (self.notice.kind, self.notice.reason) {
            (NoticeKind::Disabled, Some(DisabledReason::Gone)) => {
                "Qué hacer: si fue un error, haga que su endpoint responda 2xx, reactívelo y pida el reenvío de lo que se perdió. Si de verdad no quiere más webhooks, no tiene que hacer nada."
            }
            (NoticeKind::Disabled, _) => {
                "Qué hacer: revise que el servidor esté en línea, que su certificado sea válido y que responda 2xx en menos de 30 segundos; luego reactívelo y pida el reenvío de lo que se perdió."
            }
            (NoticeKind::Failing, _) => {
                "Qué hacer: revise que el servidor esté en línea, que su certificado sea válido y que responda 2xx en menos de 30 segundos. No hace falta avisarnos: al primer webhook aceptado todo sigue su curso."
            }
            (NoticeKind::Recovered, _) => "No tiene que hacer nada. Lo que agotó sus intentos se puede reenviar.",
            (NoticeKind::Enabled, _) => "Qué hacer: pida el reenvío de lo que se perdió mientras estuvo desactivado.",
        }
    }

    fn act(&self) -> &'static str {
        match self.notice.kind {
            NoticeKind::Disabled => "reactívelo",
            NoticeKind::Failing | NoticeKind::Recovered | NoticeKind::Enabled => "pida reenvíos",
        }
    }

    fn last_answer(&self) -> Option<String> {
        match (self.notice.last_status_code, &self.notice.last_error) {
            (Some(code), _) => Some(format!("HTTP {code}")),
            (None, Some(error)) => Some(format!("ninguna ({error})")),
            (None, None) => None,
        }
    }

    fn moment(&self, at: Timestamp) -> String {
        format!("{} ({})", at.to_utc().with_timezone(&self.zone).format("%d/%m/%Y %H:%M"), self.zone)
    }
}

/// A URL without what may be secret in it.
fn shown(url: &str) -> String {
    url.split(['?', '#']).next().unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_shown_without_its_query() {
        assert_eq!(shown("https://example.com/hook?token=secret#x"), "https://example.com/hook");
    }
}
