//! The values that a message is made of.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use minijinja::value::{Object, Value};
use recado_kernel::language::Sentence;
use serde_json::Map;

use super::variables::{VARIABLES, spell};

/// Most keys in a `context`.
const MOST_KEYS: usize = 100;
/// Longest key, in characters.
const LONGEST_KEY: usize = 100;
/// Longest value, in characters.
const LONGEST_VALUE: usize = 10_000;

/// The values of one message under normalised names: what the caller sent, and what the system adds.
#[derive(Clone)]
pub struct Context {
    values: Arc<Values>,
    strict_case: bool,
}

/// Why a caller's `context` cannot be used; reads as an error of the field `context`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ContextError {
    #[error("Tiene {0} claves: envíe como máximo {MOST_KEYS}.")]
    TooManyKeys(usize),
    #[error("Una clave tiene {length} caracteres (`{key}`…): acórtela a {LONGEST_KEY}.")]
    KeyTooLong { key: String, length: usize },
    #[error("`{key}` tiene {length} caracteres: acórtelo a {LONGEST_VALUE}.")]
    ValueTooLong { key: String, length: usize },
    #[error("`{key}` es {found}: envíe un texto, un número, true, false o null.")]
    NotAText { key: String, found: &'static str },
    #[error(
        "`{key}` contiene el carácter de control {character}: quítelo. Solo se admiten saltos de línea (\\n) y tabuladores."
    )]
    ControlCharacter { key: String, character: String },
    #[error("`{first}` y `{second}` son la misma variable, `{name}`: envíe solo una.")]
    SameName { first: String, second: String, name: String },
}

impl From<ContextError> for Sentence {
    fn from(error: ContextError) -> Self {
        let spanish = error.to_string();
        let english = match error {
            ContextError::TooManyKeys(count) => format!("It has {count} keys: send {MOST_KEYS} at most."),
            ContextError::KeyTooLong { key, length } => {
                format!("A key has {length} characters (`{key}`…): shorten it to {LONGEST_KEY}.")
            }
            ContextError::ValueTooLong { key, length } => {
                format!("`{key}` has {length} characters: shorten it to {LONGEST_VALUE}.")
            }
            ContextError::NotAText { key, .. } => {
                format!("`{key}` is a list or an object: send a text, a number, true, false or null.")
            }
            ContextError::ControlCharacter { key, character } => format!(
                "`{key}` contains the control character {character}: remove it. Only line breaks (\\n) and tabs are allowed."
            ),
            ContextError::SameName { first, second, name } => {
                format!("`{first}` and `{second}` are the same variable, `{name}`: send one of them.")
            }
        };
        Self::new(spanish, english)
    }
}

impl Context {
    /// Reads the `context` of a request: texts, numbers and booleans; `null` means absent.
    ///
    /// Names lose case and accents, unless `strict_case` (d10). Numbers and booleans are written as text, but
    /// `{% if %}` sees what they are: `false` and `0` are not true.
    ///
    /// # Errors
    ///
    /// [`ContextError`] names the key and the remedy.
    pub fn new(map: &Map<String, serde_json::Value>, strict_case: bool) -> Result<Self, ContextError> {
        if map.len() > MOST_KEYS {
            return Err(ContextError::TooManyKeys(map.len()));
        }
        let mut values = BTreeMap::new();
        let mut origins: BTreeMap<String, &str> = BTreeMap::new();
        for (key, value) in map {
            check_key(key)?;
            let Some(value) = read_value(key, value)? else { continue };
            let name = spell(key, strict_case);
            if let Some(first) = origins.insert(name.clone(), key) {
                return Err(ContextError::SameName { first: first.to_owned(), second: key.clone(), name });
            }
            values.insert(name, value);
        }
        Ok(Self { values: Arc::new(Values(values)), strict_case })
    }

    /// A context without values.
    pub fn empty(strict_case: bool) -> Self {
        Self { values: Arc::default(), strict_case }
    }

    /// Adds a value that the system knows, such as `Fase`; the caller's own wins.
    #[must_use]
    pub fn with(mut self, name: &str, value: &str) -> Self {
        let name = spell(name, self.strict_case);
        Arc::make_mut(&mut self.values).0.entry(name).or_insert_with(|| Value::from(value));
        self
    }

    /// The text of a value, by any spelling of its name.
    pub fn get(&self, name: &str) -> Option<String> {
        let value = self.values.0.get(&spell(name, self.strict_case))?;
        Some(if value.kind() == minijinja::value::ValueKind::Bool {
            value.is_true().to_string()
        } else {
            value.to_string()
        })
    }

    /// Whether there is a value under this id.
    pub(super) fn has(&self, id: &str) -> bool {
        self.values.0.contains_key(id)
    }

    pub(super) fn values(&self) -> Arc<Values> {
        self.values.clone()
    }
}

/// Only the names: the values are personal data and have no place in a log.
impl fmt::Debug for Context {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.values.0.keys()).finish()
    }
}

/// The examples of [`VARIABLES`], for a preview without a context (S002-45).
pub fn sample_context(strict_case: bool) -> Context {
    VARIABLES
        .iter()
        .fold(Context::empty(strict_case), |context, variable| context.with(variable.name(), variable.example))
}

/// The values as the engine reads them.
#[derive(Clone, Debug, Default)]
pub(super) struct Values(BTreeMap<String, Value>);

