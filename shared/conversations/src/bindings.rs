//! Which group is told of an experience, and by which of the four rules (S003-25).

use recado_kernel::clock::Timestamp;
use recado_kernel::db::{Ids, Result, Session, Texts};
use recado_kernel::ids::Id;
use recado_kernel::sql;

/// The groups that might be told.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Candidates {
    /// Chosen by staff for this experience alone.
    pub chosen: Option<Id>,
    /// Of the operator who answers for its organizer.
    pub of_operator: Option<Id>,
    /// What was the operator's group when the experience came.
    pub at_first: Option<Id>,
}

impl Candidates {
    /// The group that is told, and whether staff chose it for this experience (S003-25).
    pub fn choose(self) -> Option<(Id, bool)> {
        let chosen = self.chosen.map(|group| (group, true));
        chosen.or_else(|| self.of_operator.or(self.at_first).map(|group| (group, false)))
    }
}

/// A group as experiences and operators show it.
#[derive(Clone, Debug, PartialEq, Eq, sqlx::FromRow)]
pub struct Group {
    pub id: Id,
    /// WhatsApp's own.
    pub chat_id: String,
    pub name: Option<String>,
}

/// An experience with its operator and the group that is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Binding {
    pub experience_id: String,
    pub operator: Option<Id>,
    pub group: Option<Group>,
    /// Staff chose the group for this experience.
    pub is_override: bool,
}

/// A row of the statement: the experience, its operator, and the three candidates.
type Row = (String, Option<Id>, Option<Id>, Option<Id>, Option<Id>);

/// What holds for these experiences now. Those that are unknown are left out.
pub async fn current(session: &mut Session, experiences: &[&str]) -> Result<Vec<Binding>> {
    let rows: Vec<Row> = sql!(
        all Row,
        session,
        "select e.id, p.id, chosen.chat, p.default_group, at_first.chat
         from tour_experiences e
         left join tour_operators p on p.organizer_id = e.organizer_id
         left join tour_group_bindings chosen on chosen.experience_id = e.id and chosen.is_override
         left join tour_group_bindings at_first on at_first.experience_id = e.id and not at_first.is_override
         where e.id = any($1)",
        Texts(experiences)
    )?;
    let chosen: Vec<_> = rows
        .into_iter()
        .map(|(experience, operator, chosen, of_operator, at_first)| {
            (experience, operator, Candidates { chosen, of_operator, at_first }.choose())
        })
        .collect();
    let ids: Vec<Id> = chosen.iter().filter_map(|(_, _, group)| group.map(|(id, _)| id)).collect();
    let groups = groups(session, &ids).await?;
    let binding = |(experience_id, operator, group): (String, Option<Id>, Option<(Id, bool)>)| Binding {
        experience_id,
        operator,
        group: group.and_then(|(id, _)| groups.iter().find(|group| group.id == id).cloned()),
        is_override: group.is_some_and(|(_, is_override)| is_override),
    };
    Ok(chosen.into_iter().map(binding).collect())
}

/// The groups that might be told of one experience, level by level, so that it can be said why one is. `None`: there is no such
/// experience.
pub async fn levels(session: &mut Session, experience: &str) -> Result<Option<Candidates>> {
    type Levels = (Option<Id>, Option<Id>, Option<Id>);
    let found: Option<Levels> = sql!(
        one Levels,
        session,
        "select chosen.chat, p.default_group, at_first.chat
         from tour_experiences e
         left join tour_operators p on p.organizer_id = e.organizer_id
         left join tour_group_bindings chosen on chosen.experience_id = e.id and chosen.is_override
         left join tour_group_bindings at_first on at_first.experience_id = e.id and not at_first.is_override
         where e.id = $1",
        experience
    )?;
    Ok(found.map(|(chosen, of_operator, at_first)| Candidates { chosen, of_operator, at_first }))
}

/// These groups, as they are shown.
pub async fn groups(session: &mut Session, ids: &[Id]) -> Result<Vec<Group>> {
    if ids.is_empty() {
        return Ok(Vec::new());
    }
    sql!(all Group, session, "select id, chat_id, name from whatsapp_chats where id = any($1)", Ids(ids))
}

/// Why a chat cannot be bound.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unfit {
    Unknown,
    /// It is a person's.
    NoGroup,
}

/// The group of this id, if it can be told (S003-27).
pub async fn fit(session: &mut Session, id: Id) -> Result<std::result::Result<Group, Unfit>> {
    let found: Option<(Id, String, Option<String>, String)> = sql!(
        one(Id, String, Option<String>, String),
        session,
        "select id, chat_id, name, kind from whatsapp_chats where id = $1",
        id
    )?;
    Ok(match found {
        None => Err(Unfit::Unknown),
        Some((.., kind)) if kind != "group" => Err(Unfit::NoGroup),
        Some((id, chat_id, name, _)) => Ok(Group { id, chat_id, name }),
    })
}

/// Staff choose a group for an experience.
pub async fn choose(session: &mut Session, experience_id: &str, group: Id, now: Timestamp) -> Result<()> {
    bind(session, experience_id, true, group, now).await
}

/// Staff take their choice back; what is beneath it holds again.
pub async fn unchoose(session: &mut Session, experience_id: &str) -> Result<()> {
    sql!(run, session, "delete from tour_group_bindings where experience_id = $1 and is_override", experience_id)?;
    Ok(())
}

/// What the operator's group was when the experience came (S003-26).
pub(crate) async fn bind_at_first(session: &mut Session, experience_id: &str, group: Id, now: Timestamp) -> Result<()> {
    bind(session, experience_id, false, group, now).await
}

async fn bind(session: &mut Session, experience_id: &str, is_override: bool, group: Id, now: Timestamp) -> Result<()> {
    sql!(
        run,
        session,
        "insert into tour_group_bindings (experience_id, is_override, chat, created_at) values ($1, $2, $3, $4)
         on conflict (experience_id, is_override) do update set chat = excluded.chat, created_at = excluded.created_at",
        experience_id,
        is_override,
        group,
        now
    )?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use recado_kernel::clock::Timestamp;

    use super::*;

    /// S003-25: all eight cases.
    #[test]
    fn the_group_is_found_by_four_rules() {
        let id = |number: i64| Id::new(Timestamp::from_micros(number * 1_000_000));
        let (chosen, of_operator, at_first) = (id(1), id(2), id(3));
        for case in 0..8_u8 {
            let has = |bit: u8, id: Id| (case & bit != 0).then_some(id);
            let candidates =
                Candidates { chosen: has(4, chosen), of_operator: has(2, of_operator), at_first: has(1, at_first) };
            let expected = match case {
                0 => None,
                1 => Some((at_first, false)),
                2 | 3 => Some((of_operator, false)),
                _ => Some((chosen, true)),
            };
            assert_eq!(candidates.choose(), expected, "{candidates:?}");
        }
    }
}
