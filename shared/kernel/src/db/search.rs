//! Rows that are found by any part of some of their texts, in either case, on both engines alike.
//!
//! PostgreSQL has the extension `pg_trgm` for it. SQLite has its full-text index with the same
//! trigrams, which triggers keep: an update of a row that changes no such text does not touch it. The index holds no text of its
//! own, and what is deleted is taken out of it at once, so that a person who is erased is not found in the file either.

use std::fmt::Write;

use super::contains;
use super::filter::Filter;

/// A table whose rows are searched.
#[derive(Clone, Copy, Debug)]
pub struct Searched {
    pub table: &'static str,
    /// The column that tells rows apart; it never changes.
    pub key: &'static str,
    /// What is searched: a name, and the expression, with `@` before each column.
    ///
    /// None is a bare column: an index of trigrams on one answers `=` too, and a planner without statistics took it for
    /// `customer_id = any(…)`, at a hundred times the price of the unique index.
    pub texts: &'static [(&'static str, &'static str)],
}

/// Who is searched by name, identifier, mail address and number.
pub const CUSTOMERS: Searched = Searched {
    table: "customers",
    key: "customer_id",
    texts: &[
        ("name", "@first_name || ' ' || @last_name"),
        ("customer_id", "@customer_id || ''"),
        ("email", "@email || ''"),
        ("phone", "@phone || ''"),
        ("whatsapp", "@whatsapp || ''"),
    ],
};

/// What is searched by plate, and by the identifier that the Core service gave it.
pub const VEHICLES: Searched =
    Searched { table: "vehicles", key: "id", texts: &[("plate", "@plate || ''"), ("vehicle_id", "@vehicle_id || ''")] };

/// A trigram needs as many characters.
const TRIGRAM: usize = 3;

/// What is looked for, and in which texts.
#[derive(Clone, Debug)]
pub struct Sought<'s> {
    pub texts: &'s [&'s str],
    pub word: String,
    pub extent: Extent,
}

/// How much of a text the word is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Extent {
    Part,
    /// Its end.
    End,
    Whole,
}

impl Sought<'_> {
    /// The word as `like` takes it.
    fn pattern(&self, word: &str) -> String {
        let pattern = contains(word);
        match self.extent {
            Extent::Part => pattern,
            Extent::End => pattern[..pattern.len() - 1].to_owned(),
            Extent::Whole => pattern[1..pattern.len() - 1].to_owned(),
        }
    }
}

