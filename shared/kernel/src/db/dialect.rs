//! Where PostgreSQL and SQLite differ, and nowhere else.
//!
//! Statements are written in PostgreSQL's dialect plus six words of our own: `rows($1 as table: a, b)`, a set of rows that
//! travels as one JSON parameter and takes its types from the table's columns; `pairs($1, $2)`, a set of rows from a list of
//! ids and a list of numbers, for the one statement that every job runs and that JSON would slow down; `ids($1)`, a list of
//! ids for `= any(…)`; `elements(column) e`, the elements of a JSON array as `e.value`; `elapsed(from, until)`, the
//! seconds between two moments; and `server_time()`, when the server began this statement, which SQLite does not say: it is no
//! server. `::uuid` and `::jsonb` are only for PostgreSQL: SQLite keeps both as text.
//!
//! `pairs` and `ids` hide from PostgreSQL how long a list is: for some thousands of ids it would read the whole table, where
//! the primary key finds each row in a third of the time.

use std::fmt::Write;

/// How PostgreSQL keeps the busiest tables: room on every page for the row's next version, and a vacuum that comes often. A message is
/// changed once as a rule, so half a page is left for that; a task is claimed and ended.
/// SQLite knows no such settings, so they are no migration; setting them again changes nothing.
pub const POSTGRES_STORAGE: &str = "\
    alter table tasks set (fillfactor = 45, autovacuum_vacuum_scale_factor = 0.05, autovacuum_vacuum_cost_delay = 0); \
    alter table notifications set (fillfactor = 50, autovacuum_vacuum_scale_factor = 0.1)";

/// The text as PostgreSQL takes it.
pub fn postgres(text: &str) -> String {
    let text = replace_rows(text, |parameter, table, _| {
        format!("json_populate_recordset(null::{table}, {parameter}::text::json)")
    });
    let text = text.replace("pairs($1, $2)", "unnest((select $1)::uuid[], (select $2)::integer[])");
    let text = text.replace("ids($1)", "(select $1)::uuid[]").replace("elements(", "jsonb_array_elements(");
    let text = text.replace("server_time()", "statement_timestamp()");
    replace_elapsed(&text, |from, until| format!("cast(extract(epoch from ({until}) - ({from})) as double precision)"))
}

/// The text as SQLite takes it.
pub fn sqlite(text: &str) -> String {
    let text = replace_rows(text, |parameter, _, columns| {
        let mut subquery = String::from("(select ");
        for (position, column) in columns.split(',').map(str::trim).enumerate() {
            let comma = if position == 0 { "" } else { ", " };
            write!(subquery, "{comma}value ->> '{column}' as {column}").expect("writing to a string cannot fail");
        }
        write!(subquery, " from json_each({parameter}))").expect("writing to a string cannot fail");
        subquery
    });
    let text = text.replace(
        "pairs($1, $2)",
        "(select a.value, b.value from json_each($1) a join json_each($2) b on a.key = b.key)",
    );
    let text =
        text.replace("ids($1)", "$1").replace("elements(", "json_each(").replace("::uuid", "").replace("::jsonb", "");
    let text = replace_elapsed(&text, |from, until| format!("((julianday({until}) - julianday({from})) * 86400.0)"));
    let text = text.replace("server_time()", "null");
    // One writer at a time: there is no one to lock out and no row to skip.
    let text = text.replace(" for update skip locked", "").replace(" for update", "");
    replace_any(&text.replace(" ilike ", " like "))
}

/// Replaces every `rows($1 as table: a, b)`.
fn replace_rows(text: &str, render: impl Fn(&str, &str, &str) -> String) -> String {
    let mut result = String::with_capacity(text.len() + 128);
    let mut rest = text;
    while let Some(start) = rest.find("rows($") {
        let inside = &rest[start + "rows(".len()..];
        let end = inside.find(')').expect("rows( is closed");
        let (parameter, table) = inside[..end].split_once(" as ").expect("rows($1 as table: columns)");
        let (table, columns) = table.split_once(':').expect("rows($1 as table: columns)");
        result.push_str(&rest[..start]);
        result.push_str(&render(parameter, table.trim(), columns));
        rest = &inside[end + 1..];
    }
    result.push_str(rest);
    result
}

