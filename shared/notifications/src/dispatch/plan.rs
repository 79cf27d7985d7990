//! The decision about one event: pure, from the catalogue and the person to channels, addresses and words.

use std::collections::BTreeMap;

use super::event::{Event, MINIMUM_FIELDS};
use super::rejection::Rejection;
use crate::catalogue::{Catalogue, Phase, ServiceType};
use crate::channels::Channel;
use crate::orchestration::{
    self, Awaited, Cell, Decided, DeliveryMode, Orchestration, Person, SkipReason, SkippedChannel,
};
use crate::templates::rendering::{CompiledTemplate, Context, Rendered, TemplateError};
use crate::templates::{TemplateKey, flaws};
use recado_kernel::ids::Id;
use recado_kernel::language::Sentence;

/// What an event becomes.
#[derive(Debug)]
pub struct Plan {
    pub delivery_mode: DeliveryMode,
    /// The cells that chose the channels; `None` for the caller's own words.
    pub decided: Option<Decided>,
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
    /// Its number among the versions of the template.
    pub template_version: Option<i32>,
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
        match Subject::of(catalogue, event)? {
            None => custom(event, person, &words, strict_case),
            Some(subject) => Self::orchestrated(catalogue, event, &subject, person, words),
        }
    }

    /// What can be said of an event without knowing the customer.
    pub fn check(catalogue: &Catalogue, event: &Event, strict_case: bool) -> Result<(), Rejection> {
        let words = understood(event, strict_case)?;
        match Subject::of(catalogue, event)? {
            None => own_words(&words, strict_case).map(drop),
            Some(_) => Ok(()),
        }
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
        let minimum = MINIMUM_FIELDS.iter().filter(|field| words.get(field).is_none());
        // By its id, as it is told.
        let mut missing: BTreeMap<String, String> =
            minimum.map(|field| ((*field).to_owned(), (*field).to_owned())).collect();
        let mut channels =
            orchestration::choose(person, |channel| subject.cell(catalogue, channel).is_some_and(|cell| cell.enabled));
        let mut messages = Vec::with_capacity(channels.chosen.len());
        for channel in channels.chosen {
            let key = subject.key(event, channel);
            let Some((template, compiled)) = catalogue.words(subject.cell(catalogue, channel), &key) else {
                channels.skipped.push(SkippedChannel { channel, reason: SkipReason::NoTemplate });
                continue;
            };
            for (id, label) in lacking(compiled, &words) {
                missing.entry(id).or_insert(label);
            }
            if !missing.is_empty() {
                continue;
            }
            let rendered = compiled.render(&words).map_err(|error| not_rendered(&template.name, &error))?;
            messages.push(Words {
                channel,
                address: person.customer.address(channel).unwrap_or_default().to_owned(),
                preferred: person.priority(channel),
                template_id: Some(template.id),
                template_version: Some(template.version),
                template_name: template.name.clone(),
                subject: rendered.subject,
                body: rendered.body,
                is_html: rendered.html,
                awaits: subject.cell(catalogue, channel).and_then(|cell| cell.awaited_on(channel)),
            });
        }
        if !missing.is_empty() {
            return Err(Rejection::MissingVariables(missing.into_values().collect()));
        }
        let (config_id, phase_id) = (subject.orchestration.id, subject.phase.id);
        let decided = Decided { config_id, phase_id, subtype_id: subject.subtype.map(|subtype| subtype.id) };
        let delivery_mode = subject.orchestration.delivery_mode;
        Ok(Self { delivery_mode, decided: Some(decided), messages, skipped: channels.skipped })
    }

    /// The messages as chains, where there are any: one that falls back from channel to channel, or one for each channel.
    pub fn into_chains(self) -> Vec<Vec<Words>> {
        match self.delivery_mode {
            DeliveryMode::Fallback => vec![self.messages],
            DeliveryMode::All => self.messages.into_iter().map(|message| vec![message]).collect(),
        }
    }
}

/// The variables that a text needs and these values lack: their ids, and their names as they stand in it.
fn lacking(compiled: &CompiledTemplate, words: &Context) -> impl Iterator<Item = (String, String)> {
    let ids = compiled.missing(words);
    let labels = compiled.labels(&ids);
    ids.into_iter().zip(labels)
}

/// Values that a text cannot take are the caller's to mend; everything else is the template's fault (S002-1).
fn not_rendered(template: &str, error: &TemplateError) -> Rejection {
    if error.by_values {
        let problem = error.with_place().map(|language, problem| {
            let so = language
                .pick("Con estos valores no se puede escribir la plantilla", "These values do not fit the template");
            format!("{so} \"{template}\": {problem}")
        });
        return Rejection::Fields(vec![("context".to_owned(), problem)]);
    }
    Rejection::Template { template: template.to_owned(), reason: error.with_place() }
}

/// The context of an event whose fields are right.
fn understood(event: &Event, strict_case: bool) -> Result<Context, Rejection> {
    let mut errors = event.field_errors();
    match Context::new(&event.context, strict_case) {
        Ok(context) if errors.is_empty() => Ok(context),
        Ok(_) => Err(Rejection::Fields(errors)),
        Err(error) => {
            errors.push(("context".to_owned(), error.into()));
            Err(Rejection::Fields(errors))
        }
    }
}

/// A workshop that was switched off sends nothing; one without settings is as good as any.
fn inactive_workshop(catalogue: &Catalogue, event: &Event) -> Option<Sentence> {
    let taller_id = event.taller_id.as_deref();
    catalogue.workshop(taller_id).filter(|workshop| !workshop.is_active)?;
    let (workshop, there) = (taller_id.unwrap_or_default().escape_debug(), "/api/v1/notifications/workshops/");
    Some(Sentence::new(
        format!("El taller `{workshop}` (taller_id) está inactivo. Actívelo en {there}."),
        format!("The workshop `{workshop}` (taller_id) is inactive. Activate it at {there}."),
    ))
}

