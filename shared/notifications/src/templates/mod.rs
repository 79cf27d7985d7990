//! Texts that staff write, and which of them fits an event best.

pub mod all_channels;
pub mod remarks;
pub mod rendering;
pub mod versions;

use serde::Serialize;
use serde_json::{Value, json};
use utoipa::ToSchema;

use self::rendering::{CompiledTemplate, Context, TemplateError, normalise, sample_context};
use self::versions::{Change, Written};
use crate::channels::Channel;
use crate::targets::Target;
use recado_kernel::audit::{self, Act, Actor};
use recado_kernel::clock::Timestamp;
use recado_kernel::db::{Ids, Result, Session};
use recado_kernel::fields::{Wrong, blank, check_text, null};
use recado_kernel::ids::Id;
use recado_kernel::language::Sentence;
use recado_kernel::sql;

/// A text for one channel and one audience (S002-44).
#[derive(Clone, Debug, Serialize, sqlx::FromRow)]
pub struct Template {
    pub id: Id,
    pub name: String,
    /// Subject of an email, title of a push; WhatsApp has none.
    pub subject: String,
    pub body: String,
    pub channel: Channel,
    pub target: Target,
    pub event_type: Option<String>,
    pub service_type_id: Option<Id>,
    pub subtype_id: Option<Id>,
    pub phase_id: Option<Id>,
    pub taller_id: Option<String>,
    pub is_default: bool,
    pub is_active: bool,
    /// The number of this text among the template's versions.
    pub version: i32,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
}

/// What an event is about, as far as the choice of a template goes.
#[derive(Clone, Copy, Debug)]
pub struct TemplateKey<'a> {
    pub channel: Channel,
    pub target: Target,
    pub event_type: &'a str,
    pub service_type_id: Option<Id>,
    pub subtype_id: Option<Id>,
    pub phase_id: Option<Id>,
    pub taller_id: Option<&'a str>,
}

impl Template {
    /// Where in the work of a workshop it belongs.
    pub fn place(&self) -> TemplateScope {
        TemplateScope { service_type_id: self.service_type_id, subtype_id: self.subtype_id, phase_id: self.phase_id }
    }

    /// An event that is in all about what the template is about: where it fits best, if anywhere.
    pub fn own_key(&self) -> TemplateKey<'_> {
        TemplateKey {
            channel: self.channel,
            target: self.target,
            event_type: self.event_type.as_deref().unwrap_or_default(),
            service_type_id: self.service_type_id,
            subtype_id: self.subtype_id,
            phase_id: self.phase_id,
            taller_id: self.taller_id.as_deref(),
        }
    }

    /// How well the template fits: `None` when it does not, else greater is better.
    ///
    /// Channel and target must be equal; everything else is equal or left open. What is said of the event itself weighs
    /// more than the workshop, the workshop more than the subtype, then the type, the phase, and last the mark "default".
    pub fn fit(&self, key: &TemplateKey<'_>) -> Option<[bool; 6]> {
        let fits = |own: bool, equal: bool| if own { equal.then_some(true) } else { Some(false) };
        if !self.is_active || self.channel != key.channel || self.target != key.target {
            return None;
        }
        Some([
            fits(self.event_type.is_some(), self.event_type.as_deref() == Some(key.event_type))?,
            fits(self.taller_id.is_some(), self.taller_id.as_deref() == key.taller_id)?,
            fits(self.subtype_id.is_some(), self.subtype_id == key.subtype_id)?,
            fits(self.service_type_id.is_some(), self.service_type_id == key.service_type_id)?,
            fits(self.phase_id.is_some(), self.phase_id == key.phase_id)?,
            self.is_default,
        ])
    }
}

/// The template that fits best; of two that fit alike, the one that was changed last.
pub fn best<'t>(templates: impl Iterator<Item = &'t Template>, key: &TemplateKey<'_>) -> Option<&'t Template> {
    templates
        .filter_map(|template| Some((template.fit(key)?, template.updated_at, template)))
        .max_by_key(|(fit, updated_at, _)| (*fit, *updated_at))
        .map(|(_, _, template)| template)
}

/// All that fit, the best first; of those that fit alike, the one that was changed last.
pub fn fitting<'t>(templates: impl Iterator<Item = &'t Template>, key: &TemplateKey<'_>) -> Vec<&'t Template> {
    let mut fitting: Vec<_> =
        templates.filter_map(|template| Some((template.fit(key)?, template.updated_at, template))).collect();
    fitting.sort_by_key(|(fit, updated_at, _)| std::cmp::Reverse((*fit, *updated_at)));
    fitting.into_iter().map(|(_, _, template)| template).collect()
}

