//! Organizers of another system, as it last told of them (d30).

use recado_kernel::clock::Timestamp;
use recado_kernel::db::{Result, Session};
use recado_kernel::fields::Wrong;
use recado_kernel::ids::Id;
use recado_kernel::sql;

use crate::contacts::{Contact, LONGEST_NAME, check_name};

/// The longest id of another system, in characters.
pub const LONGEST_ID: usize = 100;

/// An organizer, as another system tells of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Organizer {
    pub id: String,
    pub name: String,
    /// What is `None` was not told, and stays as it is (d29).
    pub contact: Contact,
}

impl Organizer {
    /// Brings the fields into the form in which they are kept. What is wrong with one names it as it is called on the wire.
    pub fn tidy(&mut self, country: &str) -> Wrong {
        let mut errors = Wrong::new();
        check_name(&mut errors, "id", &mut self.id, LONGEST_ID);
        check_name(&mut errors, "name", &mut self.name, LONGEST_NAME);
        errors.extend(self.contact.tidy(country));
        errors
    }
}

/// Keeps an organizer, and makes the operator who answers for it where it has none, also of ten that come at once.
pub(crate) async fn keep(session: &mut Session, organizer: &Organizer, now: Timestamp) -> Result<()> {
    let Organizer { id, name, contact } = organizer;
    sql!(
        run,
        session,
        "insert into tour_organizers (id, name, contact_name, contact_phone, contact_email, created_at, updated_at)
         values ($1, $2, $3, $4, $5, $6, $6)
         on conflict (id) do update set name = excluded.name,
             contact_name = coalesce(excluded.contact_name, tour_organizers.contact_name),
             contact_phone = coalesce(excluded.contact_phone, tour_organizers.contact_phone),
             contact_email = coalesce(excluded.contact_email, tour_organizers.contact_email),
             updated_at = excluded.updated_at",
        id.as_str(),
        name.as_str(),
        contact.contact_name.as_deref(),
        contact.contact_phone.as_deref(),
        contact.contact_email.as_deref(),
        now
    )?;
    sql!(
        run,
        session,
        "insert into tour_operators (id, organizer_id, name, contact_name, contact_phone, contact_email, is_system_created,
             created_at, updated_at)
         select $1, id, name, contact_name, contact_phone, contact_email, true, $3, $3 from tour_organizers where id = $2
         on conflict (organizer_id) do nothing",
        Id::new(now),
        id.as_str(),
        now
    )?;
    Ok(())
}

/// Whether another system told of it.
pub async fn exists(session: &mut Session, id: &str) -> Result<bool> {
    let found: Option<(String,)> = sql!(one(String,), session, "select id from tour_organizers where id = $1", id)?;
    Ok(found.is_some())
}

/// An organizer that has no operator.
#[derive(Clone, Debug, PartialEq, Eq, sqlx::FromRow)]
pub struct WithoutOperator {
    pub id: String,
    pub name: String,
    #[sqlx(flatten)]
    pub contact: Contact,
    /// How many experiences it has.
    pub experiences: i64,
}

/// The organizers without an operator, by name.
pub async fn without_operator(session: &mut Session) -> Result<Vec<WithoutOperator>> {
    sql!(
        all WithoutOperator,
        session,
        "select o.id, o.name, o.contact_name, o.contact_phone, o.contact_email,
             (select count(*) from tour_experiences e where e.organizer_id = o.id) as experiences
         from tour_organizers o
         where not exists (select 1 from tour_operators p where p.organizer_id = o.id) order by o.name, o.id"
    )
}