impl<'c> Subject<'c> {
    /// What the event is about; `None` for one with its own words, which need no configuration.
    ///
    /// # Errors
    /// Every name that leads nowhere, a sentence for each; and when there is nothing else, that no configuration is in force.
    fn of(catalogue: &'c Catalogue, event: &Event) -> Result<Option<Self>, Rejection> {
        let mut sentences: Vec<Sentence> = inactive_workshop(catalogue, event).into_iter().collect();
        if event.is_custom() {
            return if sentences.is_empty() { Ok(None) } else { Err(Rejection::Refused(sentences)) };
        }
        let slug = |reference: &Option<String>| reference.clone().unwrap_or_default();
        let service_type = catalogue.service_type(&slug(&event.service_type_id));
        if service_type.is_none() {
            sentences.push(unknown(
                ("tipo de servicio", "type of service"),
                "service_type_id",
                &slug(&event.service_type_id),
            ));
        }
        let wanted = event.subtype_id.as_ref();
        let subtype = service_type.zip(wanted).and_then(|(parent, reference)| catalogue.subtype(parent.id, reference));
        if let (Some(parent), Some(reference), None) = (service_type, wanted, subtype) {
            let what = (format!("subtipo de `{}`", parent.slug), format!("subtype of `{}`", parent.slug));
            sentences.push(unknown((&what.0, &what.1), "subtype_id", reference));
        }
        let phase = catalogue.phase(&slug(&event.phase_id));
        if phase.is_none() {
            sentences.push(unknown(("fase", "phase"), "phase_id", &slug(&event.phase_id)));
        }
        match (service_type, phase) {
            (Some(service_type), Some(phase)) if sentences.is_empty() => {
                Self::configured(catalogue, event, service_type, subtype, phase).map(Some)
            }
            _ => Err(Rejection::Refused(sentences)),
        }
    }

    fn configured(
        catalogue: &'c Catalogue,
        event: &Event,
        service_type: &'c ServiceType,
        subtype: Option<&'c ServiceType>,
        phase: &'c Phase,
    ) -> Result<Self, Rejection> {
        let subtype_id = subtype.map(|subtype| subtype.id);
        let orchestration = catalogue
            .orchestration(service_type.id, subtype_id, event.target, event.taller_id.as_deref())
            .ok_or_else(|| {
                let (slug, target) = (&service_type.slug, event.target);
                Rejection::Refused(vec![Sentence::new(
                    format!(
                        "No existe una configuración de orquestación activa para service_type_id `{slug}` y target `{target}`."
                    ),
                    format!("There is no matrix in use for service_type_id `{slug}` and target `{target}`."),
                )])
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

fn unknown((que, what): (&str, &str), field: &str, reference: &str) -> Sentence {
    let (reference, there) = (reference.escape_debug(), "/api/v1/notifications/catalog/");
    Sentence::new(
        format!("No existe {que} `{reference}` ({field}). Consulte los slugs disponibles en {there}."),
        format!("There is no {what} `{reference}` ({field}). The slugs that exist are at {there}."),
    )
}

/// The caller's own words, on the channels that the person prefers (S002-43).
fn custom(event: &Event, person: &Person<'_>, words: &Context, strict_case: bool) -> Result<Plan, Rejection> {
    let Rendered { subject, body, html } = own_words(words, strict_case)?;
    let channels = orchestration::choose(person, |_| true);
    let message = |channel| Words {
        channel,
        address: person.customer.address(channel).unwrap_or_default().to_owned(),
        preferred: person.priority(channel),
        template_id: None,
        template_version: None,
        template_name: event.event_type.clone(),
        subject: subject.clone(),
        body: body.clone(),
        is_html: html,
        awaits: None,
    };
    Ok(Plan {
        delivery_mode: DeliveryMode::Fallback,
        decided: None,
        messages: channels.chosen.into_iter().map(message).collect(),
        skipped: channels.skipped,
    })
}

/// The `subject` and the `body` of the context, which are templates for its other values: `Aviso para {{Nombre}}`. What is wrong
/// with them is the caller's to mend.
fn own_words(words: &Context, strict_case: bool) -> Result<Rendered, Rejection> {
    // A blank one is none: a mail without a subject and a message without words tell no one anything.
    let own = |name| words.get(name).filter(|text| !text.trim().is_empty());
    let (Some(subject), Some(body)) = (own("subject"), own("body")) else {
        let missing = ["subject", "body"].into_iter().filter(|name| own(name).is_none());
        return Err(Rejection::MissingVariables(missing.map(str::to_owned).collect()));
    };
    let wrong = |errors: Vec<TemplateError>| {
        let said = |error: TemplateError| {
            let part = error.part.as_str();
            ("context".to_owned(), error.explanation().map(|_, problem| format!("`{part}`: {problem}")))
        };
        Rejection::Fields(errors.into_iter().map(said).collect())
    };
    if ![&subject, &body].into_iter().any(|text| text.contains('{')) {
        return Rendered::as_written(&subject, &body).map_err(|error| wrong(vec![error]));
    }
    let compiled = CompiledTemplate::compile(&subject, &body, strict_case);
    let compiled = compiled.map_err(|_| wrong(flaws(&subject, &body, strict_case)))?;
    let missing: Vec<String> = lacking(&compiled, words).map(|(_, label)| label).collect();
    if !missing.is_empty() {
        return Err(Rejection::MissingVariables(missing));
    }
    compiled.render(words).map_err(|error| wrong(vec![error]))
}
