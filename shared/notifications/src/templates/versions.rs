//! What a template ever was. Every write makes a version, in the transaction of the write; one that is restored is a new version like an
//! old one, and so nothing is ever lost.

use std::time::Duration;

use recado_kernel::audit::{self, Act, Actor};
use recado_kernel::clock::Timestamp;
use recado_kernel::db::{Ids, Numbers, Result, Session};
use recado_kernel::ids::Id;
use recado_kernel::{sql, word_enum};
use serde_json::{Value, json};
use similar::{ChangeTag, TextDiff};
use utoipa::ToSchema;

use super::{TemplateDraft, TemplateScope, facts, facts_of};
use crate::channels::Channel;
use crate::targets::Target;

/// How a version came to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, strum::IntoStaticStr, strum::VariantArray, ToSchema)]
#[strum(serialize_all = "snake_case", const_into_str)]
#[schema(as = TemplateChange, rename_all = "snake_case")]
pub enum Change {
    Created,
    Changed,
    /// It is like an older one.
    Restored,
    /// The last text of a template that was deleted.
    Deleted,
    /// It came with the program.
    Seeded,
}

word_enum!(Change, "a change of a template");

/// A text of a template, with who wrote it and when.
#[derive(Clone, Debug, PartialEq, Eq, sqlx::FromRow)]
pub struct Version {
    pub template_id: Id,
    /// From 1.
    pub version: i32,
    pub change: Change,
    /// The version that was restored.
    pub restored_from: Option<i32>,
    /// As the log names callers; `None` for the seed.
    pub author: Option<String>,
    pub written_at: Timestamp,
    pub name: String,
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
}

impl Version {
    /// Where in the work of a workshop it belonged.
    pub fn place(&self) -> TemplateScope {
        TemplateScope { service_type_id: self.service_type_id, subtype_id: self.subtype_id, phase_id: self.phase_id }
    }
}

/// The texts and their place, as they stand in both tables.
const TEXT: &str = "name, subject, body, channel, target, event_type, service_type_id, subtype_id, phase_id, taller_id, is_default, is_active";

/// How a write is told.
pub struct Written<'w> {
    author: Option<&'w str>,
    change: Change,
    restored_from: Option<i32>,
    at: Timestamp,
}

impl<'w> Written<'w> {
    pub fn by(author: &'w str, change: Change, at: Timestamp) -> Self {
        Self { author: Some(author), change, restored_from: None, at }
    }

    /// By no person: with the program.
    pub fn with_the_program(at: Timestamp) -> Self {
        Self { author: None, change: Change::Seeded, restored_from: None, at }
    }
}

/// Keeps the present texts of these templates as their versions. One that is kept already stays as it is.
pub async fn keep(session: &mut Session, templates: &[Id], written: &Written<'_>) -> Result<()> {
    sql!(
        run,
        session,
        (&format!(
            "insert into template_versions (template_id, version, change, restored_from, author, written_at, {TEXT})
                   select id, version, $2, $3, $4, $5, {TEXT} from templates where id = any($1) on conflict do nothing"
        )),
        Ids(templates),
        written.change,
        written.restored_from,
        written.author,
        written.at
    )?;
    Ok(())
}

