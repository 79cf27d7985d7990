//! Conditions of a list, only those that are asked for.
//!
//! `($1 is null or customer_id = $1)` would be one text for all questions, and one plan for all of them: the one that reads
//! the whole table. So the text holds what is asked and nothing else.

use std::fmt;

use chrono::NaiveDate;
use sqlx::postgres::PgRow;
use sqlx::sqlite::SqliteRow;
use sqlx::{AssertSqlSafe, FromRow, Postgres, Sqlite};

use super::keyset::{Cursor, Order};
use super::{Connection, Result, Session, dialect};
use crate::clock::Timestamp;
use crate::ids::Id;
use crate::within_limits;

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
    Day(NaiveDate),
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
    NaiveDate => |day| Self::Day(day),
}

/// The conditions so far, and the values that they name. `Display` is the text after `where`.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    conditions: Vec<String>,
    alternatives: Vec<String>,
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

    /// The condition holds for one of these values, which are few and differ: then a [`List`] walks an index to each of them,
    /// where it would read all rows for `= any(…)` and sort them. Asked once at most. Nothing is added for no value.
    pub fn either<V: Into<Value>>(&mut self, condition: &str, values: impl IntoIterator<Item = V>) {
        for value in values {
            let parameter = self.value(value);
            self.alternatives.push(condition.replace('?', &parameter));
        }
    }

    /// The text after `where` for each alternative; one text where there are none.
    fn branches(&self) -> Vec<String> {
        let of = |alternative: Option<&String>| {
            let all: Vec<&str> = self.conditions.iter().chain(alternative).map(String::as_str).collect();
            if all.is_empty() { "true".to_owned() } else { all.join(" and ") }
        };
        match self.alternatives.as_slice() {
            [] => vec![of(None)],
            alternatives => alternatives.iter().map(|alternative| of(Some(alternative))).collect(),
        }
    }

    /// All rows of a query. The text is made of literals, of numbers and of what this filter returned.
    ///
    /// It is not kept as a prepared statement: a kept one is planned for all values alike, and each page has a text of its own.
    pub async fn all<R>(&self, session: &mut Session, text: &str) -> Result<Vec<R>>
    where
        R: for<'r> FromRow<'r, PgRow> + for<'r> FromRow<'r, SqliteRow> + Send + Unpin,
    {
        within_limits!(
            session,
            match session.connection() {
                Connection::Postgres(connection, _) => {
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
                            Value::Day(day) => query.bind(*day),
                        };
                    }
                    query.persistent(false).fetch_all(connection).await
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
                            Value::Day(day) => query.bind(*day),
                        };
                    }
                    query.persistent(false).fetch_all(connection).await
                }
            }
        )
    }
}

impl Filter {
    /// A page of rows by their key, and whether there are more in its direction. Nothing is counted, and a deep page costs what the
    /// first one does. `select` has no conditions; `key` is a column in which no two rows are alike.
    ///
    /// # Errors
    ///
    /// When the database fails.
    pub async fn page<R, K>(
        mut self,
        session: &mut Session,
        select: &str,
        (key, order): (&str, Order),
        cursor: Cursor<K>,
        limit: i64,
    ) -> Result<(Vec<R>, bool)>
    where
        R: for<'r> FromRow<'r, PgRow> + for<'r> FromRow<'r, SqliteRow> + Send + Unpin,
        K: Copy + Into<Value>,
    {
        if let Some((at, sign)) = cursor.beyond(order) {
            self.when(&format!("{key} {sign} ?"), Some(at));
        }
        let direction = cursor.direction(order);
        let text = format!("{select} where {self} order by {key} {direction} limit {}", limit.saturating_add(1));
        Ok(cursor.cut(self.all(session, &text).await?, limit))
    }

    /// How many rows fit, up to one more than `most`.
    ///
    /// # Errors
    ///
    /// When the database fails.
    pub async fn count_up_to(&self, session: &mut Session, from: &str, most: i64) -> Result<i64> {
        let text = format!("select count(*) from (select 1 from {from} where {self} limit {}) counted", most + 1);
        let counted: Vec<(i64,)> = self.all(session, &text).await?;
        Ok(counted.first().map_or(0, |(count,)| *count))
    }
}

impl fmt::Display for Filter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.branches().as_slice() {
            [only] => f.write_str(only),
            branches => write!(f, "({})", branches.join(" or ")),
        }
    }
}

/// No list counts further than this: so many pages are not turned, and counting millions of rows would keep the database busy.
pub const MOST_COUNTED: i64 = 100_000;

/// What a list is made of. All are texts of literals.
///
/// A page's keys are found first and its rows afterwards, so that a deep page reads an index and not the table. Limits stand
/// in the text as numbers: a plan for any limit takes it for a tenth of the table, and reads all of it.
#[derive(Clone, Copy, Debug)]
pub struct List<'l> {
    /// `select … from …`, without conditions.
    pub select: &'l str,
    /// Where the conditions look: a table, or a join of some.
    pub from: &'l str,
    /// The column that tells its rows apart.
    pub key: &'l str,
    /// What the whole list is sorted by. No two rows are alike in all of these.
    pub order: &'l [&'l str],
    /// Largest first.
    pub descending: bool,
}