impl Values {
    pub(super) fn get(&self, name: &str) -> Option<Value> {
        self.0.get(name).cloned()
    }
}

impl Object for Values {
    fn get_value(self: &Arc<Self>, key: &Value) -> Option<Value> {
        self.get(key.as_str()?)
    }

    fn get_value_by_str(self: &Arc<Self>, key: &str) -> Option<Value> {
        self.get(key)
    }
}

fn check_key(key: &str) -> Result<(), ContextError> {
    let length = key.chars().count();
    if length > LONGEST_KEY {
        let key = key.chars().take(40).collect::<String>().escape_debug().to_string();
        return Err(ContextError::KeyTooLong { key, length });
    }
    match key.chars().find(|c| c.is_control()) {
        Some(character) => Err(control_character(key, character)),
        None => Ok(()),
    }
}

fn read_value(key: &str, value: &serde_json::Value) -> Result<Option<Value>, ContextError> {
    use serde_json::Value as Json;
    let not_a_text = |found| Err(ContextError::NotAText { key: key.to_owned(), found });
    match value {
        Json::Null => Ok(None),
        Json::Bool(value) => Ok(Some(Value::from(*value))),
        Json::Number(number) => Ok(Some(read_number(number))),
        Json::String(text) => check_text(key, text).map(|()| Some(Value::from(text.as_str()))),
        Json::Array(_) => not_a_text("una lista"),
        Json::Object(_) => not_a_text("un objeto"),
    }
}

fn read_number(number: &serde_json::Number) -> Value {
    match (number.as_i64(), number.as_u64(), number.as_f64()) {
        (Some(number), _, _) => Value::from(number),
        (_, Some(number), _) => Value::from(number),
        (_, _, Some(number)) => Value::from(number),
        (None, None, None) => Value::from(number.to_string()),
    }
}

fn check_text(key: &str, text: &str) -> Result<(), ContextError> {
    // A text of as many bytes has no more characters; the common case need not count.
    let length = if text.len() > LONGEST_VALUE { text.chars().count() } else { text.len() };
    if length > LONGEST_VALUE {
        return Err(ContextError::ValueTooLong { key: key.to_owned(), length });
    }
    match text.chars().find(|c| c.is_control() && !matches!(c, '\n' | '\t')) {
        Some(character) => Err(control_character(key, character)),
        None => Ok(()),
    }
}

fn control_character(key: &str, character: char) -> ContextError {
    ContextError::ControlCharacter {
        key: key.escape_debug().to_string(),
        character: format!("U+{:04X}", u32::from(character)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    use serde_json::json;

    fn read(values: &serde_json::Value) -> Result<Context, String> {
        Context::new(values.as_object().expect("a JSON object"), false).map_err(|error| error.to_string())
    }

    #[test]
    fn mistakes_name_the_key_and_the_remedy() {
        let cases = [
            (json!({"nombre": {"a": 1}}), "`nombre` es un objeto: envíe un texto, un número, true, false o null."),
            (json!({"nombre": ["a"]}), "`nombre` es una lista: envíe un texto, un número, true, false o null."),
            (
                json!({"Vehículo": "a", "vehiculo": "b"}),
                "`Vehículo` y `vehiculo` son la misma variable, `vehiculo`: envíe solo una.",
            ),
            (json!({"nombre": "ñ".repeat(10_001)}), "`nombre` tiene 10001 caracteres: acórtelo a 10000."),
        ];
        for (values, message) in cases {
            assert_eq!(read(&values).unwrap_err(), message);
        }
        let control = |key: &str, character: &str| {
            format!(
                "`{key}` contiene el carácter de control {character}: quítelo. \
                 Solo se admiten saltos de línea (\\n) y tabuladores."
            )
        };
        assert_eq!(read(&json!({"nombre": "a\u{0}"})).unwrap_err(), control("nombre", "U+0000"));
        assert_eq!(read(&json!({"nombre": "a\r\n"})).unwrap_err(), control("nombre", "U+000D"));
        assert_eq!(read(&json!({"a\u{7}b": "x"})).unwrap_err(), control("a\\u{7}b", "U+0007"));
        let error = read(&json!({"k".repeat(101): "x"})).unwrap_err();
        assert_eq!(error, format!("Una clave tiene 101 caracteres (`{}`…): acórtela a 100.", "k".repeat(40)));
        let many = (0..101).map(|n| (format!("k{n}"), json!("x"))).collect::<Map<_, _>>();
        let error = Context::new(&many, false).unwrap_err();
        assert_eq!(error.to_string(), "Tiene 101 claves: envíe como máximo 100.");
    }

    #[test]
    fn limits_may_be_reached() {
        assert!(read(&json!({"ñ".repeat(100): "ñ".repeat(10_000)})).is_ok());
        let many = (0..100).map(|n| (format!("k{n}"), json!("x"))).collect::<Map<_, _>>();
        assert!(Context::new(&many, false).is_ok());
        assert!(read(&json!({"nota": "uno\n\tdos", "Nota": null})).is_ok());
    }

    #[test]
    fn the_callers_value_wins_over_the_systems() {
        let context = read(&json!({"fase": "Mía"})).unwrap().with("Fase", "Recepción").with("Taller", "Ambacar");
        assert_eq!((context.get("FASE"), context.get("taller")), (Some("Mía".into()), Some("Ambacar".into())));
    }
}
