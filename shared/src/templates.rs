//! Texts that staff write, and which of them fits an event best.

pub mod words;

use serde::Serialize;

use crate::channels::Channel;
use crate::clock::Timestamp;
use crate::db::{Result, Session};
use crate::ids::Id;
use crate::orchestration::Target;
use crate::sql;

#[derive(Clone, Debug, Serialize, sqlx::FromRow)]
pub struct Template {
    pub id: Id,
    pub name: String,
    /// Subject of an email, title of a push; WhatsApp has none.
    pub subject: String,
    pub body: String,
    #[sqlx(try_from = "String")]
    pub channel: Channel,
    #[sqlx(try_from = "String")]
    pub target: Target,
    pub event_type: Option<String>,
    pub service_type_id: Option<Id>,
    pub subtype_id: Option<Id>,
    pub phase_id: Option<Id>,
    pub taller_id: Option<String>,
    pub is_default: bool,
    pub is_active: bool,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
}

/// What an event is about, as far as the choice of a template goes.
#[derive(Clone, Copy, Debug)]
pub struct Occasion<'a> {
    pub channel: Channel,
    pub target: Target,
    pub event_type: &'a str,
    pub service_type_id: Option<Id>,
    pub subtype_id: Option<Id>,
    pub phase_id: Option<Id>,
    pub taller_id: Option<&'a str>,
}

impl Template {
    /// How well the template fits: `None` when it does not, else greater is better.
    ///
    /// Channel and target must be equal; everything else is equal or left open. What is said of the event itself weighs
    /// more than the workshop, the workshop more than the subtype, then the type, the phase, and last the mark "default".
    pub fn fit(&self, occasion: &Occasion<'_>) -> Option<[bool; 6]> {
        let fits = |own: bool, equal: bool| if own { equal.then_some(true) } else { Some(false) };
        if !self.is_active || self.channel != occasion.channel || self.target != occasion.target {
            return None;
        }
        Some([
            fits(self.event_type.is_some(), self.event_type.as_deref() == Some(occasion.event_type))?,
            fits(self.taller_id.is_some(), self.taller_id.as_deref() == occasion.taller_id)?,
            fits(self.subtype_id.is_some(), self.subtype_id == occasion.subtype_id)?,
            fits(self.service_type_id.is_some(), self.service_type_id == occasion.service_type_id)?,
            fits(self.phase_id.is_some(), self.phase_id == occasion.phase_id)?,
            self.is_default,
        ])
    }
}

/// The template that fits best; of two that fit alike, the one that was changed last.
pub fn best<'t>(templates: impl Iterator<Item = &'t Template>, occasion: &Occasion<'_>) -> Option<&'t Template> {
    templates
        .filter_map(|template| Some((template.fit(occasion)?, template.updated_at, template)))
        .max_by_key(|(fit, updated_at, _)| (*fit, *updated_at))
        .map(|(_, _, template)| template)
}

pub async fn all(session: &mut Session) -> Result<Vec<Template>> {
    sql!(all Template, session,
        "select id, name, subject, body, channel, target, event_type, service_type_id, subtype_id, phase_id, taller_id,
                is_default, is_active, created_at, updated_at
         from templates order by created_at, id"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn template(name: &str, alter: impl FnOnce(&mut Template)) -> Template {
        let epoch = Timestamp::from_micros(0);
        let mut template = Template {
            id: Id::of_name(name),
            name: name.to_owned(),
            subject: String::new(),
            body: "texto".to_owned(),
            channel: Channel::Email,
            target: Target::Clients,
            event_type: None,
            service_type_id: None,
            subtype_id: None,
            phase_id: None,
            taller_id: None,
            is_default: false,
            is_active: true,
            created_at: epoch,
            updated_at: epoch,
        };
        alter(&mut template);
        template
    }

    /// Flow 4 of seed 002: the template of the service and phase, with a variant for the subtype where there is one.
    #[test]
    fn the_most_specific_template_wins() {
        let [service, subtype, phase] = ["service", "subtype", "phase"].map(Id::of_name);
        let templates = [
            template("general", |t| t.is_default = true),
            template("fase", |t| t.phase_id = Some(phase)),
            template("servicio", |t| (t.service_type_id, t.phase_id) = (Some(service), Some(phase))),
            template("subtipo", |t| {
                (t.service_type_id, t.subtype_id, t.phase_id) = (Some(service), Some(subtype), Some(phase));
            }),
            template("taller", |t| t.taller_id = Some("taller-1".into())),
            template("recordatorio", |t| t.event_type = Some("maintenance_reminder".into())),
            template("apagada", |t| (t.is_active, t.subtype_id) = (false, Some(subtype))),
            template("otro canal", |t| t.channel = Channel::Push),
        ];
        let chosen = |event_type, subtype_id, taller_id, phase_id| {
            let occasion = Occasion {
                channel: Channel::Email,
                target: Target::Clients,
                event_type,
                service_type_id: Some(service),
                subtype_id,
                phase_id,
                taller_id,
            };
            best(templates.iter(), &occasion).map(|template| template.name.as_str())
        };
        assert_eq!(chosen("vehicle_ready", None, None, None), Some("general"));
        assert_eq!(chosen("vehicle_ready", None, None, Some(phase)), Some("servicio"));
        assert_eq!(chosen("vehicle_ready", Some(subtype), None, Some(phase)), Some("subtipo"));
        assert_eq!(chosen("vehicle_ready", Some(subtype), Some("taller-1"), Some(phase)), Some("taller"));
        assert_eq!(chosen("vehicle_ready", None, Some("taller-2"), None), Some("general"));
        assert_eq!(chosen("maintenance_reminder", Some(subtype), Some("taller-1"), Some(phase)), Some("recordatorio"));
    }
}