/// What staff write about a template (S002-44).
#[derive(Clone, Debug, PartialEq, Eq, ToSchema)]
#[schema(as = TemplateWrite)]
pub struct TemplateDraft {
    /// How staff call it.
    #[schema(max_length = 200, examples("Cita agendada (clientes, email)"))]
    pub name: String,
    /// Subject of an email, title of a push; WhatsApp has none. May hold variables.
    #[schema(max_length = 500, required = false, examples("Su cita está confirmada: {{Fecha}}, {{Hora}}"))]
    pub subject: String,
    /// The message, with variables. It counts as HTML when it holds tags, and values are then escaped.
    #[schema(min_length = 1, max_length = 65536, examples("Hola, {{Nombre}}: su {{Vehículo}} está listo."))]
    pub body: String,
    /// The channel that it is written for.
    #[schema(value_type = Channel, required = true)]
    pub channel: Option<Channel>,
    /// Whom it addresses.
    pub target: Target,
    /// Only for this type of event; null for all.
    #[schema(examples("vehicle_ready"))]
    pub event_type: Option<String>,
    /// Only for this type of service, by UUID or slug; null for all, which has to be said.
    #[schema(required, examples("averia-revision"))]
    pub service_type: Option<String>,
    /// Only for this subtype of `service_type`, by UUID or slug; null for all.
    #[schema(examples("averia-frenos"))]
    pub subtype: Option<String>,
    /// Only in this phase, by UUID or slug; null for all, which has to be said.
    #[schema(required, examples("phase-delivery"))]
    pub phase: Option<String>,
    /// Only for this workshop; null for all.
    #[schema(max_length = 100)]
    pub taller_id: Option<String>,
    /// Wins over a template that fits as well.
    #[schema(required = false, default = false)]
    pub is_default: bool,
    /// Only templates in use are sent.
    #[schema(required = false, default = true)]
    pub is_active: bool,
}

impl Default for TemplateDraft {
    fn default() -> Self {
        Self {
            name: String::new(),
            subject: String::new(),
            body: String::new(),
            channel: None,
            target: Target::default(),
            event_type: None,
            service_type: None,
            subtype: None,
            phase: None,
            taller_id: None,
            is_default: false,
            is_active: true,
        }
    }
}

impl TemplateDraft {
    /// What is wrong with the fields by themselves; every error names its field.
    pub fn errors(&self) -> Wrong {
        let mut errors = Wrong::new();
        for (field, value) in [("name", &self.name), ("body", &self.body)] {
            if value.trim().is_empty() {
                errors.push((field, blank()));
            }
        }
        if self.channel.is_none() {
            errors.push(("channel", null()));
        }
        check_text(&mut errors, "name", Some(&self.name), 200);
        check_text(&mut errors, "subject", Some(&self.subject), 500);
        check_text(&mut errors, "taller_id", self.taller_id.as_deref(), 100);
        for (field, value) in [("service_type", &self.service_type), ("subtype", &self.subtype), ("phase", &self.phase)]
        {
            check_text(&mut errors, field, value.as_deref(), 100);
        }
        if self.body.contains(|c: char| c.is_control() && !matches!(c, '\n' | '\r' | '\t')) {
            let wrong = Sentence::new(
                "No se permiten caracteres de control, salvo saltos de línea y tabuladores.",
                "Control characters are not allowed, except line breaks and tabs.",
            );
            errors.push(("body", wrong));
        }
        errors
    }

    /// Why the texts could never be rendered, under `subject` and `body`. Costly: for a thread of its own.
    pub fn flaws(&self, strict_case: bool) -> Wrong {
        let flaws = flaws(&self.subject, &self.body, strict_case).into_iter();
        flaws.map(|error| (error.part.as_str(), error.explanation())).collect()
    }
}

/// Why the texts could never be rendered: the first thing in each of them.
pub fn flaws(subject: &str, body: &str, strict_case: bool) -> Vec<TemplateError> {
    let parts = [(subject, ""), ("", body)];
    parts
        .into_iter()
        .filter_map(|(subject, body)| CompiledTemplate::compile(subject, body, strict_case).err())
        .collect()
}

impl From<Template> for TemplateDraft {
    fn from(template: Template) -> Self {
        let reference = |id: Option<Id>| id.map(|id| id.to_string());
        Self {
            name: template.name,
            subject: template.subject,
            body: template.body,
            channel: Some(template.channel),
            target: template.target,
            event_type: template.event_type,
            service_type: reference(template.service_type_id),
            subtype: reference(template.subtype_id),
            phase: reference(template.phase_id),
            taller_id: template.taller_id,
            is_default: template.is_default,
            is_active: template.is_active,
        }
    }
}

