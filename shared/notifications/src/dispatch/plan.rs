//! The decision about one event: pure, from the catalogue and the person to channels, addresses and words.

use super::event::{Event, MINIMUM_FIELDS};
use super::rejection::Rejection;
use crate::catalogue::{Catalogue, Phase, ServiceType};
use crate::channels::Channel;
use crate::orchestration::{self, Awaited, Cell, DeliveryMode, Orchestration, Person, SkipReason, SkippedChannel};
use crate::templates::TemplateKey;
use crate::templates::rendering::{Context, LONGEST_BODY, LONGEST_SUBJECT, TemplateError, looks_like_html, one_line};
use recado_kernel::ids::Id;

/// What an event becomes.
#[derive(Debug)]
pub struct Plan {
    pub delivery_mode: DeliveryMode,
    /// In the order in which they are tried.
    pub messages: Vec<Words>,
    pub skipped: Vec<SkippedChannel>,
}

/// A message, ready to be sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Words {
    pub channel: Channel,
    pub address: String,
    /// The priority that the customer gave the channel; `None` when she said nothing about it.
    pub preferred: Option<i32>,
    pub template_id: Option<Id>,
    pub template_name: String,
    pub subject: String,
    pub body: String,
    /// The words are HTML, with whatever came from outside escaped.
    pub is_html: bool,
    /// Without this receipt so many seconds after it was sent, the next channel is tried.
    pub awaits: Option<Awaited>,
}

/// What an event is about, once its slugs are understood.
struct Subject<'c> {
    service_type: &'c ServiceType,
    subtype: Option<&'c ServiceType>,
    phase: &'c Phase,
    orchestration: &'c Orchestration,
}

impl Plan {
    pub fn of(catalogue: &Catalogue, event: &Event, person: &Person<'_>, strict_case: bool) -> Result<Self, Rejection> {
        let words = understood(event, strict_case)?;
        check_workshop(catalogue, event)?;
        if event.is_custom() {
            return custom(event, person, &words);
        }
        let subject = Subject::find(catalogue, event)?;
        Self::orchestrated(catalogue, event, &subject, person, words)
    }

    /// What can be said of an event without knowing the customer.
    pub fn check(catalogue: &Catalogue, event: &Event, strict_case: bool) -> Result<(), Rejection> {
        understood(event, strict_case)?;
        check_workshop(catalogue, event)?;
        if event.is_custom() { Ok(()) } else { Subject::find(catalogue, event).map(|_| ()) }
    }

    /// Flow 2 to 4 of seed 002.
    fn orchestrated(
        catalogue: &Catalogue,
        event: &Event,
        subject: &Subject<'_>,
        person: &Person<'_>,
        words: Context,
    ) -> Result<Self, Rejection> {
        let words = words.with("Fase", &subject.phase.name);
        let mut missing: Vec<String> =
            MINIMUM_FIELDS.iter().filter(|field| words.get(field).is_none()).map(|field| (*field).to_owned()).collect();
        let mut channels =
            orchestration::choose(person, |channel| subject.cell(catalogue, channel).is_some_and(|cell| cell.enabled));
        let mut messages = Vec::with_capacity(channels.chosen.len());
        for channel in channels.chosen {
            let key = subject.key(event, channel);
            let Some((template, compiled)) = catalogue.words(subject.cell(catalogue, channel), &key) else {
                channels.skipped.push(SkippedChannel { channel, reason: SkipReason::NoTemplate });
                continue;
            };
            missing.extend(compiled.missing(&words));
            if !missing.is_empty() {
                continue;
            }
            let rendered = compiled.render(&words).map_err(|error| not_rendered(&template.name, &error))?;
            messages.push(Words {
                channel,
                address: person.customer.address(channel).unwrap_or_default().to_owned(),
                preferred: person.priority(channel),
                template_id: Some(template.id),
                template_name: template.name.clone(),
                subject: rendered.subject,
                body: rendered.body,
                is_html: rendered.html,
                awaits: subject.cell(catalogue, channel).and_then(|cell| cell.awaited_on(channel)),
            });
        }
        if !missing.is_empty() {
            missing.sort_unstable();
            missing.dedup();
            return Err(Rejection::MissingVariables(missing));
        }
        Ok(Self { delivery_mode: subject.orchestration.delivery_mode, messages, skipped: channels.skipped })
    }

    /// The messages as chains, where there are any: one that falls back from channel to channel, or one for each channel.
    pub fn into_chains(self) -> Vec<Vec<Words>> {
        match self.delivery_mode {
            DeliveryMode::Fallback => vec![self.messages],
            DeliveryMode::All => self.messages.into_iter().map(|message| vec![message]).collect(),
        }
    }
}

/// Values that make the text too long are the caller's to mend; everything else is the template's fault (S002-1).
fn not_rendered(template: &str, error: &TemplateError) -> Rejection {
    if error.too_long {
        let problem = format!("Con estos valores la plantilla \"{template}\" queda demasiado larga: {error}");
        return Rejection::Fields(vec![("context".to_owned(), problem)]);
    }
    Rejection::Template { template: template.to_owned(), reason: error.to_string() }
}

