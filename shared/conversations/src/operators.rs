//! Tour operators: who is told of the requests for an organizer's experiences, and answers them.

use recado_kernel::clock::Timestamp;
use recado_kernel::db::filter::{Filter, List};
use recado_kernel::db::{Result, Session, contains};
use recado_kernel::fields::Wrong;
use recado_kernel::ids::Id;
use recado_kernel::sql;

use crate::bindings::{self, Group};
use crate::contacts::{Contact, LONGEST_NAME, check_name, tidy_phone};
use crate::organizers::WithoutOperator;

/// An operator.
#[derive(Clone, Debug, PartialEq, Eq, sqlx::FromRow)]
pub struct Operator {
    pub id: Id,
    pub organizer_id: Option<String>,
    pub name: String,
    #[sqlx(flatten)]
    pub contact: Contact,
    /// E.164.
    pub whatsapp_number: Option<String>,
    /// The chat of the group that is told.
    pub default_group: Option<Id>,
    /// Made because its organizer had none.
    pub is_system_created: bool,
}

const COLUMNS: &str =
    "id, organizer_id, name, contact_name, contact_phone, contact_email, whatsapp_number, default_group,
     is_system_created";

/// One operator.
pub async fn find(session: &mut Session, id: Id) -> Result<Option<Operator>> {
    sql!(one Operator, session, (&format!("select {COLUMNS} from tour_operators where id = $1")), id)
}

/// One operator, held until the end of the transaction.
pub async fn lock(session: &mut Session, id: Id) -> Result<Option<Operator>> {
    sql!(one Operator, session, (&format!("select {COLUMNS} from tour_operators where id = $1 for update")), id)
}

/// An operator as lists show it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    pub operator: Operator,
    pub organizer_name: Option<String>,
    pub group: Option<Group>,
    /// How many experiences it answers for.
    pub experiences: i64,
}

/// Which operators to list; `None` leaves a question out.
#[derive(Clone, Debug, Default)]
pub struct OperatorFilter {
    /// Part of the name.
    pub search: Option<String>,
    pub organizer_id: Option<String>,
}

/// The operators that fit, by name, and how many fit in all.
pub async fn list(
    session: &mut Session,
    filter: &OperatorFilter,
    limit: i64,
    offset: i64,
) -> Result<(Vec<Listed>, i64)> {
    let mut asked = Filter::default();
    asked.equal("organizer_id", filter.organizer_id.as_deref());
    asked.when("name ilike ? escape '\\'", filter.search.as_deref().map(contains));
    let list = List {
        select: &format!("select {COLUMNS} from tour_operators"),
        from: "tour_operators",
        key: "id",
        order: &["name", "id"],
        descending: false,
    };
    let (operators, count) = list.page(session, &asked, limit, offset).await?;
    Ok((describe(session, operators).await?, count))
}

/// What lists show of these operators.
pub async fn describe(session: &mut Session, operators: Vec<Operator>) -> Result<Vec<Listed>> {
    let organizers: Vec<&str> = operators.iter().filter_map(|operator| operator.organizer_id.as_deref()).collect();
    let known: Vec<(String, String, i64)> = sql!(
        all(String, String, i64),
        session,
        "select o.id, o.name, (select count(*) from tour_experiences e where e.organizer_id = o.id)
         from tour_organizers o where o.id = any($1)",
        recado_kernel::db::Texts(&organizers)
    )?;
    let ids: Vec<Id> = operators.iter().filter_map(|operator| operator.default_group).collect();
    let groups = bindings::groups(session, &ids).await?;
    let listed = |operator: Operator| {
        let organizer = known.iter().find(|(id, ..)| Some(id) == operator.organizer_id.as_ref());
        Listed {
            organizer_name: organizer.map(|(_, name, _)| name.clone()),
            experiences: organizer.map_or(0, |(.., experiences)| *experiences),
            group: groups.iter().find(|group| Some(group.id) == operator.default_group).cloned(),
            operator,
        }
    };
    Ok(operators.into_iter().map(listed).collect())
}

/// Changes to an operator; `None` leaves a field as it is.
#[derive(Clone, Debug, Default)]
pub struct Changes {
    pub name: Option<String>,
    pub contact_name: Option<Option<String>>,
    pub contact_phone: Option<Option<String>>,
    pub contact_email: Option<Option<String>>,
    pub whatsapp_number: Option<Option<String>>,
    /// `Some(None)` unlinks it from its organizer.
    pub organizer_id: Option<Option<String>>,
}

impl Operator {
    /// Takes the changes over. What is wrong with one names it as it is called on the wire.
    pub fn change(&mut self, changes: Changes, country: &str) -> Wrong {
        let Changes { name, contact_name, contact_phone, contact_email, whatsapp_number, organizer_id } = changes;
        let mut errors = Wrong::new();
        // Only what is sent is looked at: what was there before is no mistake of this request.
        let mut contact = Contact {
            contact_name: contact_name.clone().flatten(),
            contact_phone: contact_phone.clone().flatten(),
            contact_email: contact_email.clone().flatten(),
        };
        errors.extend(contact.tidy(country));
        if let Some(mut name) = name {
            check_name(&mut errors, "name", &mut name, LONGEST_NAME);
            self.name = name;
        }
        if contact_name.is_some() {
            self.contact.contact_name = contact.contact_name;
        }
        if contact_phone.is_some() {
            self.contact.contact_phone = contact.contact_phone;
        }
        if contact_email.is_some() {
            self.contact.contact_email = contact.contact_email;
        }
        if let Some(mut number) = whatsapp_number {
            tidy_phone(&mut errors, "whatsapp_number", &mut number, country);
            self.whatsapp_number = number;
        }
        if let Some(organizer_id) = organizer_id {
            self.organizer_id = organizer_id;
        }
        errors
    }
}