/// The versions of a template, the newest first, and how many there are. None when there never was such a template.
pub async fn list(session: &mut Session, template: Id, limit: i64, offset: i64) -> Result<(Vec<Version>, i64)> {
    let count: Option<(i64,)> =
        sql!(one(i64), session, "select count(*) from template_versions where template_id = $1", template)?;
    let found = sql!(all Version, session,
        (&format!("select template_id, version, change, restored_from, author, written_at, {TEXT} from template_versions
                   where template_id = $1 order by version desc limit $2 offset $3")),
        template, limit, offset
    )?;
    Ok((found, count.map_or(0, |(count,)| count)))
}

/// The versions of a template that came before one, the newest first. None when there never was such a template.
pub async fn before(session: &mut Session, template: Id, version: Option<i32>, limit: i64) -> Result<Vec<Version>> {
    sql!(all Version, session,
        (&format!("select template_id, version, change, restored_from, author, written_at, {TEXT} from template_versions
                   where template_id = $1 and version < $2 order by version desc limit $3")),
        template, version.unwrap_or(i32::MAX), limit
    )
}

/// Those of the versions that there are.
pub async fn find_many(session: &mut Session, template: Id, versions: &[i32]) -> Result<Vec<Version>> {
    sql!(all Version, session,
        (&format!("select template_id, version, change, restored_from, author, written_at, {TEXT} from template_versions
                   where template_id = $1 and version = any($2) order by version")),
        template, Numbers(versions)
    )
}

/// Makes the template what it was in a version, which is a new version; also when it was deleted since.
pub async fn restore(session: &mut Session, version: &Version, actor: &Actor, now: Timestamp) -> Result<()> {
    let before = super::find(session, version.template_id).await?;
    let stands = sql!(
        run,
        session,
        "update templates set name = v.name, subject = v.subject, body = v.body, channel = v.channel, target = v.target,
             event_type = v.event_type, service_type_id = v.service_type_id, subtype_id = v.subtype_id,
             phase_id = v.phase_id, taller_id = v.taller_id, is_default = v.is_default, is_active = v.is_active,
             updated_at = $3, version = templates.version + 1
         from template_versions v where templates.id = v.template_id and v.template_id = $1 and v.version = $2",
        version.template_id,
        version.version,
        now
    )?;
    if stands == 0 {
        sql!(
            run,
            session,
            (&format!(
                "insert into templates (id, {TEXT}, is_seed, version, created_at, updated_at)
                       select template_id, {TEXT}, $4,
                              (select max(l.version) + 1 from template_versions l where l.template_id = $1), $3, $3
                       from template_versions where template_id = $1 and version = $2"
            )),
            version.template_id,
            version.version,
            now,
            false
        )?;
    }
    let written =
        Written { author: Some(&actor.name), change: Change::Restored, restored_from: Some(version.version), at: now };
    keep(session, &[version.template_id], &written).await?;
    let newest = super::find(session, version.template_id).await?.map_or(version.version, |template| template.version);
    let after = facts(&TemplateDraft::from(version), version.place(), newest);
    let before = before.as_ref().map_or_else(|| json!({}), facts_of);
    let act = Act::new("restore", "template", version.template_id).changed(before, after);
    audit::write(session, actor, &act, now).await
}

impl From<&Version> for TemplateDraft {
    fn from(version: &Version) -> Self {
        let reference = |id: Option<Id>| id.map(|id| id.to_string());
        Self {
            name: version.name.clone(),
            subject: version.subject.clone(),
            body: version.body.clone(),
            channel: Some(version.channel),
            target: version.target,
            event_type: version.event_type.clone(),
            service_type: reference(version.service_type_id),
            subtype: reference(version.subtype_id),
            phase: reference(version.phase_id),
            taller_id: version.taller_id.clone(),
            is_default: version.is_default,
            is_active: version.is_active,
        }
    }
}

/// A line of a difference.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DiffLine {
    pub change: LineChange,
    /// Without the end of the line.
    pub text: String,
}

/// What became of a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, strum::IntoStaticStr, strum::VariantArray, ToSchema)]
#[strum(serialize_all = "snake_case", const_into_str)]
#[schema(rename_all = "snake_case")]
pub enum LineChange {
    Equal,
    Removed,
    Added,
}

word_enum!(LineChange, "what became of a line");

/// A difference that takes longer is told in larger pieces.
const DIFF_WITHIN: Duration = Duration::from_millis(200);

/// The lines of both texts, in the order in which a reader sees what became of the first. Costly for long texts.
pub fn lines(before: &str, after: &str) -> Vec<DiffLine> {
    let diff = TextDiff::configure().timeout(DIFF_WITHIN).diff_lines(before, after);
    let line = |change: similar::Change<&str>| DiffLine {
        change: match change.tag() {
            ChangeTag::Equal => LineChange::Equal,
            ChangeTag::Delete => LineChange::Removed,
            ChangeTag::Insert => LineChange::Added,
        },
        text: change.value().trim_end_matches(['\n', '\r']).to_owned(),
    };
    diff.iter_all_changes().map(line).collect()
}

/// A field that is not the same in two versions, with both values; before the first version there is nothing. Texts have their lines
/// besides ([`lines`]).
pub fn changed_fields(before: Option<&Version>, after: &Version) -> Vec<(&'static str, Value, Value)> {
    let of = |version: &Version| {
        [
            ("name", json!(version.name)),
            ("subject", json!(version.subject)),
            ("body", json!(version.body)),
            ("channel", json!(version.channel)),
            ("target", json!(version.target)),
            ("event_type", json!(version.event_type)),
            ("service_type", json!(version.service_type_id)),
            ("subtype", json!(version.subtype_id)),
            ("phase", json!(version.phase_id)),
            ("taller_id", json!(version.taller_id)),
            ("is_default", json!(version.is_default)),
            ("is_active", json!(version.is_active)),
        ]
    };
    let old = before.map(of);
    let of_old = |place: usize| old.as_ref().map_or(Value::Null, |fields| fields[place].1.clone());
    let fields = of(after).into_iter().enumerate().map(|(place, (field, new))| (field, of_old(place), new));
    fields.filter(|(_, old, new)| old != new).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_line_that_was_changed_is_removed_and_added() {
        let told: Vec<_> =
            lines("Hola\nsu auto\nadiós", "Hola\nsu coche\nadiós").into_iter().map(|l| (l.change, l.text)).collect();
        let expected = [
            (LineChange::Equal, "Hola"),
            (LineChange::Removed, "su auto"),
            (LineChange::Added, "su coche"),
            (LineChange::Equal, "adiós"),
        ];
        assert_eq!(told, expected.map(|(change, text)| (change, text.to_owned())));
        assert!(lines("", "").is_empty());
    }

    proptest! {
        /// Whatever the texts: without what was added it is the first, without what was removed the second.
        #[test]
        fn both_texts_are_in_their_difference(before in "([a-c]\n){0,12}", after in "([a-c]\n){0,12}") {
            let told = lines(&before, &after);
            let without = |left_out: LineChange| -> String {
                told.iter().filter(|l| l.change != left_out).map(|l| format!("{}\n", l.text)).collect()
            };
            prop_assert_eq!(without(LineChange::Added), before);
            prop_assert_eq!(without(LineChange::Removed), after);
        }
    }
}
