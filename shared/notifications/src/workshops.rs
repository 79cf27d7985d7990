//! Workshops (`taller_id`) with their own settings. An event may name one that has no row: then the general settings apply.

use chrono_tz::Tz;
use serde::Serialize;
use serde_json::{Value, json};
use utoipa::ToSchema;

use crate::catalogue_version;
use crate::channels::Channel;
use crate::customers::{LONGEST_CUSTOMER_ID, check_quiet_hours};
use crate::provider_accounts::{self, check_sender};
use recado_kernel::audit::{self, Act, Actor};
use recado_kernel::clock::Timestamp;
use recado_kernel::db::filter::{Filter, List};
use recado_kernel::db::{Result, Session, contains};
use recado_kernel::fields::{Wrong, blank, check_text};
use recado_kernel::ids::Id;
use recado_kernel::language::Sentence;
use recado_kernel::sql;
use recado_kernel::time_of_day::TimeOfDay;

/// A workshop, as intake and the workers know it from the catalogue in memory.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, sqlx::FromRow)]
pub struct Workshop {
    /// Our own id; events and URLs use `taller_id`.
    pub id: Id,
    /// The caller's own identifier, at most 100 characters (d15).
    pub taller_id: String,
    pub name: String,
    /// `false`: events that name this workshop are refused.
    pub is_active: bool,
    /// IANA name; `None` for `TIME_ZONE`.
    pub time_zone: Option<String>,
    /// Start of its quiet hours, local time; `None` exactly when `quiet_until` is.
    pub quiet_from: Option<TimeOfDay>,
    pub quiet_until: Option<TimeOfDay>,
    /// Sender of its mails, `Name <address>`; `None` for the account's, or else `DEFAULT_FROM_EMAIL`.
    pub from_email: Option<String>,
    pub email_enabled: bool,
    pub whatsapp_enabled: bool,
    pub push_enabled: bool,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
}

impl Workshop {
    /// Whether the workshop sends on this channel.
    pub fn is_enabled(&self, channel: Channel) -> bool {
        match channel {
            Channel::Email => self.email_enabled,
            Channel::Whatsapp => self.whatsapp_enabled,
            Channel::Push => self.push_enabled,
        }
    }

    /// Its time zone, where it states one.
    pub fn tz(&self) -> Option<Tz> {
        self.time_zone.as_deref()?.parse().ok()
    }
}

/// What staff write about a workshop.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = WorkshopWrite)]
pub struct WorkshopDraft {
    /// The identifier that events carry in `taller_id`. It names the workshop in URLs.
    #[schema(max_length = 100, examples("quito-norte"))]
    pub taller_id: String,
    /// Name for people.
    #[schema(max_length = 200, examples("Ambacar Quito Norte"))]
    pub name: String,
    /// False: events that name this workshop are refused.
    #[schema(default = true)]
    pub is_active: bool,
    /// IANA name of its time zone; null for TIME_ZONE.
    #[schema(max_length = 64, examples("America/Guayaquil"))]
    pub time_zone: Option<String>,
    /// Start of its quiet hours, local time HH:MM; together with `quiet_until`, or both null.
    pub quiet_from: Option<TimeOfDay>,
    /// End of its quiet hours, local time HH:MM; earlier than the start when they cross midnight.
    pub quiet_until: Option<TimeOfDay>,
    /// Sender of its mails; null for the account's own sender.
    #[schema(max_length = 320, examples("Ambacar Quito Norte <norte@taller.example.com>"))]
    pub from_email: Option<String>,
    /// False: nothing is sent by email.
    #[schema(default = true)]
    pub email_enabled: bool,
    /// False: nothing is sent by WhatsApp.
    #[schema(default = true)]
    pub whatsapp_enabled: bool,
    /// False: nothing is sent as a push.
    #[schema(default = true)]
    pub push_enabled: bool,
}

impl Default for WorkshopDraft {
    fn default() -> Self {
        Self {
            taller_id: String::new(),
            name: String::new(),
            is_active: true,
            time_zone: None,
            quiet_from: None,
            quiet_until: None,
            from_email: None,
            email_enabled: true,
            whatsapp_enabled: true,
            push_enabled: true,
        }
    }
}