/// Writes an operator as it is. An organizer that has another one violates `tour_operators_organizer_key`.
pub async fn write(session: &mut Session, operator: &Operator, now: Timestamp) -> Result<()> {
    let Contact { contact_name, contact_phone, contact_email } = &operator.contact;
    sql!(
        run,
        session,
        "update tour_operators set organizer_id = $2, name = $3, contact_name = $4, contact_phone = $5, contact_email = $6,
             whatsapp_number = $7, default_group = $8, updated_at = $9 where id = $1",
        operator.id,
        operator.organizer_id.as_deref(),
        operator.name.as_str(),
        contact_name.as_deref(),
        contact_phone.as_deref(),
        contact_email.as_deref(),
        operator.whatsapp_number.as_deref(),
        operator.default_group,
        now
    )?;
    Ok(())
}

/// How an organizer comes by its operator.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// An operator without an organizer has its name or its address.
    Link {
        organizer: WithoutOperator,
        operator: Id,
        name: String,
    },
    Make {
        organizer: WithoutOperator,
    },
}

/// What gives each of these organizers an operator. An operator is linked with one organizer at most: by name first, then by
/// e-mail address, whatever their case.
pub fn plan(organizers: Vec<WithoutOperator>, mut unlinked: Vec<Operator>) -> Vec<Step> {
    let alike = |one: &str, other: &str| one.trim().to_lowercase() == other.trim().to_lowercase();
    let step = |organizer: WithoutOperator| {
        let by_name = |operator: &Operator| alike(&operator.name, &organizer.name);
        let by_email = |operator: &Operator| match (&operator.contact.contact_email, &organizer.contact.contact_email) {
            (Some(one), Some(other)) => alike(one, other),
            _ => false,
        };
        match unlinked.iter().position(by_name).or_else(|| unlinked.iter().position(by_email)) {
            Some(position) => {
                let operator = unlinked.remove(position);
                Step::Link { organizer, operator: operator.id, name: operator.name }
            }
            None => Step::Make { organizer },
        }
    };
    organizers.into_iter().map(step).collect()
}

/// Operators that are linked with no organizer, the oldest first, held until the end of the transaction.
pub async fn unlinked(session: &mut Session) -> Result<Vec<Operator>> {
    sql!(
        all Operator,
        session,
        (&format!("select {COLUMNS} from tour_operators where organizer_id is null order by id for update"))
    )
}

/// Carries a step out.
pub async fn carry_out(session: &mut Session, step: &Step, now: Timestamp) -> Result<()> {
    match step {
        Step::Link { organizer, operator, .. } => {
            sql!(
                run,
                session,
                "update tour_operators set organizer_id = $2, updated_at = $3 where id = $1",
                *operator,
                organizer.id.as_str(),
                now
            )?;
        }
        Step::Make { organizer } => {
            sql!(
                run,
                session,
                "insert into tour_operators (id, organizer_id, name, contact_name, contact_phone, contact_email,
                     is_system_created, created_at, updated_at)
                 values ($1, $2, $3, $4, $5, $6, true, $7, $7) on conflict (organizer_id) do nothing",
                Id::new(now),
                organizer.id.as_str(),
                organizer.name.as_str(),
                organizer.contact.contact_name.as_deref(),
                organizer.contact.contact_phone.as_deref(),
                organizer.contact.contact_email.as_deref(),
                now
            )?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn operator(number: i64, name: &str, email: Option<&str>) -> Operator {
        Operator {
            id: Id::new(Timestamp::from_micros(number * 1_000_000)),
            organizer_id: None,
            name: name.to_owned(),
            contact: Contact { contact_email: email.map(str::to_owned), ..Contact::default() },
            whatsapp_number: None,
            default_group: None,
            is_system_created: false,
        }
    }

    fn organizer(id: &str, name: &str, email: Option<&str>) -> WithoutOperator {
        let contact = Contact { contact_email: email.map(str::to_owned), ..Contact::default() };
        WithoutOperator { id: id.to_owned(), name: name.to_owned(), contact, experiences: 1 }
    }

    #[test]
    fn an_operator_is_linked_once() {
        let operators = vec![operator(1, "Andes", Some("a@example.com")), operator(2, "Costa", None)];
        let organizers = vec![
            organizer("1", "ANDES ", None),
            organizer("2", "Andes", Some("A@example.com")),
            organizer("3", "Costa Sur", None),
        ];
        let steps = plan(organizers.clone(), operators.clone());
        let [Step::Link { operator, .. }, Step::Make { .. }, Step::Make { .. }] = steps.as_slice() else {
            panic!("{steps:?}")
        };
        assert_eq!(*operator, operators[0].id);

        let by_email = plan(organizers[1..2].to_vec(), vec![self::operator(1, "Otro", Some("a@example.com"))]);
        assert!(matches!(by_email.as_slice(), [Step::Link { .. }]), "{by_email:?}");
        assert_eq!(plan(Vec::new(), operators), []);
    }
}