/// Replaces every `elapsed(from, until)`. The first moment is a plain column; the second may be an expression.
fn replace_elapsed(text: &str, render: impl Fn(&str, &str) -> String) -> String {
    let mut result = String::with_capacity(text.len() + 64);
    let mut rest = text;
    while let Some(start) = rest.find("elapsed(") {
        let inside = &rest[start + "elapsed(".len()..];
        let mut depth = 1;
        let closes = |character| {
            depth += match character {
                '(' => 1,
                ')' => -1,
                _ => 0,
            };
            depth == 0
        };
        let end = inside.find(closes).expect("elapsed( is closed");
        let (from, until) = inside[..end].split_once(", ").expect("elapsed(from, until)");
        result.push_str(&rest[..start]);
        result.push_str(&render(from, until));
        rest = &inside[end + 1..];
    }
    result.push_str(rest);
    result
}

/// Replaces every `= any($1)` by a look into a JSON array.
fn replace_any(text: &str) -> String {
    let mut result = String::with_capacity(text.len() + 64);
    let mut rest = text;
    while let Some(start) = rest.find("= any($") {
        let inside = &rest[start + "= any(".len()..];
        let end = inside.find(')').expect("any( is closed");
        result.push_str(&rest[..start]);
        write!(result, "in (select value from json_each({}))", &inside[..end])
            .expect("writing to a string cannot fail");
        rest = &inside[end + 1..];
    }
    result.push_str(rest);
    result
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_alike_stays_as_it_is() {
        let text = "select id from tasks where state = $1 order by id limit $2";
        assert_eq!(postgres(text), text);
        assert_eq!(sqlite(text), text);
    }

    #[test]
    fn lists_and_locks() {
        let text = "select id from tasks where id = any($1) and lane = any($2) limit 9 for update skip locked";
        assert_eq!(postgres(text), text);
        assert_eq!(
            sqlite(text),
            "select id from tasks where id in (select value from json_each($1)) and lane in (select value from json_each($2)) limit 9"
        );
    }

    #[test]
    fn a_long_list_of_ids() {
        let text = "update tasks set worker = $2 where id = any(ids($1))";
        assert_eq!(postgres(text), "update tasks set worker = $2 where id = any((select $1)::uuid[])");
        assert_eq!(sqlite(text), "update tasks set worker = $2 where id in (select value from json_each($1))");
    }

    #[test]
    fn pairs_travel_as_two_lists() {
        let text = "with r (id, attempt) as (select * from pairs($1, $2)) select id from r";
        assert_eq!(
            postgres(text),
            "with r (id, attempt) as (select * from unnest((select $1)::uuid[], (select $2)::integer[])) select id from r"
        );
        assert!(
            sqlite(text).contains("select a.value, b.value from json_each($1) a join json_each($2) b on a.key = b.key")
        );
    }

    #[test]
    fn elapsed_time_is_seconds() {
        let text = "select sum(elapsed(a, coalesce(b, c))), d";
        assert_eq!(
            postgres(text),
            "select sum(cast(extract(epoch from (coalesce(b, c)) - (a)) as double precision)), d"
        );
        assert_eq!(sqlite(text), "select sum(((julianday(coalesce(b, c)) - julianday(a)) * 86400.0)), d");
    }

    #[test]
    fn rows_travel_as_one_parameter() {
        let text = "insert into t (a, b) select a, b from rows($1 as t: a, b)";
        assert_eq!(
            postgres(text),
            "insert into t (a, b) select a, b from json_populate_recordset(null::t, $1::text::json)"
        );
        assert_eq!(
            sqlite(text),
            "insert into t (a, b) select a, b from (select value ->> 'a' as a, value ->> 'b' as b from json_each($1))"
        );
    }
}
