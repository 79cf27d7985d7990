//! Reservation codes (S003-23): issued for an experience, and found in what customers write.

use std::collections::HashMap;
use std::time::Duration;

use chrono::NaiveDate;
use recado_kernel::clock::Timestamp;
use recado_kernel::db::{Result, Session, Texts};
use recado_kernel::ids::Id;
use recado_kernel::sql;
use serde_json::{Map, Value};
use sqlx::types::Json;

/// How long a code holds: the checkout that asked for it is over by then.
pub const VALID_FOR: Duration = Duration::from_secs(24 * 60 * 60);

/// The longest text that counts as a code. Ours have at most 28 characters, and an index takes no text of any length.
const LONGEST_CODE: usize = 64;

/// The most codes that one message asks for. A customer names a few; a flood of them is no customer.
const MOST_CODES: usize = 20;

const PREFIX: &[u8] = b"RES-";

/// The codes that a text names, in upper case, each once, in their order.
///
/// `RES-[A-Z0-9-]+` in any case. It does not begin inside of a word (`EXPRES-SO`) and ends in a letter or digit, so that marks,
/// brackets and URLs around it do not matter.
pub fn find_codes(text: &str) -> Vec<String> {
    let bytes = text.as_bytes();
    let (mut codes, mut at) = (Vec::new(), 0);
    while let Some(start) = next_prefix(bytes, at) {
        let length = bytes[start..].iter().take_while(|byte| byte.is_ascii_alphanumeric() || **byte == b'-').count();
        at = start + length;
        if text[..start].chars().next_back().is_some_and(char::is_alphanumeric) {
            continue;
        }
        let code = text[start..at].trim_end_matches('-').to_ascii_uppercase();
        let is_code = (PREFIX.len() + 1..=LONGEST_CODE).contains(&code.len());
        if is_code && !codes.contains(&code) && codes.len() < MOST_CODES {
            codes.push(code);
        }
    }
    codes
}

fn next_prefix(bytes: &[u8], from: usize) -> Option<usize> {
    let found = bytes[from..].windows(PREFIX.len()).position(|window| window.eq_ignore_ascii_case(PREFIX));
    found.map(|position| from + position)
}

/// How many people a text speaks of: `4 personas`, `2 adultos`, `3 pax`.
pub fn passengers(text: &str) -> Option<i32> {
    const PEOPLE: [&str; 14] = [
        "persona",
        "personas",
        "pasajero",
        "pasajeros",
        "pax",
        "adulto",
        "adultos",
        "viajero",
        "viajeros",
        "participante",
        "participantes",
        "person",
        "people",
        "passengers",
    ];
    let text = text.to_lowercase();
    let words: Vec<&str> =
        text.split(|letter: char| !letter.is_alphanumeric()).filter(|word| !word.is_empty()).collect();
    let mut pairs = words.windows(2).filter(|pair| PEOPLE.contains(&pair[1]));
    pairs.find_map(|pair| people(pair[0].parse().ok()?))
}

/// How many people a checkout knew of.
pub fn participants(checkout: &Map<String, Value>) -> Option<i32> {
    let total = checkout.get("participants")?.get("total")?;
    people(total.as_i64().or_else(|| total.as_str()?.trim().parse().ok())?)
}

/// A number of people that a request can be for.
fn people(number: i64) -> Option<i32> {
    i32::try_from(number).ok().filter(|number| (1..=9_999).contains(number))
}

/// A new code: `RES-ISLAS--20260120-9F86D081`.
fn compose(slug: &str, day: NaiveDate, random: [u8; 4]) -> String {
    let readable = slug.chars().filter(|letter| letter.is_ascii_alphanumeric() || *letter == '-');
    let start: String = readable.take(6).collect::<String>().to_ascii_uppercase();
    let start = if start.is_empty() { "EXP".to_owned() } else { start };
    format!("RES-{start}-{}-{:08X}", day.format("%Y%m%d"), u32::from_be_bytes(random))
}

/// A code that was issued.
#[derive(Clone, Debug)]
pub struct NewCode {
    pub id: Id,
    pub code: String,
    pub expires_at: Timestamp,
}

/// Issues a code for an experience. `None`: there is no such experience.
pub async fn issue(
    session: &mut Session,
    experience_id: &str,
    checkout_data: &Map<String, Value>,
    day: NaiveDate,
    now: Timestamp,
) -> Result<Option<NewCode>> {
    let slug: Option<(String,)> =
        sql!(one(String,), session, "select slug from tour_experiences where id = $1", experience_id)?;
    let Some((slug,)) = slug else { return Ok(None) };
    let expires_at = now + VALID_FOR;
    loop {
        let id = Id::new(now);
        // The end of an id is random.
        let random = *id.as_bytes().last_chunk().expect("an id has sixteen bytes");
        let code = compose(&slug, day, random);
        let written = sql!(
            run,
            session,
            "insert into reservation_codes (id, code, experience_id, checkout_data, expires_at, created_at)
             values ($1, $2, $3, $4, $5, $6) on conflict (code) do nothing",
            id,
            code.as_str(),
            experience_id,
            Json(checkout_data),
            expires_at,
            now
        )?;
        if written > 0 {
            return Ok(Some(NewCode { id, code, expires_at }));
        }
    }
}

/// What is known of a code that was issued here.
#[derive(Clone, Debug, sqlx::FromRow)]
pub struct Issued {
    pub code: String,
    pub experience_id: String,
    pub checkout_data: Json<Map<String, Value>>,
    pub expires_at: Timestamp,
    /// The operator of the experience's organizer.
    pub operator: Option<Id>,
}

