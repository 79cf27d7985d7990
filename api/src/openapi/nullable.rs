//! Fields that may be null, said in one piece.

use serde_json::{Value, json};

/// A field that may be null is described as "either null, or what stands over there". Where that is a plain value, such as a
/// moment, it is said in one piece, because people read a choice of two as two kinds of answers.
pub(super) fn simplify(part: &mut Value, schemas: &Value) {
    if let Some(simple) = nullable(part).and_then(|other| said_in_one_piece(other, schemas)) {
        *part = simple;
    }
    match part {
        Value::Object(fields) => fields.values_mut().for_each(|field| simplify(field, schemas)),
        Value::Array(items) => items.iter_mut().for_each(|item| simplify(item, schemas)),
        _ => {}
    }
}

/// The other of a choice of two, one of which is null.
fn nullable(schema: &Value) -> Option<&Value> {
    match schema.get("oneOf")?.as_array()?.as_slice() {
        [other, null] | [null, other] if *null == json!({ "type": "null" }) => Some(other),
        _ => None,
    }
}

fn said_in_one_piece(other: &Value, schemas: &Value) -> Option<Value> {
    let name = other.get("$ref")?.as_str()?.strip_prefix("#/components/schemas/")?;
    let mut schema = schemas.get(name)?.clone();
    let is_plain = schema["type"].is_string() && schema["type"] != "object" && schema["type"] != "array";
    let description = other.get("description").cloned();
    if is_plain {
        schema["type"] = json!([schema["type"], "null"]);
        if let Some(words) = schema.get_mut("enum").and_then(Value::as_array_mut) {
            words.push(Value::Null);
        }
    } else {
        schema = json!({ "oneOf": [{ "type": "null" }, { "$ref": other["$ref"] }] });
    }
    if let Some(description) = description {
        schema["description"] = description;
    }
    Some(schema)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_may_be_null_is_said_in_one_piece() {
        let schemas = json!({ "Id": { "type": "string", "format": "uuid" }, "Thing": { "type": "object" } });
        let choice = |name| json!({ "oneOf": [{ "type": "null" }, { "$ref": name, "description": "Whose." }] });
        let mut fields = json!([choice("#/components/schemas/Id"), choice("#/components/schemas/Thing")]);
        simplify(&mut fields, &schemas);
        assert_eq!(fields[0], json!({ "type": ["string", "null"], "format": "uuid", "description": "Whose." }));
        let thing = json!({ "$ref": "#/components/schemas/Thing" });
        assert_eq!(fields[1], json!({ "oneOf": [{ "type": "null" }, thing], "description": "Whose." }));
    }
}
