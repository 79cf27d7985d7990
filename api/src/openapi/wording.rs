//! Descriptions without what only concerns the code.

use serde_json::Value;

/// Removes ids of the contract. Descriptions come from comments, which name its lines for the people who change the code;
/// callers of the API do not know it.
pub(super) fn forget_ids(part: &mut Value) {
    match part {
        Value::Object(fields) => {
            for (name, field) in fields {
                match field {
                    Value::String(text) if name == "description" || name == "summary" => *text = without_ids(text),
                    field => forget_ids(field),
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(forget_ids),
        _ => {}
    }
}

/// Without the brackets that name a line (`S002-41`) or a decision (`d16`).
fn without_ids(text: &str) -> String {
    let is_id = |word: &str| {
        let number = word.strip_prefix('d').or(word.strip_prefix("S00"));
        number.is_some_and(|number| number.starts_with(|c: char| c.is_ascii_digit()))
    };
    let mut kept = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, bracket)) = rest.split_once(" (") {
        let (inside, after) = bracket.split_once(')').unwrap_or((bracket, ""));
        kept.push_str(before);
        if !inside.split([' ', ',']).any(is_id) {
            kept.push_str(" (");
            kept.push_str(&bracket[..bracket.len() - after.len()]);
        }
        rest = after;
    }
    kept + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn brackets_with_ids_are_left_out() {
        let table = [
            ("A vehicle (S002-53). Plates.", "A vehicle. Plates."),
            ("Old ids are 404 (S002-33, d20).", "Old ids are 404."),
            ("Where it stands (S002-70, and `cancelled`)", "Where it stands"),
            ("A problem (RFC 9457) (d23), with (two (x) in it", "A problem (RFC 9457), with (two (x) in it"),
            ("Plain", "Plain"),
        ];
        for (comment, read) in table {
            assert_eq!(without_ids(comment), read);
        }
    }
}