impl WorkshopDraft {
    /// What is wrong with it; every error names its field.
    pub fn errors(&self) -> Wrong {
        let mut errors = Wrong::new();
        for (field, value) in [("taller_id", &self.taller_id), ("name", &self.name)] {
            if value.trim().is_empty() {
                errors.push((field, blank()));
            }
        }
        check_text(&mut errors, "taller_id", Some(&self.taller_id), LONGEST_CUSTOMER_ID);
        check_text(&mut errors, "name", Some(&self.name), 200);
        if self.taller_id.contains('/') {
            let wrong = Sentence::new(
                "No puede contener una barra (/), porque es parte de la URL.",
                "It may hold no slash (/), because it is part of the URL.",
            );
            errors.push(("taller_id", wrong));
        }
        if self.time_zone.as_deref().is_some_and(|zone| zone.parse::<Tz>().is_err()) {
            let wrong = Sentence::new(
                "No es una zona horaria de IANA; use por ejemplo America/Guayaquil.",
                "This is not a time zone of IANA; use for example America/Guayaquil.",
            );
            errors.push(("time_zone", wrong));
        }
        check_sender(&mut errors, "from_email", self.from_email.as_deref());
        check_quiet_hours(&mut errors, self.quiet_from, self.quiet_until);
        errors
    }
}

impl From<Workshop> for WorkshopDraft {
    fn from(workshop: Workshop) -> Self {
        Self {
            taller_id: workshop.taller_id,
            name: workshop.name,
            is_active: workshop.is_active,
            time_zone: workshop.time_zone,
            quiet_from: workshop.quiet_from,
            quiet_until: workshop.quiet_until,
            from_email: workshop.from_email,
            email_enabled: workshop.email_enabled,
            whatsapp_enabled: workshop.whatsapp_enabled,
            push_enabled: workshop.push_enabled,
        }
    }
}

/// The columns of a [`Workshop`], by name: a star would break the prepared statements of running processes when a newer
/// version adds one.
const COLUMNS: &str = "id, taller_id, name, is_active, time_zone, quiet_from, quiet_until, from_email, email_enabled, \
     whatsapp_enabled, push_enabled, created_at, updated_at";

/// All of them, for the catalogue.
pub async fn all(session: &mut Session) -> Result<Vec<Workshop>> {
    sql!(all Workshop, session, (&format!("select {COLUMNS} from workshops")))
}

/// The senders that workshops want on their mails: `taller_id` and mailbox.
pub async fn senders(session: &mut Session) -> Result<Vec<(String, String)>> {
    let senders: Vec<(String, String)> =
        sql!(all(String, String), session, "select taller_id, from_email from workshops where from_email is not null")?;
    Ok(senders.into_iter().map(|(taller_id, sender)| (taller_id, provider_accounts::as_it_travels(&sender))).collect())
}

pub async fn find(session: &mut Session, taller_id: &str) -> Result<Option<Workshop>> {
    sql!(one Workshop, session, (&format!("select {COLUMNS} from workshops where taller_id = $1")), taller_id)
}

/// Which workshops to list; `None` leaves a question out.
#[derive(Clone, Debug, Default)]
pub struct WorkshopFilter {
    pub is_active: Option<bool>,
    /// Part of the name, in either case.
    pub search: Option<String>,
}

/// The workshop, held until the end of the transaction, so that two changes of it do not lose each other.
pub async fn lock(session: &mut Session, taller_id: &str) -> Result<Option<Workshop>> {
    sql!(one Workshop, session, (&format!("select {COLUMNS} from workshops where taller_id = $1 for update")), taller_id)
}

/// A page of the workshops that fit, by `taller_id`, and how many fit in all.
pub async fn list(
    session: &mut Session,
    filter: &WorkshopFilter,
    limit: i64,
    offset: i64,
) -> Result<(Vec<Workshop>, i64)> {
    let mut asked = Filter::default();
    asked.equal("is_active", filter.is_active);
    asked.when("name ilike ? escape '\\'", filter.search.as_deref().map(contains));
    let list = List {
        select: &format!("select {COLUMNS} from workshops"),
        from: "workshops",
        key: "taller_id",
        order: &["taller_id"],
        descending: false,
    };
    list.page(session, &asked, limit, offset).await
}