impl List<'_> {
    /// One page, and how many rows there are in all, up to [`MOST_COUNTED`]. They are only counted when the page does not tell.
    ///
    /// # Errors
    ///
    /// When the database fails.
    pub async fn page<R>(
        &self,
        session: &mut Session,
        filter: &Filter,
        limit: i64,
        offset: i64,
    ) -> Result<(Vec<R>, i64)>
    where
        R: for<'r> FromRow<'r, PgRow> + for<'r> FromRow<'r, SqliteRow> + Send + Unpin,
    {
        let rows = self.rows(session, filter, limit, offset).await?;
        if let Some(count) = count_of(rows.len(), limit, offset) {
            return Ok((rows, count));
        }
        let count: Vec<(i64,)> = filter.all(session, &self.count_text(filter)).await?;
        Ok((rows, count.first().map_or(0, |(count,)| *count)))
    }

    /// One page, without counting.
    ///
    /// # Errors
    ///
    /// When the database fails.
    pub async fn rows<R>(&self, session: &mut Session, filter: &Filter, limit: i64, offset: i64) -> Result<Vec<R>>
    where
        R: for<'r> FromRow<'r, PgRow> + for<'r> FromRow<'r, SqliteRow> + Send + Unpin,
    {
        filter.all(session, &self.page_text(filter, limit, offset)).await
    }

    fn page_text(&self, filter: &Filter, limit: i64, offset: i64) -> String {
        let Self { select, from, key, order, .. } = self;
        let sorted = self.sorted(order);
        let keys = match filter.branches().as_slice() {
            [only] => format!("select {key} from {from} where {only} order by {sorted}"),
            branches => self.merged(branches, limit.saturating_add(offset)),
        };
        format!("{select} where {key} in ({keys} limit {limit} offset {offset}) order by {sorted}")
    }

    /// The keys of all branches in their common order. Each branch is walked no further than the page reaches; without that
    /// limit PostgreSQL would read and sort all of them.
    fn merged(&self, branches: &[String], reach: i64) -> String {
        let Self { from, key, order, .. } = self;
        let names: Vec<String> = (0..order.len()).map(|position| format!("o{position}")).collect();
        let columns: Vec<String> =
            order.iter().zip(&names).map(|(column, name)| format!(", {column} as {name}")).collect();
        let (columns, sorted) = (columns.concat(), self.sorted(order));
        let walks: Vec<String> = branches
            .iter()
            .map(|branch| {
                format!(
                    "select * from (select {key} as key{columns} from {from} where {branch} order by {sorted} limit {reach}) walk"
                )
            })
            .collect();
        format!("select key from ({}) merged order by {}", walks.join(" union all "), self.sorted(&names))
    }

    fn count_text(&self, filter: &Filter) -> String {
        let from = self.from;
        format!("select count(*) from (select 1 from {from} where {filter} limit {MOST_COUNTED}) counted")
    }

    fn sorted(&self, columns: &[impl fmt::Display]) -> String {
        let direction = if self.descending { " desc" } else { "" };
        columns.iter().map(|column| format!("{column}{direction}")).collect::<Vec<_>>().join(", ")
    }
}

/// How many rows a list has, where its page tells: it is not full, so the list ends on it.
pub fn count_of(found: usize, limit: i64, offset: i64) -> Option<i64> {
    let found = i64::try_from(found).unwrap_or(i64::MAX);
    (found < limit && (found > 0 || offset == 0)).then(|| offset.saturating_add(found))
}

#[cfg(test)]
mod tests {
    use super::*;

    const VEHICLES: List<'_> = List {
        select: "select id, plate from vehicles",
        from: "vehicles",
        key: "id",
        order: &["year", "id"],
        descending: true,
    };

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

    #[test]
    fn keys_are_found_before_rows() {
        assert_eq!(
            VEHICLES.page_text(&Filter::default(), 20, 40),
            "select id, plate from vehicles where id in (select id from vehicles where true order by year desc, id desc \
             limit 20 offset 40) order by year desc, id desc"
        );
    }

    #[test]
    fn each_alternative_is_walked_no_further_than_the_page() {
        let mut filter = Filter::default();
        filter.either("brand = ?", ["Haval", "Jetour"]);
        filter.require("year is not null");
        let walk = |parameter| {
            format!(
                "select * from (select id as key, year as o0, id as o1 from vehicles where year is not null and brand = {parameter} \
                 order by year desc, id desc limit 60) walk"
            )
        };
        let merged = format!(
            "(select key from ({} union all {}) merged order by o0 desc, o1 desc limit 20 offset 40)",
            walk("$1"),
            walk("$2")
        );
        let text = VEHICLES.page_text(&filter, 20, 40);
        assert!(text.contains(&merged), "{text}");
        let fits = "(year is not null and brand = $1 or year is not null and brand = $2)";
        assert_eq!(filter.to_string(), fits);
        assert!(VEHICLES.count_text(&filter).contains(&format!("where {fits} limit 100000")));
    }

    #[test]
    fn a_page_that_is_not_full_tells_the_count() {
        assert_eq!(count_of(0, 20, 0), Some(0));
        assert_eq!(count_of(19, 20, 40), Some(59));
        assert_eq!(count_of(20, 20, 0), None);
        // Behind the end: the list may be much shorter.
        assert_eq!(count_of(0, 20, 40), None);
    }
}