/// Where in the work of a workshop a template belongs; `None` leaves a question open.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TemplateScope {
    pub service_type_id: Option<Id>,
    pub subtype_id: Option<Id>,
    pub phase_id: Option<Id>,
}

/// Which templates to list; `None` leaves a question out.
#[derive(Clone, Debug, Default)]
pub struct TemplateFilter {
    pub channel: Option<Channel>,
    pub target: Option<Target>,
    pub event_type: Option<String>,
    pub service_type_id: Option<Id>,
    /// One of these.
    pub subtype_ids: Option<Vec<Id>>,
    pub phase_id: Option<Id>,
    /// `Some(None)`: those that belong to no workshop.
    pub taller_id: Option<Option<String>>,
    pub is_active: Option<bool>,
    /// A part of the name, without regard to case and accents.
    pub search: Option<String>,
}

impl TemplateFilter {
    /// Whether a template is one of those that are looked for.
    pub fn takes(&self, template: &Template) -> bool {
        fn fits<T: PartialEq>(wanted: Option<&T>, own: &T) -> bool {
            wanted.is_none_or(|wanted| wanted == own)
        }
        fits(self.channel.as_ref(), &template.channel)
            && fits(self.target.as_ref(), &template.target)
            && fits(self.taller_id.as_ref(), &template.taller_id)
            && fits(self.is_active.as_ref(), &template.is_active)
            && (self.event_type.is_none() || self.event_type == template.event_type)
            && (self.service_type_id.is_none() || self.service_type_id == template.service_type_id)
            && (self.phase_id.is_none() || self.phase_id == template.phase_id)
            && self.subtype_ids.as_ref().is_none_or(|ids| template.subtype_id.is_some_and(|id| ids.contains(&id)))
            && self.search.as_ref().is_none_or(|part| normalise(&template.name).contains(&normalise(part)))
    }
}

/// How long the preview of a template in a list may be, in characters.
pub const LONGEST_PREVIEW: usize = 300;

/// The beginning of a template's message with the examples of [`rendering::VARIABLES`]. A variable that has none there stands as
/// `[Kilometraje]`. A template that cannot be rendered like this shows its own text.
pub fn preview(body: &str, compiled: Option<&CompiledTemplate>, strict_case: bool) -> String {
    let rendered = compiled.and_then(|compiled| compiled.render(&filled(compiled, &sample_context(strict_case))).ok());
    match rendered {
        Some(rendered) => excerpt(&rendered.body, LONGEST_PREVIEW),
        None => excerpt(body, LONGEST_PREVIEW),
    }
}

/// These values, and for each variable that has none its name in brackets: `[Kilometraje]`.
pub fn filled(compiled: &CompiledTemplate, values: &Context) -> Context {
    let missing = compiled.variables().iter().filter(|variable| values.get(&variable.id).is_none());
    missing.fold(values.clone(), |values, variable| values.with(&variable.id, &format!("[{}]", variable.label)))
}

/// At most `longest` characters from the beginning. What is cut ends with `…`, and not in the middle of a tag or an entity.
fn excerpt(text: &str, longest: usize) -> String {
    let Some((end, _)) = text.char_indices().nth(longest) else { return text.to_owned() };
    let mut kept = &text[..end];
    for (opening, closing) in [('<', '>'), ('&', ';')] {
        // A lone `<` or `&` far back is text.
        if let Some(open) = kept.rfind(opening).filter(|open| !kept[*open..].contains(closing)) {
            let is_markup = text[open..].find(closing).is_some_and(|close| close < 100);
            kept = if is_markup { &kept[..open] } else { kept };
        }
    }
    format!("{}…", kept.trim_end())
}

/// The columns of a [`Template`], by name: a star would break the prepared statements of running processes when a newer
/// version adds one.
const COLUMNS: &str = "id, name, subject, body, channel, target, event_type, service_type_id, subtype_id, phase_id, taller_id, \
     is_default, is_active, version, created_at, updated_at";

/// Every template, the oldest first.
pub async fn all(session: &mut Session) -> Result<Vec<Template>> {
    sql!(all Template, session,
        (&format!("select {COLUMNS} from templates order by created_at, id"))
    )
}

/// Those of the templates that exist.
pub async fn find_many(session: &mut Session, ids: &[Id]) -> Result<Vec<Template>> {
    sql!(all Template, session, (&format!("select {COLUMNS} from templates where id = any($1)")), Ids(ids))
}

