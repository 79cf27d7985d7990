//! The document's fields in the order of the code.

use indexmap::IndexMap;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// JSON that remembers the order of its fields. `Value` sorts them, and fields that were written in a sensible order are
/// easier to read in it.
#[derive(Deserialize, Serialize)]
#[serde(untagged)]
pub(super) enum Ordered {
    Object(IndexMap<String, Ordered>),
    List(Vec<Ordered>),
    Plain(Value),
}

impl Ordered {
    /// The same value, its fields in the order of those of the model; what the model does not have comes last.
    pub(super) fn arrange(value: Value, model: Option<&Self>) -> Self {
        match value {
            Value::Object(fields) => {
                let places = model.and_then(Self::fields);
                let place = |name: &str| places.and_then(|places| places.get_index_of(of_model(name)));
                let mut fields: Vec<(String, Value)> = fields.into_iter().collect();
                fields.sort_by_key(|(name, _)| place(name).unwrap_or(usize::MAX));
                let arranged = fields.into_iter().map(|(name, value)| {
                    let model = places.and_then(|places| places.get(of_model(&name)));
                    (name, Self::arrange(value, model))
                });
                Self::Object(arranged.collect())
            }
            Value::Array(items) => {
                let models = if let Some(Self::List(models)) = model { models.as_slice() } else { &[] };
                let items = items.into_iter().enumerate();
                Self::List(items.map(|(place, item)| Self::arrange(item, models.get(place))).collect())
            }
            plain => Self::Plain(plain),
        }
    }

    fn fields(&self) -> Option<&IndexMap<String, Self>> {
        if let Self::Object(fields) = self { Some(fields) } else { None }
    }
}

/// What a finished name was called before it was finished.
fn of_model(name: &str) -> &str {
    let path = if name.starts_with('/') { name.trim_end_matches('/') } else { name };
    path.strip_prefix("Patched").unwrap_or(path)
}
