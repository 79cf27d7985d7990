//! Lists as people want to find them again: a name for a page of the console with its filters.

use crate::clock::Timestamp;
use crate::db::{Result, Session, take_turns};
use crate::ids::Id;
use crate::sql;

/// The most that one person keeps.
pub const MOST: i64 = 100;

/// A list with its filters, by the name that a person gave it.
#[derive(Clone, Debug, PartialEq, Eq, sqlx::FromRow)]
pub struct View {
    pub id: Id,
    pub name: String,
    /// Of the page, without its query.
    pub path: String,
    pub query: String,
}

impl View {
    /// Where it leads.
    pub fn url(&self) -> String {
        if self.query.is_empty() { self.path.clone() } else { format!("{}?{}", self.path, self.query) }
    }
}

/// All views of a person, by their page and name.
pub async fn of_user(session: &mut Session, user: Id) -> Result<Vec<View>> {
    sql!(all View, session,
        "select id, name, path, query from saved_views where user_id = $1 order by path, name limit $2", user, MOST)
}

/// The views of a person on one page.
pub async fn of_page(session: &mut Session, user: Id, path: &str) -> Result<Vec<View>> {
    sql!(all View, session,
        "select id, name, path, query from saved_views where user_id = $1 and path = $2 order by name limit $3",
        user, path, MOST)
}

/// Keeps a view. One of the same name on the same page is replaced. False: the person keeps as many as one may.
pub async fn save(
    session: &mut Session,
    user: Id,
    name: &str,
    path: &str,
    query: &str,
    now: Timestamp,
) -> Result<bool> {
    take_turns(session, &format!("views of {user}")).await?;
    let kept = sql!(
        run,
        session,
        "insert into saved_views (id, user_id, name, path, query, created_at)
         select $1, $2, $3, $4, $5, $6 where (select count(*) from saved_views where user_id = $2) < $7
         on conflict (user_id, path, name) do update set query = excluded.query",
        Id::new(now),
        user,
        name,
        path,
        query,
        now,
        MOST
    )?;
    Ok(kept > 0)
}

/// Forgets a view of this person; what it was.
pub async fn delete(session: &mut Session, user: Id, id: Id) -> Result<Option<View>> {
    sql!(one View, session,
        "delete from saved_views where id = $1 and user_id = $2 returning id, name, path, query", id, user)
}
