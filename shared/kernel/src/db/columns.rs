//! Rows that are written many at a time, each column described once.
//!
//! PostgreSQL gets one array per column (`unnest`): it parses no JSON, which took most of the time of an insert. SQLite gets
//! one JSON text, as for `rows($1 as …)` in [`super::dialect`].

use std::borrow::Cow;

use sqlx::postgres::{PgArguments, PgRow};
use sqlx::query::{Query, QueryAs};
use sqlx::sqlite::SqliteRow;
use sqlx::{AssertSqlSafe, FromRow, Postgres, Sqlite};

use serde::ser::SerializeMap;

use super::{Connection, Result, Rows, Session, dialect};
use crate::within_limits;

/// Takes arrays as parameters of a statement.
pub trait Arrays<'q>: Sized {
    #[must_use]
    fn add<T: 'q>(self, array: Vec<T>) -> Self
    where
        Vec<T>: sqlx::Encode<'q, Postgres> + sqlx::Type<Postgres>;
}

impl<'q> Arrays<'q> for Query<'q, Postgres, PgArguments> {
    fn add<T: 'q>(self, array: Vec<T>) -> Self
    where
        Vec<T>: sqlx::Encode<'q, Postgres> + sqlx::Type<Postgres>,
    {
        self.bind(array)
    }
}

impl<'q, O> Arrays<'q> for QueryAs<'q, Postgres, O, PgArguments> {
    fn add<T: 'q>(self, array: Vec<T>) -> Self
    where
        Vec<T>: sqlx::Encode<'q, Postgres> + sqlx::Type<Postgres>,
    {
        self.bind(array)
    }
}

/// A row whose columns are described by [`columns!`](crate::columns).
pub trait Columns {
    /// Name and PostgreSQL's type of each.
    const COLUMNS: &'static [(&'static str, &'static str)];

    fn add_arrays<'q, A: Arrays<'q>>(rows: &'q [Self], query: A) -> A
    where
        Self: Sized;

    /// The columns as the fields of an object.
    fn serialise<S: SerializeMap>(&self, object: &mut S) -> std::result::Result<(), S::Error>;
}

/// A row as JSON.
struct Object<'r, T>(&'r T);

impl<T: Columns> serde::Serialize for Object<'_, T> {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        let mut object = serializer.serialize_map(Some(T::COLUMNS.len()))?;
        self.0.serialise(&mut object)?;
        object.end()
    }
}

fn json<T: Columns>(rows: &[T]) -> Rows {
    Rows::new(&rows.iter().map(Object).collect::<Vec<_>>())
}