impl Searched {
    /// The condition that one of these is found in a row. `is_embedded`: the session is one of SQLite.
    pub fn condition(&self, filter: &mut Filter, is_embedded: bool, sought: &[Sought<'_>]) -> String {
        let is_indexed = |one: &&Sought<'_>| is_embedded && one.word.chars().count() >= TRIGRAM;
        let is_part = |one: &&Sought<'_>| one.extent == Extent::Part;
        let mut conditions: Vec<String> = Vec::new();
        let parts: Vec<String> = sought.iter().filter(is_indexed).filter(is_part).map(phrase).collect();
        if !parts.is_empty() {
            conditions.push(self.matched(filter, parts.join(" OR ")));
        }
        for one in sought.iter().filter(|one| !is_part(one) || !is_indexed(one)) {
            let alike = self.alike(filter, one, is_embedded);
            conditions.push(match is_indexed(&one) {
                true => format!("({} and ({alike}))", self.matched(filter, phrase(one))),
                false => alike,
            });
        }
        format!("({})", conditions.join(" or "))
    }

    /// The texts compared one by one, which PostgreSQL's index finds too.
    fn alike(&self, filter: &mut Filter, sought: &Sought<'_>, is_embedded: bool) -> String {
        let mut words = vec![sought.word.clone()];
        if is_embedded {
            // SQLite folds the case of ASCII alone.
            words.extend([sought.word.to_lowercase(), sought.word.to_uppercase()]);
            words.sort_unstable();
            words.dedup();
        }
        let mut conditions = Vec::new();
        for word in words {
            let parameter = filter.value(sought.pattern(&word));
            let texts = self.texts.iter().filter(|(name, _)| sought.texts.contains(name));
            conditions
                .extend(texts.map(|(_, text)| format!("{} ilike {parameter} escape '\\'", text.replace('@', ""))));
        }
        conditions.join(" or ")
    }

    fn matched(&self, filter: &mut Filter, expression: String) -> String {
        let Self { table, key, .. } = self;
        let parameter = filter.value(expression);
        format!(
            "{key} in (select key from {table}_search_rows where row in \
             (select rowid from {table}_search where {table}_search match {parameter}))"
        )
    }

    /// PostgreSQL's index: to be run after the migrations; again, it changes nothing. The extension `pg_trgm` comes with PostgreSQL, and
    /// the owner of a database may create it. Where it cannot be had the search reads the whole table, and everything else is as it
    /// was.
    pub fn postgres_index(&self) -> String {
        let Self { table, texts, .. } = self;
        let columns: Vec<String> =
            texts.iter().map(|(_, text)| format!("({}) gin_trgm_ops", text.replace('@', ""))).collect();
        format!(
            "do $$ begin
                 create extension if not exists pg_trgm;
                 create index if not exists {table}_search on {table} using gin ({});
             exception when others then raise notice '{table} are searched without an index: %', sqlerrm;
             end $$",
            columns.join(", ")
        )
    }

    /// SQLite's index, with what keeps it: to be run after the migrations; again, it changes nothing.
    ///
    /// Its rows are numbered in a table of their own, because `vacuum` numbers those of the searched table afresh.
    pub fn sqlite_index(&self) -> String {
        let Self { table, key, texts } = self;
        let names: Vec<&str> = texts.iter().map(|(name, _)| *name).collect();
        let names = names.join(", ");
        let of = |row: &str| texts.iter().map(|(_, text)| text.replace('@', row)).collect::<Vec<_>>().join(", ");
        let (old, new, plain) = (of("old."), of("new."), of("r."));
        let add = format!(
            "insert into {table}_search (rowid, {names}) select row, {new} from {table}_search_rows where key = new.{key};"
        );
        let remove = format!(
            "insert into {table}_search ({table}_search, rowid, {names}) \
             select 'delete', row, {old} from {table}_search_rows where key = old.{key};"
        );
        let mut script = String::new();
        write!(
            script,
            "create table if not exists {table}_search_rows (row integer primary key, key text not null unique);
             create virtual table if not exists {table}_search using fts5({names}, content='', tokenize='trigram');
             insert into {table}_search ({table}_search, rank) values ('secure-delete', 1);
             create trigger if not exists {table}_search_insert after insert on {table} begin
                 insert into {table}_search_rows (key) values (new.{key}); {add}
             end;
             create trigger if not exists {table}_search_update after update on {table}
             when ({new}) is not ({old}) begin {remove} {add} end;
             create trigger if not exists {table}_search_delete after delete on {table} begin
                 {remove} delete from {table}_search_rows where key = old.{key};
             end;
             insert into {table}_search_rows (key) select {key} from {table}
             where not exists (select 1 from {table}_search_rows);
             insert into {table}_search (rowid, {names})
             select n.row, {plain} from {table}_search_rows n join {table} r on r.{key} = n.key
             where not exists (select 1 from {table}_search_docsize);
             "
        )
        .expect("writing to a string cannot fail");
        script
    }
}

/// A word as the full-text index takes it, whatever stands in it.
fn phrase(sought: &Sought<'_>) -> String {
    format!("{{{}}} : \"{}\"", sought.texts.join(" "), sought.word.replace('"', "\"\""))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sought<'s>(texts: &'s [&'s str], word: &str, extent: Extent) -> Sought<'s> {
        Sought { texts, word: word.to_owned(), extent }
    }

    #[test]
    fn each_engine_is_asked_through_its_index() {
        let asked = [sought(&["plate"], "AB\"C", Extent::Part), sought(&["vehicle_id"], "v_100", Extent::Whole)];
        let condition = |is_embedded| {
            let mut filter = Filter::default();
            VEHICLES.condition(&mut filter, is_embedded, &asked)
        };
        assert_eq!(condition(false), "(plate || '' ilike $1 escape '\\' or vehicle_id || '' ilike $2 escape '\\')");
        let embedded = condition(true);
        assert!(
            embedded.contains("vehicles_search match $1))") && embedded.contains("vehicle_id || '' ilike $2"),
            "{embedded}"
        );
        assert_eq!(phrase(&asked[0]), "{plate} : \"AB\"\"C\"");
    }

    #[test]
    fn what_is_shorter_than_a_trigram_is_compared() {
        let mut filter = Filter::default();
        let condition = VEHICLES.condition(&mut filter, true, &[sought(&["plate"], "ñ", Extent::Part)]);
        assert_eq!(condition, "(plate || '' ilike $1 escape '\\' or plate || '' ilike $2 escape '\\')");
    }
}
