//! Lists: filters and place are the URL, pages begin after a row and are never counted, and the window is said.

use std::time::Duration;

use recado_kernel::clock::Timestamp;
use recado_kernel::db::keyset::Cursor;
use recado_kernel::ids::Id;
use recado_kernel::word_enum;
use url::form_urlencoded;

/// Rows of a page.
pub(crate) const ROWS: i64 = 50;

/// How far back a list looks. Without a word it is a day.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, strum::IntoStaticStr, strum::VariantArray)]
#[strum(serialize_all = "snake_case", const_into_str)]
pub(crate) enum Window {
    Hour,
    #[default]
    Day,
    Week,
    All,
}

word_enum!(Window, "a window");

impl Window {
    pub(crate) fn since(self, now: Timestamp) -> Option<Timestamp> {
        let hours = match self {
            Self::Hour => 1,
            Self::Day => 24,
            Self::Week => 7 * 24,
            Self::All => return None,
        };
        Some(now - Duration::from_secs(hours * 60 * 60))
    }
}

/// The fields of a query, in the order in which they came. What a page does not know is left alone.
#[derive(Clone, Debug, Default)]
pub(crate) struct Query(Vec<(String, String)>);

impl Query {
    pub(crate) fn read(query: &str) -> Self {
        let pairs = form_urlencoded::parse(query.as_bytes());
        let pairs = pairs.map(|(name, value)| (name.into_owned(), value.trim().to_owned()));
        Self(pairs.filter(|(_, value)| !value.is_empty() && !value.contains('\0')).take(2_000).collect())
    }

    pub(crate) fn text(&self, name: &str) -> Option<String> {
        self.0.iter().find(|(found, _)| found == name).map(|(_, value)| value.clone())
    }

    /// A field that is one of our words, an id, a number. What can not be read counts as not asked.
    pub(crate) fn get<T: std::str::FromStr>(&self, name: &str) -> Option<T> {
        self.text(name)?.parse().ok()
    }

    /// Whether all fields of this name, if any, can be read.
    pub(crate) fn is_read<T: std::str::FromStr>(&self, name: &str) -> bool {
        self.0.iter().filter(|(found, _)| found == name).all(|(_, value)| value.parse::<T>().is_ok())
    }

    /// Whether no other fields are there.
    pub(crate) fn has_only(&self, names: &[&str]) -> bool {
        self.0.iter().all(|(name, _)| names.contains(&name.as_str()))
    }

    pub(crate) fn all<T: std::str::FromStr>(&self, name: &str) -> Vec<T> {
        self.0.iter().filter(|(found, _)| found == name).filter_map(|(_, value)| value.parse().ok()).collect()
    }

    /// Where the page lies.
    pub(crate) fn cursor<K: std::str::FromStr>(&self) -> Cursor<K> {
        Cursor::of_link(self.get("after"), self.get("before"))
    }

    /// The query without some fields, and with others.
    pub(crate) fn with(&self, without: &[&str], fields: &[(&str, &str)]) -> String {
        let kept = self.0.iter().filter(|(name, _)| !without.contains(&name.as_str()));
        let mut query = form_urlencoded::Serializer::new(String::new());
        query.extend_pairs(kept).extend_pairs(fields);
        query.finish()
    }
}

/// The fields that say where a page lies.
pub(crate) const CURSOR: [&str; 2] = ["after", "before"];

/// The links to the pages around one.
#[derive(Clone, Debug, Default)]
pub(crate) struct Around {
    pub(crate) newer: Option<String>,
    pub(crate) older: Option<String>,
}

impl Around {
    /// Of a page with these rows, as it was asked for.
    pub(crate) fn of(asked: &Query, path: &str, first: Option<Id>, last: Option<Id>, has_more: bool) -> Self {
        let text = |id: Option<Id>| id.map(|id| id.to_string());
        Self::of_texts(asked, path, text(first), text(last), has_more)
    }

    /// As [`of`](Self::of), of rows with a text of ours as their key.
    pub(crate) fn of_texts(
        asked: &Query,
        path: &str,
        first: Option<String>,
        last: Option<String>,
        has_more: bool,
    ) -> Self {
        let (is_after, is_before) = (asked.text("after").is_some(), asked.text("before").is_some());
        let link =
            |name: &str, key: Option<String>| key.map(|key| format!("{path}?{}", asked.with(&CURSOR, &[(name, &key)])));
        let has_newer = is_after || (is_before && has_more);
        let has_older = is_before || has_more;
        Self {
            newer: if has_newer { link("before", first) } else { None },
            older: if has_older { link("after", last) } else { None },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filters_are_kept_from_page_to_page() {
        let asked = Query::read("state=dead&error=a%26b&after=x&empty=&nul=%00");
        assert_eq!(asked.with(&CURSOR, &[("before", "y")]), "state=dead&error=a%26b&before=y");
        let around = Around::of(&asked, "/admin/tasks/", Some(Id::default()), Some(Id::default()), false);
        assert!(around.newer.is_some_and(|url| url.contains("error=a%26b&before=")) && around.older.is_none());
        let first = Around::of(&Query::default(), "/", Some(Id::default()), Some(Id::default()), true);
        assert!(first.newer.is_none() && first.older.is_some());
    }

    #[test]
    fn a_window_is_a_day_unless_another_is_asked_for() {
        let now = Timestamp::from_micros(90_000_000_000);
        assert_eq!(Window::default().since(now), Some(Timestamp::from_micros(3_600_000_000)));
        assert_eq!(Window::All.since(now), None);
        assert_eq!(Query::read("window=year").get::<Window>("window"), None);
    }
}