/// Describes the columns of a row: `columns!(Entry { id: uuid = |entry| entry.id, … })`.
#[macro_export]
macro_rules! columns {
    ($row:ident $(<$life:lifetime>)? { $($name:ident: $type:ident = |$it:ident| $value:expr),+ $(,)? }) => {
        impl $(<$life>)? $crate::db::columns::Columns for $row $(<$life>)? {
            const COLUMNS: &'static [(&'static str, &'static str)] = &[$((stringify!($name), stringify!($type))),+];

            fn add_arrays<'q, A: $crate::db::columns::Arrays<'q>>(rows: &'q [Self], query: A) -> A {
                query $(.add(rows.iter().map(|$it: &'q Self| $crate::column!($type, $value)).collect::<Vec<_>>()))+
            }

            fn serialise<S: serde::ser::SerializeMap>(&self, object: &mut S) -> ::std::result::Result<(), S::Error> {
                $({
                    let $it = self;
                    object.serialize_entry(stringify!($name), &$crate::column!($type, $value))?;
                })+
                Ok(())
            }
        }
    };
}

/// What is written into a column of this type.
#[doc(hidden)]
#[macro_export]
macro_rules! column {
    (text, $value:expr) => {
        $crate::db::columns::Text::without_nul($value)
    };
    ($type:ident, $value:expr) => {
        $value
    };
}

/// A text as both databases take it. PostgreSQL refuses NUL, and with the one row all that are written with it; a text from
/// outside should have lost it long before.
pub trait Text {
    type Clean;

    /// The same, without NUL.
    fn without_nul(self) -> Self::Clean;
}

impl<'q> Text for &'q str {
    type Clean = Cow<'q, str>;

    fn without_nul(self) -> Cow<'q, str> {
        if self.contains('\0') { Cow::Owned(self.replace('\0', "")) } else { Cow::Borrowed(self) }
    }
}

impl<'q> Text for Cow<'q, str> {
    type Clean = Self;

    fn without_nul(self) -> Self {
        if self.contains('\0') { Self::Owned(self.replace('\0', "")) } else { self }
    }
}

impl Text for String {
    type Clean = Self;

    fn without_nul(self) -> Self {
        if self.contains('\0') { self.replace('\0', "") } else { self }
    }
}

impl<T: Text> Text for Option<T> {
    type Clean = Option<T::Clean>;

    fn without_nul(self) -> Self::Clean {
        self.map(T::without_nul)
    }
}

/// At most so many characters of a text; an ellipsis stands for what was cut. For what strangers say: an index of PostgreSQL
/// takes no more than 2,700 bytes, and refuses all that is written with a longer one.
pub fn bounded(text: &str, characters: usize) -> Cow<'_, str> {
    // No text has more characters than bytes.
    if text.len() <= characters || text.chars().nth(characters).is_none() {
        return Cow::Borrowed(text);
    }
    Cow::Owned(text.chars().take(characters.saturating_sub(1)).chain(['…']).collect())
}

/// What a text of a statement calls the set of rows, and the list of their columns.
const ROWS: &str = "{rows}";
const NAMES: &str = "{columns}";

/// What the second statement of [`both`] calls the ids of the first.
const WRITTEN: &str = "{written}";

/// What a text says where its rows are written only by a statement that begins in time ([`Session::not_after`]).
const IN_TIME: &str = "{in_time}";

/// Runs a statement whose parameters are the rows, e.g. `insert into journal ({columns}) select {columns} from {rows} r`.
/// Returns how many rows it touched.
pub async fn run<T: Columns>(session: &mut Session, text: &str, rows: &[T]) -> Result<u64> {
    within_limits!(
        session,
        match session.connection() {
            Connection::Postgres(connection, persistent) => {
                let query = sqlx::query::<Postgres>(AssertSqlSafe(postgres::<T>(text)));
                let done = T::add_arrays(rows, query).persistent(persistent).execute(connection).await?;
                Ok(done.rows_affected())
            }
            Connection::Sqlite(connection) => {
                let query = sqlx::query::<Sqlite>(AssertSqlSafe(sqlite::<T>(text))).bind(json(rows));
                Ok(query.execute(connection).await?.rows_affected())
            }
        }
    )
}

/// The same for a statement that returns rows.
pub async fn all<T: Columns, R>(session: &mut Session, text: &str, rows: &[T]) -> Result<Vec<R>>
where
    R: for<'r> FromRow<'r, PgRow> + for<'r> FromRow<'r, SqliteRow> + Send + Unpin,
{
    let not_after = session.latest_begin();
    within_limits!(
        session,
        match session.connection() {
            Connection::Postgres(connection, persistent) => {
                let (text, is_limited) = in_time(postgres::<T>(text), T::COLUMNS.len());
                let query = T::add_arrays(rows, sqlx::query_as::<Postgres, R>(AssertSqlSafe(text)));
                let query = if is_limited { query.bind(not_after) } else { query };
                query.persistent(persistent).fetch_all(connection).await
            }
            Connection::Sqlite(connection) => {
                let query = sqlx::query_as::<Sqlite, R>(AssertSqlSafe(sqlite::<T>(text))).bind(json(rows));
                query.fetch_all(connection).await
            }
        }
    )
}

/// Writes two kinds of rows: one statement on PostgreSQL, two on SQLite, which has no `insert` inside of `with`.
///
/// `first` returns the ids of the rows that it wrote into `table`. Both texts speak of `{rows}` and `{columns}`, and in
/// `second` `{written}` is the set of those ids: what belongs to a row that was passed over is left out.
pub async fn both<T: Columns, U: Columns, R>(
    session: &mut Session,
    table: &str,
    (first, rows): (&str, &[T]),
    (second, more): (&str, &[U]),
) -> Result<Vec<R>>
where
    R: for<'r> FromRow<'r, PgRow> + for<'r> FromRow<'r, SqliteRow> + Send + Unpin,
{
    let not_after = session.latest_begin();
    if let Connection::Sqlite(_) = session.connection() {
        let written: Vec<R> = all(session, first, rows).await?;
        // Ids are made once, so a row that was passed over has none in the table.
        run(session, &second.replace(WRITTEN, &format!("(select id from {table})")), more).await?;
        return Ok(written);
    }
    let second = fill::<U>(second, &unnest::<U>(T::COLUMNS.len())).replace(WRITTEN, "(select id from written)");
    let text = format!("with written as ({}), more as ({second}) select * from written", postgres::<T>(first));
    let (text, is_limited) = in_time(text, T::COLUMNS.len() + U::COLUMNS.len());
    within_limits!(
        session,
        match session.connection() {
            Connection::Postgres(connection, persistent) => {
                let query = sqlx::query_as::<Postgres, R>(AssertSqlSafe(text));
                let query = U::add_arrays(more, T::add_arrays(rows, query));
                let query = if is_limited { query.bind(not_after) } else { query };
                query.persistent(persistent).fetch_all(connection).await
            }
            Connection::Sqlite(_) => unreachable!("it was written above"),
        }
    )
}

/// Fills in the condition that a statement begins in time, as one more parameter; says whether there is one.
fn in_time(text: String, parameters: usize) -> (String, bool) {
    if !text.contains(IN_TIME) {
        return (text, false);
    }
    let condition = format!("coalesce(statement_timestamp() <= ${}, true)", parameters + 1);
    (text.replace(IN_TIME, &condition), true)
}

fn postgres<T: Columns>(text: &str) -> String {
    dialect::postgres(&fill::<T>(text, &unnest::<T>(0)))
}

fn sqlite<T: Columns>(text: &str) -> String {
    let names: Vec<&str> = names::<T>().collect();
    let set = format!("rows($1 as any: {})", names.join(", "));
    // A statement that waits for the only writer is this process's own, and is given up with its transaction.
    dialect::sqlite(&fill::<T>(text, &set).replace(IN_TIME, "true"))
}

fn names<T: Columns>() -> impl Iterator<Item = &'static str> {
    T::COLUMNS.iter().map(|(name, _)| *name)
}

