//! Which group is told of an experience: an override, the operator's default, the experience's default, or none (S003-25).

use recado_kernel::db::{Result, Session, Texts};
use recado_kernel::ids::Id;
use recado_kernel::sql;

/// A group that is told of an experience.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group {
    pub id: Id,
    pub chat_id: String,
    pub name: Option<String>,
    pub is_override: bool,
}

/// Who is told of an experience.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Binding {
    pub experience_id: String,
    pub operator: Option<Id>,
    pub group: Option<Group>,
}

#[derive(sqlx::FromRow)]
struct Found {
    experience_id: String,
    operator: Option<Id>,
    id: Option<Id>,
    chat_id: Option<String>,
    name: Option<String>,
    is_override: bool,
}

/// Who is told of these experiences, as things stand.
pub async fn current(session: &mut Session, experiences: &[&str]) -> Result<Vec<Binding>> {
    let found: Vec<Found> = sql!(all Found, session,
        "select e.id as experience_id, o.id as operator, c.id, c.chat_id, c.name, (b.chat is not null) as is_override
         from tour_experiences e
         left join tour_operators o on o.organizer_id = e.organizer_id
         left join tour_group_bindings b on b.experience_id = e.id and b.is_override
         left join tour_group_bindings d on d.experience_id = e.id and not d.is_override
         left join whatsapp_chats c on c.id = coalesce(b.chat, o.default_group, d.chat)
         where e.id = any($1)",
        Texts(experiences)
    )?;
    Ok(found.into_iter().map(Found::binding).collect())
}

impl Found {
    fn binding(self) -> Binding {
        let Self { experience_id, operator, id, chat_id, name, is_override } = self;
        let group = id.zip(chat_id).map(|(id, chat_id)| Group { id, chat_id, name, is_override });
        Binding { experience_id, operator, group }
    }
}