/// The context of an event whose fields are right.
fn understood(event: &Event, strict_case: bool) -> Result<Context, Rejection> {
    let errors = event.field_errors();
    if !errors.is_empty() {
        return Err(Rejection::Fields(errors));
    }
    Context::new(&event.context, strict_case)
        .map_err(|error| Rejection::Fields(vec![("context".to_owned(), error.to_string())]))
}

/// A workshop that was switched off sends nothing; one without settings is as good as any.
fn check_workshop(catalogue: &Catalogue, event: &Event) -> Result<(), Rejection> {
    let taller_id = event.taller_id.as_deref();
    if catalogue.workshop(taller_id).is_none_or(|workshop| workshop.is_active) {
        return Ok(());
    }
    Err(Rejection::Refused(format!(
        "El taller `{}` (taller_id) está inactivo. Actívelo en /api/v1/notifications/workshops/.",
        taller_id.unwrap_or_default().escape_debug()
    )))
}

impl<'c> Subject<'c> {
    fn find(catalogue: &'c Catalogue, event: &Event) -> Result<Self, Rejection> {
        let slug = |reference: &Option<String>| reference.clone().unwrap_or_default();
        let service_type = catalogue
            .service_type(&slug(&event.service_type_id))
            .ok_or_else(|| unknown("tipo de servicio", "service_type_id", &slug(&event.service_type_id)))?;
        let subtype = match &event.subtype_id {
            None => None,
            Some(reference) => Some(
                catalogue
                    .subtype(service_type.id, reference)
                    .ok_or_else(|| unknown(&format!("subtipo de `{}`", service_type.slug), "subtype_id", reference))?,
            ),
        };
        let phase = catalogue
            .phase(&slug(&event.phase_id))
            .ok_or_else(|| unknown("fase", "phase_id", &slug(&event.phase_id)))?;
        let subtype_id = subtype.map(|subtype| subtype.id);
        let orchestration = catalogue
            .orchestration(service_type.id, subtype_id, event.target, event.taller_id.as_deref())
            .ok_or_else(|| {
                Rejection::Refused(format!(
                    "No existe una configuración de orquestación activa para service_type_id `{}` y target `{}`.",
                    service_type.slug, event.target
                ))
            })?;
        Ok(Self { service_type, subtype, phase, orchestration })
    }

    fn cell(&self, catalogue: &'c Catalogue, channel: Channel) -> Option<&'c Cell> {
        catalogue.cell(self.orchestration.id, self.phase.id, channel)
    }

    fn key<'e>(&self, event: &'e Event, channel: Channel) -> TemplateKey<'e> {
        TemplateKey {
            channel,
            target: event.target,
            event_type: &event.event_type,
            service_type_id: Some(self.service_type.id),
            subtype_id: self.subtype.map(|subtype| subtype.id),
            phase_id: Some(self.phase.id),
            taller_id: event.taller_id.as_deref(),
        }
    }
}

fn unknown(what: &str, field: &str, reference: &str) -> Rejection {
    Rejection::Refused(format!(
        "No existe {what} `{}` ({field}). Consulte los slugs disponibles en /api/v1/notifications/catalog/.",
        reference.escape_debug()
    ))
}

/// The caller's own words, on the channels that the person prefers (S002-43).
fn custom(event: &Event, person: &Person<'_>, words: &Context) -> Result<Plan, Rejection> {
    let missing: Vec<String> =
        ["subject", "body"].into_iter().filter(|name| words.get(name).is_none()).map(str::to_owned).collect();
    let (Some(subject), Some(body)) = (words.get("subject"), words.get("body")) else {
        return Err(Rejection::MissingVariables(missing));
    };
    let limits = [("subject", &subject, LONGEST_SUBJECT), ("body", &body, LONGEST_BODY)];
    let too_long = |(name, text, longest): (&str, &String, usize)| {
        let error = format!("`{name}` no puede tener más de {longest} caracteres.");
        (text.len() > longest).then(|| ("context".to_owned(), error))
    };
    let errors: Vec<_> = limits.into_iter().filter_map(too_long).collect();
    if !errors.is_empty() {
        return Err(Rejection::Fields(errors));
    }
    let channels = orchestration::choose(person, |_| true);
    let message = |channel| Words {
        channel,
        address: person.customer.address(channel).unwrap_or_default().to_owned(),
        preferred: person.priority(channel),
        template_id: None,
        template_name: event.event_type.clone(),
        subject: one_line(&subject),
        body: body.clone(),
        is_html: looks_like_html(&body),
        awaits: None,
    };
    Ok(Plan {
        delivery_mode: DeliveryMode::Fallback,
        messages: channels.chosen.into_iter().map(message).collect(),
        skipped: channels.skipped,
    })
}