/// Those of these codes that were issued here.
pub async fn issued(session: &mut Session, codes: &[&str]) -> Result<HashMap<String, Issued>> {
    let found: Vec<Issued> = sql!(all Issued, session,
        "select c.code, c.experience_id, c.checkout_data, c.expires_at, o.id as operator
         from reservation_codes c
         left join tour_experiences e on e.id = c.experience_id
         left join tour_operators o on o.organizer_id = e.organizer_id
         where c.code = any($1)",
        Texts(codes)
    )?;
    Ok(found.into_iter().map(|issued| (issued.code.clone(), issued)).collect())
}

/// Deletes a batch of codes that expired before this moment and of which no request is left.
pub async fn delete_expired(session: &mut Session, before: Timestamp, limit: i64) -> Result<u64> {
    sql!(
        run,
        session,
        "delete from reservation_codes where id in
             (select id from reservation_codes where id < $1 and expires_at < $2
                and not exists (select 1 from reservation_requests r where r.code = reservation_codes.code)
              order by id limit $3)",
        Id::earliest(before),
        before,
        limit
    )
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    /// S003-23
    #[test]
    fn codes_are_found_whatever_stands_around_them() {
        let table: &[(&str, &[&str])] = &[
            ("RES-TOURIS-20260120-9F86D081", &["RES-TOURIS-20260120-9F86D081"]),
            ("hola, quiero res-abc-1 por favor", &["RES-ABC-1"]),
            ("*RES-A1*", &["RES-A1"]),
            ("_RES-A1_", &["RES-A1"]),
            ("(RES-A1), [RES-B2]; RES-C3.", &["RES-A1", "RES-B2", "RES-C3"]),
            ("https://wa.me/5939?text=RES-A1&x=2", &["RES-A1"]),
            ("https://tours.example.com/RES-A1/", &["RES-A1"]),
            ("código:RES-A1\nRES-A1 res-a1", &["RES-A1"]),
            ("RES-A1---", &["RES-A1"]),
            ("RES-A1 - para 4 personas", &["RES-A1"]),
            ("\u{200f}RES-A1\u{200e} 🏝", &["RES-A1"]),
            ("EXPRES-SO", &[]),
            ("añRES-1 ñRES-2", &[]),
            ("RES-", &[]),
            ("RES---", &[]),
            ("RES A1, RES_A1, RESA1, RES-ñ", &[]),
            ("", &[]),
        ];
        for (text, expected) in table {
            assert_eq!(find_codes(text), *expected, "{text:?}");
        }
        assert!(find_codes(&format!("RES-{}", "A".repeat(64_000))).is_empty(), "no code is that long");
        let flood: String = (0..9_000).map(|number| format!("RES-{number} ")).collect();
        assert_eq!(find_codes(&flood).len(), MOST_CODES);
    }

    #[test]
    fn people_are_counted() {
        let table = [
            ("RES-A1 para 4 personas", Some(4)),
            ("somos 2 Adultos", Some(2)),
            ("12pax", None),
            ("12 pax", Some(12)),
            ("1 persona", Some(1)),
            ("0 personas y luego 3 personas", Some(3)),
            ("99999999999999999999 personas", None),
            ("RES-4 personas", Some(4)),
            ("personas", None),
        ];
        for (text, expected) in table {
            assert_eq!(passengers(text), expected, "{text}");
        }
        let of = |checkout: Value| participants(checkout.as_object().expect("an object"));
        assert_eq!(of(json!({"participants": {"total": 3}})), Some(3));
        assert_eq!(of(json!({"participants": {"total": "5"}})), Some(5));
        for none in [json!({}), json!({"participants": 3}), json!({"participants": {"total": -1}})] {
            assert_eq!(of(none), None);
        }
    }

    /// S003-23
    #[test]
    fn a_new_code_has_the_shape_that_is_found() {
        let day = NaiveDate::from_ymd_opt(2026, 1, 20).expect("a day");
        assert_eq!(compose("tour-islas", day, [0x9f, 0x86, 0xd0, 0x81]), "RES-TOUR-I-20260120-9F86D081");
        assert_eq!(compose("ñandú", day, [0; 4]), "RES-AND-20260120-00000000");
        assert_eq!(compose("🏝", day, [0; 4]), "RES-EXP-20260120-00000000");
    }

    proptest! {
        #[test]
        fn what_is_found_is_found_again(text in prop_oneof![any::<String>(), "[a-zRES 0-9_*ñ-]{0,60}", "(RES-|res-|A|1|-| ){0,30}"]) {
            let codes = find_codes(&text);
            prop_assert_eq!(find_codes(&codes.join(" ")), codes.clone());
            for code in &codes {
                prop_assert!(code.starts_with("RES-") && code.len() > 4 && code.len() <= LONGEST_CODE);
                prop_assert!(code.ends_with(|letter: char| letter.is_ascii_digit() || letter.is_ascii_uppercase()));
                prop_assert!(text.to_ascii_uppercase().contains(code.as_str()));
            }
        }

        #[test]
        fn an_issued_code_is_found(slug in any::<String>(), random in any::<[u8; 4]>(), before in "[ *_(\\n.,:/=-]{0,3}", after in "[ *_).,/&-]{0,3}") {
            let day = NaiveDate::from_ymd_opt(2026, 12, 31).expect("a day");
            let code = compose(&slug, day, random);
            prop_assert_eq!(find_codes(&format!("{before}{code}{after}")), vec![code.clone()]);
            prop_assert_eq!(find_codes(&code.to_ascii_lowercase()), vec![code]);
        }
    }
}
