//! Conditions of a list, only those that are asked for.
//!
//! `($1 is null or customer_id = $1)` would be one text for all questions, and one plan for all of them: the one that reads
//! the whole table. So the text holds what is asked and nothing else.

use std::fmt;

use sqlx::postgres::PgRow;
use sqlx::sqlite::SqliteRow;
use sqlx::{AssertSqlSafe, FromRow, Postgres, Sqlite};

use super::{Connection, Result, Session, dialect};
use crate::clock::Timestamp;
use crate::ids::Id;

/// A value that a condition compares with.
#[derive(Clone, Debug)]
pub enum Value {
    Id(Id),
    Ids(Vec<Id>),
    Text(String),
    Texts(Vec<String>),
    Number(i64),
    Flag(bool),
    Time(Timestamp),
}

/// Turns what a filter holds into a [`Value`].
macro_rules! values {
    ($($from:ty => |$it:ident| $value:expr),+ $(,)?) => {
        $(impl From<$from> for Value {
            fn from($it: $from) -> Self {
                $value
            }
        })+
    };
}

values! {
    Id => |id| Self::Id(id),
    Vec<Id> => |ids| Self::Ids(ids),
    &str => |text| Self::Text(text.to_owned()),
    String => |text| Self::Text(text),
    Vec<String> => |texts| Self::Texts(texts),
    Vec<&str> => |texts| Self::Texts(texts.into_iter().map(str::to_owned).collect()),
    i64 => |number| Self::Number(number),
    i32 => |number| Self::Number(number.into()),
    bool => |flag| Self::Flag(flag),
    Timestamp => |time| Self::Time(time),
}

/// The conditions so far, and the values that they name. `Display` is the text after `where`.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    conditions: Vec<String>,
    values: Vec<Value>,
}

impl Filter {
    /// Adds a value; returns the parameter that stands for it.
    pub fn value(&mut self, value: impl Into<Value>) -> String {
        self.values.push(value.into());
        format!("${}", self.values.len())
    }

    /// Adds a condition without a value.
    pub fn require(&mut self, condition: impl Into<String>) {
        self.conditions.push(condition.into());
    }

    /// `condition` holds `?` where the value stands. Nothing is added for `None`.
    pub fn when<V: Into<Value>>(&mut self, condition: &str, value: Option<V>) {
        if let Some(value) = value {
            let parameter = self.value(value);
            self.conditions.push(condition.replace('?', &parameter));
        }
    }

    /// The column has this value, if there is one to ask for.
    pub fn equal<V: Into<Value>>(&mut self, column: &str, value: Option<V>) {
        self.when(&format!("{column} = ?"), value);
    }

    /// All rows of a query. The text is made of literals and of what this filter returned.
    pub async fn all<R>(&self, session: &mut Session, text: &str) -> Result<Vec<R>>
    where
        R: for<'r> FromRow<'r, PgRow> + for<'r> FromRow<'r, SqliteRow> + Send + Unpin,
    {
        match session.connection() {
            Connection::Postgres(connection, persistent) => {
                let mut query = sqlx::query_as::<Postgres, R>(AssertSqlSafe(dialect::postgres(text)));
                for value in &self.values {
                    query = match value {
                        Value::Id(id) => query.bind(*id),
                        Value::Ids(ids) => query.bind(ids),
                        Value::Text(text) => query.bind(text),
                        Value::Texts(texts) => query.bind(texts),
                        Value::Number(number) => query.bind(*number),
                        Value::Flag(flag) => query.bind(*flag),
                        Value::Time(time) => query.bind(*time),
                    };
                }
                query.persistent(persistent).fetch_all(connection).await
            }
            Connection::Sqlite(connection) => {
                let mut query = sqlx::query_as::<Sqlite, R>(AssertSqlSafe(dialect::sqlite(text)));
                for value in &self.values {
                    query = match value {
                        Value::Id(id) => query.bind(*id),
                        Value::Ids(ids) => query.bind(super::Ids(ids)),
                        Value::Text(text) => query.bind(text),
                        Value::Texts(texts) => query.bind(super::Texts(texts)),
                        Value::Number(number) => query.bind(*number),
                        Value::Flag(flag) => query.bind(*flag),
                        Value::Time(time) => query.bind(*time),
                    };
                }
                query.fetch_all(connection).await
            }
        }
    }
}

impl fmt::Display for Filter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.conditions.is_empty() { f.write_str("true") } else { f.write_str(&self.conditions.join(" and ")) }
    }
}

/// No list counts further than this: so many pages are not turned, and counting millions of rows would keep the database busy.
pub const MOST_COUNTED: i64 = 100_000;

/// One page of a list, and how many rows there are in all, up to [`MOST_COUNTED`].
///
/// `columns` and `from` are texts of literals; `order` is the order of the whole list. The page's keys are found first and
/// its rows afterwards, so that a deep page reads keys and not rows. The rows are only counted when the page does not tell.
pub async fn page<R>(
    session: &mut Session,
    mut filter: Filter,
    list: &List<'_>,
    limit: i64,
    offset: i64,
) -> Result<(Vec<R>, i64)>
where
    R: for<'r> FromRow<'r, PgRow> + for<'r> FromRow<'r, SqliteRow> + Send + Unpin,
{
    let List { columns, from, key, order } = list;
    let counted = filter.clone();
    let (most, skipped) = (filter.value(limit), filter.value(offset));
    let rows: Vec<R> = filter
        .all(
            session,
            &format!(
                "select {columns} from {from} where {key} in
                     (select {key} from {from} where {filter} order by {order} limit {most} offset {skipped})
                 order by {order}"
            ),
        )
        .await?;
    let found = i64::try_from(rows.len()).unwrap_or(i64::MAX);
    if found < limit && (found > 0 || offset == 0) {
        return Ok((rows, offset + found));
    }
    let count: Vec<(i64,)> = counted
        .all(
            session,
            &format!("select count(*) from (select 1 from {from} where {counted} limit {MOST_COUNTED}) counted"),
        )
        .await?;
    Ok((rows, count.first().map_or(0, |(count,)| *count)))
}

/// What a list is made of.
pub struct List<'l> {
    pub columns: &'l str,
    /// A table, or a join of some.
    pub from: &'l str,
    /// The column that tells its rows apart.
    pub key: &'l str,
    pub order: &'l str,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_asked_stands_in_the_text() {
        let mut filter = Filter::default();
        assert_eq!(filter.to_string(), "true");
        filter.equal("status", Some("sent"));
        filter.equal::<&str>("channel", None);
        filter.when("created_at >= ?", Some(Timestamp::from_micros(0)));
        filter.require("erased_at is null");
        assert_eq!(filter.to_string(), "status = $1 and created_at >= $2 and erased_at is null");
        assert_eq!(filter.value(20_i64), "$3");
    }
}
