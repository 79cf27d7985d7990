//! What stands behind the `?` of a URL.

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use serde_json::{Map, Value};
use url::form_urlencoded;

use crate::extract::fields::Fields;
use crate::extract::request::{self, Request};
use crate::problem::{FieldErrors, Problem};

/// The query of a request, read like a body whose values are all texts. Of a name that stands there twice the last value
/// counts; an empty value is none, because forms send fields that were not filled in. A name alone is a flag: `?dry_run` is true.
pub(crate) struct Query<T>(pub(crate) T);

impl<T: Request, S: Send + Sync> FromRequestParts<S> for Query<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let fields = Fields::of(pairs(parts.uri.query().unwrap_or_default())?);
        request::read_fields(fields).map(Self)
    }
}

/// The longest value, in characters: longer than every id and address. SQLite refuses patterns of 50,000 bytes.
const LONGEST_VALUE: usize = 1_000;

fn pairs(query: &str) -> Result<Map<String, Value>, Problem> {
    let mut pairs = Map::new();
    let mut errors = FieldErrors::default();
    for pair in query.split('&') {
        let Some((name, value)) = form_urlencoded::parse(pair.as_bytes()).next() else { continue };
        if !pair.contains('=') {
            pairs.insert(name.into_owned(), true.into());
        } else if value.trim().is_empty() {
            continue;
        } else if value.contains(char::is_control) {
            errors.add(name, "No se permiten caracteres de control.");
        } else if value.chars().count() > LONGEST_VALUE {
            errors.add(name, format!("Asegúrese de que este campo no tenga más de {LONGEST_VALUE} caracteres."));
        } else {
            pairs.insert(name.into_owned(), value.into_owned().into());
        }
    }
    errors.none_or_problem().map(|()| pairs)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_query_is_an_object_of_texts() {
        let read = |query| Value::from(pairs(query).expect("a good query"));
        assert_eq!(read(""), json!({}));
        assert_eq!(read("a=1&b=x+y%20z&c=&c=+&a=2"), json!({"a": "2", "b": "x y z"}));
        assert_eq!(read("dry_run&a=1&&="), json!({"dry_run": true, "a": "1"}), "a name alone is a flag");
        assert_eq!(read("%ff=%ff"), json!({"\u{fffd}": "\u{fffd}"}), "what is no UTF-8 finds nothing");
    }

    #[test]
    fn values_have_a_longest_length() {
        assert!(pairs(&format!("search={}", "%C3%B1".repeat(1_000))).is_ok());
        let Err(Problem::Fields(errors)) = pairs(&format!("search={}", "x".repeat(1_001))) else { panic!("too long") };
        assert!(errors.contains("search"));
    }

    #[test]
    fn control_characters_are_refused_by_name() {
        let Err(Problem::Fields(errors)) = pairs("plate=A%00&x=1") else { panic!("NUL is refused") };
        assert_eq!(errors.to_json(), json!({"plate": ["No se permiten caracteres de control."]}));
    }
}