/// One template.
pub async fn find(session: &mut Session, id: Id) -> Result<Option<Template>> {
    sql!(one Template, session, (&format!("select {COLUMNS} from templates where id = $1")), id)
}

/// Writes a new template with its first version, and returns its id.
pub async fn insert(
    session: &mut Session,
    draft: &TemplateDraft,
    place: TemplateScope,
    actor: &Actor,
    now: Timestamp,
) -> Result<Id> {
    let id = Id::new(now);
    sql!(run, session,
        "insert into templates (id, name, subject, body, channel, target, event_type, service_type_id, subtype_id, phase_id,
             taller_id, is_default, is_active, is_seed, created_at, updated_at)
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $15)",
        id, draft.name.as_str(), draft.subject.as_str(), draft.body.as_str(), draft.channel,
        draft.target, draft.event_type.as_deref(), place.service_type_id, place.subtype_id, place.phase_id,
        draft.taller_id.as_deref(), draft.is_default, draft.is_active, false, now
    )?;
    versions::keep(session, &[id], &Written::by(&actor.name, Change::Created, now)).await?;
    audit::write(session, actor, &Act::new("create", "template", id).made(facts(draft, place, 1)), now).await?;
    Ok(id)
}

/// What the audit log keeps of a template: all but the message itself, which is in the version that it names.
fn facts(draft: &TemplateDraft, place: TemplateScope, version: i32) -> Value {
    json!({
        "version": version, "name": draft.name, "subject": draft.subject, "channel": draft.channel,
        "target": draft.target, "event_type": draft.event_type, "service_type": place.service_type_id,
        "subtype": place.subtype_id, "phase": place.phase_id, "taller_id": draft.taller_id,
        "is_default": draft.is_default, "is_active": draft.is_active,
    })
}

/// The same of a template that is there.
fn facts_of(template: &Template) -> Value {
    facts(&TemplateDraft::from(template.clone()), template.place(), template.version)
}

/// Replaces a template as it was read in this transaction, which makes a new version.
pub async fn replace(
    session: &mut Session,
    template: &Template,
    draft: &TemplateDraft,
    place: TemplateScope,
    actor: &Actor,
    now: Timestamp,
) -> Result<()> {
    let id = template.id;
    sql!(
        run,
        session,
        "update templates set name = $2, subject = $3, body = $4, channel = $5, target = $6, event_type = $7,
             service_type_id = $8, subtype_id = $9, phase_id = $10, taller_id = $11, is_default = $12, is_active = $13,
             updated_at = $14, version = version + 1
         where id = $1",
        id,
        draft.name.as_str(),
        draft.subject.as_str(),
        draft.body.as_str(),
        draft.channel,
        draft.target,
        draft.event_type.as_deref(),
        place.service_type_id,
        place.subtype_id,
        place.phase_id,
        draft.taller_id.as_deref(),
        draft.is_default,
        draft.is_active,
        now
    )?;
    versions::keep(session, &[id], &Written::by(&actor.name, Change::Changed, now)).await?;
    let act = Act::new("change", "template", id).changed(facts_of(template), facts(draft, place, template.version + 1));
    audit::write(session, actor, &act, now).await
}