/// Writes a new workshop. A `taller_id` that is taken violates `workshops_taller_id_key`.
pub async fn insert(session: &mut Session, draft: &WorkshopDraft, actor: &Actor, now: Timestamp) -> Result<Workshop> {
    touch(session).await?;
    let made = sql!(one Workshop, session,
        (&format!("insert into workshops (id, taller_id, name, is_active, time_zone, quiet_from, quiet_until, from_email,
             email_enabled, whatsapp_enabled, push_enabled, created_at, updated_at)
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $12) returning {COLUMNS}")),
        Id::new(now), draft.taller_id.as_str(), draft.name.as_str(), draft.is_active, draft.time_zone.as_deref(),
        draft.quiet_from, draft.quiet_until, draft.from_email.as_deref(), draft.email_enabled,
        draft.whatsapp_enabled, draft.push_enabled, now
    )?;
    let made: Workshop = made.ok_or(sqlx::Error::RowNotFound)?;
    audit::write(session, actor, &Act::new("create", "workshop", made.id).made(facts(&made)), now).await?;
    Ok(made)
}

/// Replaces a workshop that is locked.
pub async fn replace(
    session: &mut Session,
    workshop: &Workshop,
    draft: &WorkshopDraft,
    actor: &Actor,
    now: Timestamp,
) -> Result<Workshop> {
    touch(session).await?;
    let written = sql!(one Workshop, session,
        (&format!("update workshops set taller_id = $2, name = $3, is_active = $4, time_zone = $5, quiet_from = $6,
             quiet_until = $7, from_email = $8, email_enabled = $9, whatsapp_enabled = $10, push_enabled = $11,
             updated_at = $12
         where id = $1 returning {COLUMNS}")),
        workshop.id, draft.taller_id.as_str(), draft.name.as_str(), draft.is_active, draft.time_zone.as_deref(),
        draft.quiet_from, draft.quiet_until, draft.from_email.as_deref(), draft.email_enabled,
        draft.whatsapp_enabled, draft.push_enabled, now
    )?;
    let written: Workshop = written.ok_or(sqlx::Error::RowNotFound)?;
    let act = Act::new("change", "workshop", workshop.id).changed(facts(workshop), facts(&written));
    audit::write(session, actor, &act, now).await?;
    Ok(written)
}

/// Deletes a workshop's settings; what they were, if there were any. Its provider accounts stay, for they belong to the `taller_id`.
pub async fn delete(session: &mut Session, taller_id: &str, actor: &Actor, now: Timestamp) -> Result<Option<Workshop>> {
    touch(session).await?;
    let deleted = sql!(one Workshop, session,
        (&format!("delete from workshops where taller_id = $1 returning {COLUMNS}")), taller_id)?;
    if let Some(workshop) = &deleted {
        let workshop: &Workshop = workshop;
        let act = Act::new("delete", "workshop", workshop.id).changed(facts(workshop), json!({}));
        audit::write(session, actor, &act, now).await?;
    }
    Ok(deleted)
}

/// What the audit log keeps of a workshop: all that staff write. Its sender is a mailbox of the workshop and not of a person.
fn facts(workshop: &Workshop) -> Value {
    json!(WorkshopDraft::from(workshop.clone()))
}

/// Intake decides with the catalogue, and the workers take the sender of mails from it.
async fn touch(session: &mut Session) -> Result<()> {
    catalogue_version::touch(session).await?;
    provider_accounts::touch(session).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_wrong_field_is_named() {
        let good = || WorkshopDraft { taller_id: "t-1".into(), name: "Taller".into(), ..WorkshopDraft::default() };
        let fields = |draft: WorkshopDraft| draft.errors().into_iter().map(|(field, _)| field).collect::<Vec<_>>();
        let quiet = |from: &str, until: &str| {
            fields(WorkshopDraft { quiet_from: from.parse().ok(), quiet_until: until.parse().ok(), ..good() })
        };
        assert!(fields(good()).is_empty());
        assert_eq!(
            fields(WorkshopDraft { name: " ".into(), taller_id: "a/b".into(), ..good() }),
            ["name", "taller_id"]
        );
        assert_eq!(fields(WorkshopDraft { time_zone: Some("Quito".into()), ..good() }), ["time_zone"]);
        for wrong in ["taller", "Taller <taller>", "a@b.ec\r\nBcc: c@d.ec", ""] {
            assert_eq!(fields(WorkshopDraft { from_email: Some(wrong.into()), ..good() }), ["from_email"], "{wrong}");
        }
        assert!(quiet("22:00", "07:00").is_empty());
        assert_eq!(quiet("22:00", ""), ["quiet_until"]);
        assert_eq!(quiet("", "07:00"), ["quiet_from"]);
        assert_eq!(quiet("07:00", "07:00"), ["quiet_until"]);
    }
}