fn fill<T: Columns>(text: &str, set: &str) -> String {
    let names: Vec<&str> = names::<T>().collect();
    text.replace(ROWS, set).replace(NAMES, &names.join(", "))
}

/// The arrays as a set of rows. Hidden in sub-selects, because PostgreSQL would otherwise look how long they are, and for
/// some thousands of rows read the whole table where the primary key finds each row in a third of the time.
fn unnest<T: Columns>(parameters_before: usize) -> String {
    let array = |(number, (_, kind)): (usize, &(&str, &str))| format!("(select ${number})::{kind}[]");
    let arrays: Vec<String> = (parameters_before + 1..).zip(T::COLUMNS).map(array).collect();
    let names: Vec<&str> = names::<T>().collect();
    format!("(select * from unnest({}) as u ({}))", arrays.join(", "), names.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Pair {
        id: i32,
        word: String,
    }

    columns!(Pair { id: int4 = |pair| pair.id, word: text = |pair| pair.word.as_str() });

    const TEXT: &str = "insert into pairs ({columns}) select {columns} from {rows} r";

    #[test]
    fn texts_lose_what_a_database_refuses() {
        assert_eq!(crate::column!(text, Some("a\0b")).as_deref(), Some("ab"));
        assert_eq!(crate::column!(text, "a\0".to_owned()), "a");
        assert!(matches!("ab".without_nul(), Cow::Borrowed("ab")));
        assert_eq!(crate::column!(int4, 7), 7);
        let row = [Pair { id: 1, word: "x\0y".to_owned() }];
        assert_eq!(serde_json::to_string(&Object(&row[0])).expect("plain"), r#"{"id":1,"word":"xy"}"#);
    }

    #[test]
    fn a_text_is_cut_at_its_bound() {
        assert_eq!(bounded("ñandú", 5), "ñandú");
        assert_eq!(bounded("ñandúes", 5), "ñand…");
        assert!(matches!(bounded("", 0), Cow::Borrowed("")));
    }

    #[test]
    fn one_description_makes_both_statements() {
        assert_eq!(
            postgres::<Pair>(TEXT),
            "insert into pairs (id, word) select id, word from \
             (select * from unnest((select $1)::int4[], (select $2)::text[]) as u (id, word)) r"
        );
        assert_eq!(
            sqlite::<Pair>(TEXT),
            "insert into pairs (id, word) select id, word from \
             (select value ->> 'id' as id, value ->> 'word' as word from json_each($1)) r"
        );
        assert!(unnest::<Pair>(2).contains("(select $3)::int4[], (select $4)::text[]"));
    }
}