/// Deletes a template, and returns what it was, if it was there. Cells that name it go back to the best match. Its versions stay, with
/// one that says who deleted it.
pub async fn delete(session: &mut Session, id: Id, actor: &Actor, now: Timestamp) -> Result<Option<Template>> {
    let Some(template) = find(session, id).await? else { return Ok(None) };
    sql!(run, session, "update templates set version = version + 1 where id = $1", id)?;
    versions::keep(session, &[id], &Written::by(&actor.name, Change::Deleted, now)).await?;
    sql!(run, session, "delete from templates where id = $1", id)?;
    let act = Act::new("delete", "template", id).changed(facts_of(&template), json!({}));
    audit::write(session, actor, &act, now).await?;
    Ok(Some(template))
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
            version: 1,
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
            let key = TemplateKey {
                channel: Channel::Email,
                target: Target::Clients,
                event_type,
                service_type_id: Some(service),
                subtype_id,
                phase_id,
                taller_id,
            };
            best(templates.iter(), &key).map(|template| template.name.as_str())
        };
        assert_eq!(chosen("vehicle_ready", None, None, None), Some("general"));
        assert_eq!(chosen("vehicle_ready", None, None, Some(phase)), Some("servicio"));
        assert_eq!(chosen("vehicle_ready", Some(subtype), None, Some(phase)), Some("subtipo"));
        assert_eq!(chosen("vehicle_ready", Some(subtype), Some("taller-1"), Some(phase)), Some("taller"));
        assert_eq!(chosen("vehicle_ready", None, Some("taller-2"), None), Some("general"));
        assert_eq!(chosen("maintenance_reminder", Some(subtype), Some("taller-1"), Some(phase)), Some("recordatorio"));
    }

    #[test]
    fn all_that_fit_are_shown_in_the_order_in_which_they_win() {
        let templates = [
            template("general", |_| ()),
            template("general, newer", |t| t.updated_at = Timestamp::from_micros(1)),
            template("taller", |t| t.taller_id = Some("taller-1".into())),
            template("otro canal", |t| t.channel = Channel::Push),
        ];
        let key = TemplateKey {
            channel: Channel::Email,
            target: Target::Clients,
            event_type: "",
            service_type_id: None,
            subtype_id: None,
            phase_id: None,
            taller_id: Some("taller-1"),
        };
        let fitting = fitting(templates.iter(), &key);
        let names: Vec<&str> = fitting.iter().map(|template| template.name.as_str()).collect();
        assert_eq!(names, ["taller", "general, newer", "general"]);
        assert_eq!(best(templates.iter(), &key).map(|best| &best.name), Some(&fitting[0].name));
    }

    #[test]
    fn a_filter_takes_what_answers_all_its_questions() {
        let phase = Id::of_name("phase");
        let own = template("Revisión de frenos", |t| {
            (t.taller_id, t.phase_id, t.subtype_id) = (Some("taller-1".into()), Some(phase), Some(phase));
        });
        let global = template("General", |_| ());
        let takes = |filter: TemplateFilter| (filter.takes(&own), filter.takes(&global));
        let everything = TemplateFilter::default;
        assert_eq!(takes(everything()), (true, true));
        assert_eq!(takes(TemplateFilter { search: Some("REVISION".into()), ..everything() }), (true, false));
        assert_eq!(takes(TemplateFilter { phase_id: Some(phase), ..everything() }), (true, false));
        assert_eq!(takes(TemplateFilter { subtype_ids: Some(vec![phase]), ..everything() }), (true, false));
        assert_eq!(takes(TemplateFilter { taller_id: Some(None), ..everything() }), (false, true));
        assert_eq!(takes(TemplateFilter { taller_id: Some(Some("taller-1".into())), ..everything() }), (true, false));
        assert_eq!(takes(TemplateFilter { is_active: Some(false), ..everything() }), (false, false));
        assert_eq!(takes(TemplateFilter { channel: Some(Channel::Push), ..everything() }), (false, false));
        assert_eq!(takes(TemplateFilter { event_type: Some("vehicle_ready".into()), ..everything() }), (false, false));
    }

    #[test]
    fn a_preview_shows_examples_and_names_what_has_none() {
        let shown = |body: &str| preview(body, CompiledTemplate::compile("", body, false).ok().as_ref(), false);
        assert_eq!(shown("Hola {{Nombre}}, faltan {{Kilometraje}} km"), "Hola Carlos Mendoza, faltan [Kilometraje] km");
        assert_eq!(shown("{{ Kilometraje|round }} km"), "{{ Kilometraje|round }} km", "a text that needs a number");
        assert_eq!(shown("{{ roto"), "{{ roto");
        assert_eq!(shown(&"á".repeat(400)), format!("{}…", "á".repeat(300)));
    }

    #[test]
    fn an_excerpt_ends_between_tags() {
        for (text, cut) in [
            ("corto", "corto"),
            ("0123456789", "0123456789"),
            ("0123456789a", "0123456789…"),
            ("Hola <strong>María</strong>", "Hola…"),
            ("Hola, M&amp;M", "Hola, M…"),
            ("Hola < 5 y sin cierre", "Hola < 5 y…"),
        ] {
            assert_eq!(excerpt(text, 10), cut, "{text}");
        }
    }

    #[test]
    fn a_draft_names_every_wrong_field() {
        let draft =
            TemplateDraft { name: " ".into(), subject: "a\nb".into(), body: "\u{7}".into(), ..Default::default() };
        let fields: Vec<&str> = draft.errors().into_iter().map(|(field, _)| field).collect();
        assert_eq!(fields, ["name", "channel", "subject", "body"]);
        let draft = TemplateDraft { subject: "{{ a".into(), body: "uno\ndos {% if %}".into(), ..Default::default() };
        let flaws = draft.flaws(false);
        assert_eq!(flaws.iter().map(|(field, _)| *field).collect::<Vec<_>>(), ["subject", "body"]);
        assert!(flaws[1].1.to_string().starts_with("Línea 2: "), "{flaws:?}");
    }
}
