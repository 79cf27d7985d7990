//! The fields of a request, read one by one, so that one answer names everything that is wrong with them.
//!
//! The error texts are those of Django REST framework in Spanish, because the clients of seed 002 parse them (d23). So are the
//! coercions, on which they rely: a number where a text is meant, `15000.0` for a whole number, blanks around a text, and an
//! empty text where there is nothing to refer to.

use chrono::{DateTime, Datelike, NaiveDate, NaiveDateTime};
use recado_conversations::requests::Status as RequestStatus;
use recado_kernel::clock::Timestamp;
use recado_kernel::ids::Id;
use recado_kernel::time_of_day::TimeOfDay;
use recado_notifications::channels::Channel;
use recado_notifications::notifications::Status;
use recado_notifications::orchestration::{AwaitedReceipt, DeliveryMode};
use recado_notifications::suppressions::Reason;
use recado_notifications::targets::Target;
use serde_json::{Map, Number, Value};

use crate::envelope::Envelope;
use crate::problem::{FieldErrors, MISSING, Problem};

/// The largest body that is read unless a request says otherwise, in bytes.
pub(crate) const MAX_BODY_BYTES: usize = 1024 * 1024;

/// The fields of an object, and what was wrong with those that were read.
pub(crate) struct Fields {
    values: Map<String, Value>,
    errors: FieldErrors,
}

impl Fields {
    pub(crate) fn of(values: Map<String, Value>) -> Self {
        Self { values, errors: FieldErrors::default() }
    }

    /// What was read, unless something was wrong.
    pub(crate) fn finish<T>(self, value: Option<T>) -> Result<T, Problem> {
        self.errors.none_or_problem().map(|()| value.expect("what could not be read has left an error"))
    }

    /// Adds an error for each of the fields that are absent.
    pub(super) fn demand(&mut self, names: &[&'static str]) {
        for name in names.iter().filter(|name| !self.values.contains_key(**name)) {
            self.errors.add(*name, MISSING);
        }
    }

    /// Whether something is wrong already.
    pub(crate) fn are_wrong(&self) -> bool {
        !self.errors.is_empty()
    }

    /// Whether the field was sent, be it null.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.values.contains_key(name)
    }

    /// Takes over a field that cannot be null; one that is absent changes nothing.
    pub(crate) fn set<T: Field + Default>(&mut self, name: &'static str, value: &mut T) {
        if self.has(name) {
            *value = self.required(name);
        }
    }

    /// Takes over a text to the letter; one that is absent changes nothing.
    pub(crate) fn set_verbatim(&mut self, name: &'static str, value: &mut String) {
        if self.has(name) {
            *value = self.required::<Verbatim>(name).0;
        }
    }

    /// Takes over a field that null or a blank text empties; one that is absent changes nothing.
    pub(crate) fn set_nullable<T: Field>(&mut self, name: &'static str, value: &mut Option<T>) {
        if self.has(name) {
            *value = self.optional(name);
        }
    }

    /// Like [`set_nullable`](Self::set_nullable), and a blank text empties the field too.
    pub(crate) fn set_clearable<T: Field>(&mut self, name: &'static str, value: &mut Option<T>) {
        let is_blank = |text: &&str| text.trim().is_empty();
        if self.values.get(name).and_then(Value::as_str).filter(is_blank).is_some() {
            self.values.insert(name.to_owned(), Value::Null);
        }
        self.set_nullable(name, value);
    }

    /// A field that must be there and not be null.
    pub(crate) fn required<T: Field + Default>(&mut self, name: &'static str) -> T {
        let value = match self.values.remove(name) {
            None => Err(MISSING.to_owned()),
            Some(Value::Null) => Err("Este campo no puede ser nulo.".to_owned()),
            Some(value) => T::read(value),
        };
        value.unwrap_or_else(|error| {
            self.errors.add(name, error);
            T::default()
        })
    }

    /// A field that must be there and not be null, of a type that has no value to go on with when it is wrong.
    pub(crate) fn mandatory<T: Field>(&mut self, name: &'static str) -> Option<T> {
        match self.values.get(name) {
            None => self.errors.add(name, MISSING),
            Some(Value::Null) => self.errors.add(name, "Este campo no puede ser nulo."),
            Some(_) => return self.values.remove(name).and_then(|value| self.read(name, value)),
        }
        None
    }

    /// The elements of a list that must be there. What is wrong with one is said in the list's own error, with its number.
    pub(crate) fn elements<T>(&mut self, name: &'static str, read: impl Fn(&mut Self) -> Option<T>) -> Option<Vec<T>> {
        let values: Vec<Value> = self.mandatory(name)?;
        let read_one = |(number, value): (usize, Value)| {
            let said = |error: &str| format!("Elemento {number}: {error}");
            let mut element = Self::of(Map::read(value).map_err(|error| said(&error))?);
            let value = read(&mut element);
            let first = element.errors.into_iter().next();
            first.map_or(Ok(value), |(field, error)| Err(said(&format!("{field}: {error}"))))
        };
        let elements: Result<Option<Vec<T>>, String> = values.into_iter().enumerate().map(read_one).collect();
        elements.map_err(|error| self.errors.add(name, error)).ok().flatten()
    }

    /// Moves what was wrong to where these fields stand in the body: `configs.2` and a dot before each name.
    pub(crate) fn report_to(self, place: &str, errors: &mut FieldErrors) {
        errors.extend(self.errors.into_iter().map(|(field, error)| (format!("{place}.{field}"), error)));
    }

    /// A field that may be absent or null. A blank text is nothing, too: forms and core systems send it where nothing was
    /// chosen or is known.
    pub(crate) fn optional<T: Field>(&mut self, name: &'static str) -> Option<T> {
        match self.values.remove(name)? {
            Value::Null => None,
            Value::String(text) if T::BLANK_IS_NOTHING && text.trim().is_empty() => None,
            value => self.read(name, value),
        }
    }

    fn read<T: Field>(&mut self, name: &'static str, value: Value) -> Option<T> {
        T::read(value).map_err(|error| self.errors.add(name, error)).ok()
    }

    /// The fields that were not taken.
    pub(crate) fn rest(&mut self) -> Map<String, Value> {
        std::mem::take(&mut self.values)
    }

    /// A value that is itself one field of a larger object: its first error names what is wrong inside.
    pub(crate) fn as_field<T>(value: Value, read: impl FnOnce(&mut Self) -> T) -> Result<T, String> {
        let mut fields = Self::of(Map::read(value)?);
        let inner = read(&mut fields);
        fields.errors.into_iter().next().map_or(Ok(inner), |(field, error)| Err(format!("{field}: {error}")))
    }

    /// What is read from an object inside this one. Its errors are nested too.
    pub(crate) fn within<T>(&mut self, name: &'static str, read: impl FnOnce(&mut Self) -> T) -> T {
        let mut inner = Self::of(self.required(name));
        let value = read(&mut inner);
        // When the object itself is missing or of the wrong kind, what is missing inside says nothing new.
        if !self.errors.contains(name) {
            for (field, error) in inner.errors {
                self.errors.add(format!("{name}.{field}"), error);
            }
        }
        value
    }

    /// Like [`within`](Self::within), of an object that may be null (`Some(None)`) or absent (`None`).
    pub(crate) fn within_nullable<T>(
        &mut self,
        name: &'static str,
        read: impl FnOnce(&mut Self) -> Option<T>,
    ) -> Option<Option<T>> {
        match self.values.get(name)? {
            Value::Null => {
                self.values.remove(name);
                Some(None)
            }
            _ => self.within(name, read).map(Some),
        }
    }

    /// Adds what a later check found. Fields that could not even be read keep that one error.
    pub(crate) fn check<N: Into<String>, E: Into<String>>(&mut self, errors: Vec<(N, E)>) {
        let errors = errors.into_iter().map(|(field, error)| (field.into(), error.into()));
        let new = errors.filter(|(field, _)| !self.errors.contains(field)).collect::<Vec<_>>();
        self.errors.extend(new);
    }
}

/// A type that a field may have, and the error when it has another.
pub(crate) trait Field: Sized {
    /// Whether a blank text is read like null where the field is optional.
    const BLANK_IS_NOTHING: bool = true;

    fn read(value: Value) -> Result<Self, String>;
}

/// Up to 2^53 every whole number has a float of its own; beyond that, digits would be made up.
const MOST_EXACT: f64 = 9_007_199_254_740_992.0;

impl Field for String {
    /// A text without the blanks around it, or a number: core services have integers for keys, plates and telephones. A
    /// number that is whole is written without decimals, because that is what the database of its sender shows. Façades that
    /// were not written in Django take a text to the letter, and nothing else.
    fn read(value: Value) -> Result<Self, String> {
        match value {
            Value::String(text) if !Envelope::current().coerces() || text.trim().len() == text.len() => Ok(text),
            Value::String(text) => Ok(text.trim().to_owned()),
            Value::Number(number) if Envelope::current().coerces() => match whole(&number) {
                Some(whole) => Ok(whole.to_string()),
                // Two ids that differ in what was rounded off would be one.
                None if number.is_f64() && number.as_f64().is_some_and(|number| number.abs() > MOST_EXACT) => {
                    Err("El número es demasiado grande para leerse sin redondeo: escríbalo entre comillas.".to_owned())
                }
                None => Ok(number.to_string()),
            },
            _ => Err("No es una cadena válida.".to_owned()),
        }
    }
}

/// A text to the letter, with the blanks around it: a password, or a message whose lines are counted.
#[derive(Debug, Default)]
pub(crate) struct Verbatim(pub(crate) String);

impl Field for Verbatim {
    fn read(value: Value) -> Result<Self, String> {
        match value {
            Value::String(text) => Ok(Self(text)),
            other => String::read(other).map(Self),
        }
    }
}

impl Field for i64 {
    /// A whole number, or its digits, as they stand in a query or a form; `15000.0` is whole, too.
    fn read(value: Value) -> Result<Self, String> {
        let number = match &value {
            Value::Number(number) => whole(number),
            Value::String(text) => whole_digits(text),
            _ => None,
        };
        number.ok_or_else(|| "Introduzca un número entero válido.".to_owned())
    }
}

/// A number that has nothing behind its point.
fn whole(number: &Number) -> Option<i64> {
    let of_float = || number.as_f64().filter(|number| number.fract() == 0.0 && number.abs() <= MOST_EXACT);
    number.as_i64().or_else(|| of_float().map(|number| number as i64))
}

/// The digits of a whole number; a point with noughts behind it says nothing.
fn whole_digits(text: &str) -> Option<i64> {
    let text = text.trim();
    let digits = text.split_once('.').filter(|(_, rest)| rest.bytes().all(|byte| byte == b'0'));
    digits.map_or(text, |(digits, _)| digits).parse().ok()
}

impl Field for Timestamp {
    /// A moment with its offset (RFC 3339), so that it is clear which clock is meant.
    fn read(value: Value) -> Result<Self, String> {
        // In a query, the plus of an offset arrives as a blank where the caller did not encode it.
        let text = String::read(value)?.replace(' ', "+");
        let moment = DateTime::parse_from_rfc3339(&text).ok().filter(|moment| (1970..=9999).contains(&moment.year()));
        moment.map(|moment| moment.to_utc().into()).ok_or_else(|| {
            "Fecha y hora con formato erróneo. Use RFC 3339, por ejemplo 2026-01-20T14:30:00-05:00.".to_owned()
        })
    }
}

impl Field for TimeOfDay {
    fn read(value: Value) -> Result<Self, String> {
        let time = String::read(value)?.parse();
        time.map_err(|_| "Hora con formato erróneo. Use HH:MM, por ejemplo 21:00.".to_owned())
    }
}

impl Field for bool {
    /// True or false, or one of the words and numbers for them that Django understands.
    fn read(value: Value) -> Result<Self, String> {
        let word = match value {
            Value::Bool(truth) => return Ok(truth),
            Value::Number(number) => whole(&number).map(|number| number.to_string()).unwrap_or_default(),
            Value::String(word) => word.trim().to_ascii_lowercase(),
            _ => String::new(),
        };
        match word.as_str() {
            "true" | "t" | "1" | "yes" | "y" | "on" => Ok(true),
            "false" | "f" | "0" | "no" | "n" | "off" => Ok(false),
            _ => Err("Introduzca un valor booleano: true o false.".to_owned()),
        }
    }
}

impl<T: Field> Field for Vec<T> {
    fn read(value: Value) -> Result<Self, String> {
        let Value::Array(items) = value else {
            return Err(format!("Se esperaba una lista en vez de {}.", kind(&value)));
        };
        let read = |(number, item)| T::read(item).map_err(|error| format!("Elemento {number}: {error}"));
        items.into_iter().enumerate().map(read).collect()
    }
}

/// One of a few words.
pub(crate) fn choice<T: Copy, const N: usize>(
    value: Value,
    all: [T; N],
    name: impl Fn(T) -> &'static str,
) -> Result<T, String> {
    let word = String::read(value)?;
    all.into_iter().find(|one| name(*one) == word).ok_or_else(|| {
        let choices = all.map(name).join(", ");
        format!("\"{}\" no es una elección válida. Use: {choices}.", word.escape_debug())
    })
}

impl Field for Status {
    fn read(value: Value) -> Result<Self, String> {
        choice(value, Self::ALL, Self::as_str)
    }
}

impl Field for RequestStatus {
    fn read(value: Value) -> Result<Self, String> {
        choice(value, Self::ALL, Self::as_str)
    }
}

impl Field for Reason {
    fn read(value: Value) -> Result<Self, String> {
        choice(value, Self::ALL, Self::as_str)
    }
}

impl Field for Channel {
    fn read(value: Value) -> Result<Self, String> {
        choice(value, Self::ALL, Self::as_str)
    }
}

impl Field for i32 {
    fn read(value: Value) -> Result<Self, String> {
        let number = i64::read(value)?;
        Self::try_from(number)
            .map_err(|_| format!("Asegúrese de que este valor esté entre {} y {}.", Self::MIN, Self::MAX))
    }
}

/// Any value, to be read later.
impl Field for Value {
    fn read(value: Value) -> Result<Self, String> {
        Ok(value)
    }
}

impl Field for Map<String, Value> {
    fn read(value: Value) -> Result<Self, String> {
        match value {
            Value::Object(object) => Ok(object),
            other => Err(format!("Se esperaba un objeto en vez de {}.", kind(&other))),
        }
    }
}

impl Field for Id {
    fn read(value: Value) -> Result<Self, String> {
        let id = value.as_str().and_then(|text| text.trim().parse().ok());
        id.ok_or_else(|| "Debe ser un UUID válido.".to_owned())
    }
}

impl Field for Target {
    fn read(value: Value) -> Result<Self, String> {
        choice(value, [Self::Clients, Self::Staff], Self::as_str)
    }
}

impl Field for DeliveryMode {
    fn read(value: Value) -> Result<Self, String> {
        choice(value, [Self::Fallback, Self::All], Self::as_str)
    }
}

impl Field for AwaitedReceipt {
    fn read(value: Value) -> Result<Self, String> {
        choice(value, [Self::Delivered, Self::Read], Self::as_str)
    }
}

impl Field for NaiveDate {
    /// A date, or the date of a date and time as it is written: a caller who sends the hour too means their own calendar.
    fn read(value: Value) -> Result<Self, String> {
        let text = String::read(value)?;
        let text = text.as_str();
        let date = text.parse().ok();
        let moment = || DateTime::parse_from_rfc3339(text).ok().map(|moment| moment.date_naive());
        let local = || text.replacen(' ', "T", 1).parse::<NaiveDateTime>().ok().map(|local| local.date());
        date.or_else(moment).or_else(local).ok_or_else(|| {
            "Fecha con formato erróneo. Use uno de los siguientes formatos: YYYY-MM-DD, YYYY-MM-DDThh:mm:ss.".to_owned()
        })
    }
}

/// A date as people wrote it into a core system: as everywhere, or with the day first (`20/01/2026`, also with `-` or `.`).
pub(crate) struct PeoplesDate(pub(crate) NaiveDate);

impl Field for PeoplesDate {
    fn read(value: Value) -> Result<Self, String> {
        let text = String::read(value)?;
        let date_first = text.split_whitespace().next().and_then(|date| {
            let parts: Vec<&str> = date.split(['/', '-', '.']).collect();
            let [day, month, year @ ..] = parts.as_slice() else { return None };
            let [year] = year else { return None };
            // Of two digits it would not be clear which century is meant, or which of them is the year.
            let year = (year.len() == 4).then(|| year.parse().ok())??;
            NaiveDate::from_ymd_opt(year, month.parse().ok()?, day.parse().ok()?)
        });
        let date = date_first.map_or_else(|| NaiveDate::read(text.into()), Ok);
        date.map(Self).map_err(|error| error.replace("YYYY-MM-DD,", "YYYY-MM-DD, DD/MM/YYYY,"))
    }
}

/// The fields of a value that must be an object.
pub(super) fn object(value: Value) -> Result<Map<String, Value>, Problem> {
    match value {
        Value::Object(object) => Ok(object),
        other => {
            let error = format!("Datos inválidos. Se esperaba un objeto JSON pero es {}.", kind(&other));
            Err(FieldErrors::one("non_field_errors", error).into())
        }
    }
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "un booleano",
        Value::Number(_) => "un número",
        Value::String(_) => "un texto",
        Value::Array(_) => "una lista",
        Value::Object(_) => "un objeto",
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::extract::request::Member;

    fn fields(value: Value) -> Fields {
        Fields::of(object(value).expect("an object"))
    }

    fn errors(fields: &Fields) -> Value {
        fields.errors.to_json()
    }

    #[test]
    fn every_wrong_field_is_named_at_once() {
        let mut fields =
            fields(json!({"b": null, "c": [5], "d": "x", "e": "x", "f": [1], "g": "nobody", "h": "ayer", "i": 1e300}));
        fields.required::<String>("a");
        fields.required::<String>("b");
        fields.optional::<String>("c");
        fields.optional::<i64>("d");
        fields.optional::<Id>("e");
        fields.optional::<Map<String, Value>>("f");
        fields.optional::<Target>("g");
        fields.optional::<NaiveDate>("h");
        fields.optional::<i32>("i");
        assert_eq!(
            errors(&fields),
            json!({
                "a": ["Este campo es requerido."],
                "b": ["Este campo no puede ser nulo."],
                "c": ["No es una cadena válida."],
                "d": ["Introduzca un número entero válido."],
                "e": ["Debe ser un UUID válido."],
                "f": ["Se esperaba un objeto en vez de una lista."],
                "g": ["\"nobody\" no es una elección válida. Use: clients, staff."],
                "h": ["Fecha con formato erróneo. Use uno de los siguientes formatos: YYYY-MM-DD, YYYY-MM-DDThh:mm:ss."],
                "i": ["Introduzca un número entero válido."],
            })
        );
    }

    #[test]
    fn every_object_of_a_list_is_read_by_itself() {
        let mut body = fields(json!({"a": [{"c": "email"}, {"c": "fax"}, {"c": null}, {}]}));
        let mut errors = FieldErrors::default();
        let objects: Vec<Fields> = Member::take(&mut body, "a").expect("a list of objects");
        for (number, mut one) in objects.into_iter().enumerate() {
            assert_eq!(one.mandatory::<Channel>("c").is_some(), number == 0);
            one.report_to(&format!("a.{number}"), &mut errors);
        }
        let wrong = errors.to_json();
        assert_eq!(wrong["a"]["0"], Value::Null);
        assert_eq!(wrong["a"]["2"], json!({"c": ["Este campo no puede ser nulo."]}));
        assert_eq!(wrong["a"]["3"], json!({"c": ["Este campo es requerido."]}));
        assert!(wrong["a"]["1"]["c"][0].as_str().is_some_and(|error| error.starts_with("\"fax\"")), "{wrong}");
    }

    #[test]
    fn what_is_wrong_with_an_element_is_said_with_its_number() {
        let read = |list: Value| {
            let mut fields = fields(json!({ "a": list }));
            let read = fields.elements("a", |one| Some((one.mandatory::<i64>("n")?, one.optional::<i64>("m"))));
            (read, errors(&fields))
        };
        assert_eq!(read(json!([{"n": 1}, {"n": 2, "m": 3}])), (Some(vec![(1, None), (2, Some(3))]), json!({})));
        assert_eq!(read(json!([{"n": 1}, {}])), (None, json!({"a": ["Elemento 1: n: Este campo es requerido."]})));
        let wrong = json!({"a": ["Elemento 0: Se esperaba un objeto en vez de un número."]});
        assert_eq!(read(json!([1, {}])), (None, wrong));
    }

    #[test]
    fn null_and_absent_are_alike_where_a_field_is_optional() {
        let mut fields = fields(json!({"a": null}));
        assert_eq!((fields.optional::<String>("a"), fields.optional::<String>("b")), (None, None));
        assert_eq!(errors(&fields), json!({}));
    }

    #[test]
    fn errors_inside_an_object_are_nested() {
        let read = |value: Value| {
            let mut fields = fields(value);
            fields.within("keys", |keys| keys.required::<String>("auth"));
            errors(&fields)
        };
        assert_eq!(read(json!({"keys": {}})), json!({"keys": {"auth": ["Este campo es requerido."]}}));
        assert_eq!(read(json!({"keys": 1})), json!({"keys": ["Se esperaba un objeto en vez de un número."]}));
        assert_eq!(read(json!({})), json!({"keys": ["Este campo es requerido."]}));
    }

    #[test]
    fn a_later_check_does_not_blame_a_field_twice() {
        let mut fields = fields(json!({}));
        fields.required::<String>("a");
        fields.check(vec![("a".to_owned(), "blank".to_owned()), ("b".to_owned(), "wrong".to_owned())]);
        assert_eq!(errors(&fields), json!({"a": ["Este campo es requerido."], "b": ["wrong"]}));
    }

    #[test]
    fn words_of_a_query_are_numbers_and_truths_too() {
        assert_eq!(
            (i64::read(json!(" 7 ")), bool::read(json!("True")), bool::read(json!("0"))),
            (Ok(7), Ok(true), Ok(false))
        );
        assert!(bool::read(json!(2)).is_err() && i64::read(json!("7.5")).is_err());
        assert_eq!(
            Vec::<i64>::read(json!([1, "x"])),
            Err("Elemento 1: Introduzca un número entero válido.".to_owned())
        );
    }

    /// Core services have integers for keys and telephones, and floats for kilometres; Django REST framework reads both.
    #[test]
    fn numbers_are_texts_and_texts_are_numbers() {
        for (value, text) in [
            (json!(42), "42"),
            (json!(593_991_234_567_i64), "593991234567"),
            (json!(593_991_234_567.0), "593991234567"),
            (json!(18_446_744_073_709_551_615_u64), "18446744073709551615"),
            (json!(-0.5), "-0.5"),
            (json!(" ABC-1234\n"), "ABC-1234"),
        ] {
            assert_eq!(String::read(value.clone()).as_deref(), Ok(text), "{value}");
        }
        for value in [json!(true), json!(["a"]), json!({}), Value::Null] {
            String::read(value).expect_err("no text");
        }
        for value in
            [json!(15000), json!(15000.0), json!("15000.0"), json!(" 15000. "), json!("+15000.00"), json!(1.5e4)]
        {
            assert_eq!(i64::read(value.clone()), Ok(15_000), "{value}");
        }
        for value in
            [json!(15000.5), json!("15000.5"), json!("15,000"), json!("1.2.0"), json!(1e300), json!(true), json!("")]
        {
            i64::read(value).expect_err("no whole number");
        }
        for (value, truth) in [(json!(1), true), (json!(0.0), false), (json!(" TRUE "), true), (json!("n"), false)] {
            assert_eq!(bool::read(value.clone()), Ok(truth), "{value}");
        }
    }

    /// An empty text for an absent reference, as forms send it.
    #[test]
    fn a_blank_text_is_nothing_where_a_field_is_optional() {
        let mut fields = fields(json!({"a": "", "b": " ", "c": "", "d": "", "e": ""}));
        assert_eq!((fields.optional::<String>("a"), fields.optional::<Id>("b")), (None, None));
        assert_eq!((fields.optional::<i64>("c"), fields.optional::<NaiveDate>("d")), (None, None));
        assert_eq!(errors(&fields), json!({}));
        assert_eq!(fields.mandatory::<Channel>("e"), None);
        assert!(errors(&fields)["e"][0].is_string(), "what must be there cannot be blank");
    }

    /// What people typed into a core system, in the order in which people write it.
    #[test]
    fn a_date_may_begin_with_its_day() {
        let date = NaiveDate::from_ymd_opt(2026, 1, 20).unwrap();
        for text in ["20/01/2026", "20-1-2026", "20.01.2026", "20/01/2026 08:30", "2026-01-20", "2026-01-20T08:30:00"] {
            assert_eq!(PeoplesDate::read(text.into()).map(|read| read.0), Ok(date), "{text}");
        }
        for text in ["20/01/26", "01/20/2026", "31/02/2026", "20/01", "20/01/2026/1", "mañana", "-1/1/2026"] {
            PeoplesDate::read(text.into()).map(|read| read.0).expect_err(text);
        }
    }

    #[test]
    fn a_moment_says_whose_clock_is_meant() {
        let moment = Timestamp::from_micros(1_768_937_400_000_000);
        for text in ["2026-01-20T14:30:00-05:00", "2026-01-20T19:30:00Z", "2026-01-20T21:30:00 02:00"] {
            assert_eq!(Timestamp::read(text.into()), Ok(moment), "{text}");
        }
        for text in ["", "2026-01-20", "2026-01-20T14:30:00", "mañana", "0000-01-01T00:00:00Z", "2026-02-30T00:00:00Z"]
        {
            Timestamp::read(text.into()).expect_err(text);
        }
    }

    #[test]
    fn a_date_may_carry_an_hour() {
        let date = NaiveDate::from_ymd_opt(2026, 1, 20).unwrap();
        for text in [
            "2026-01-20",
            "2026-01-20T23:30:00Z",
            "2026-01-20T23:30:00.123-05:00",
            "2026-01-20T23:30:00",
            "2026-01-20 23:30:00",
        ] {
            assert_eq!(NaiveDate::read(text.into()), Ok(date), "{text}");
        }
        for text in ["", "20/01/2026", "2026-02-30", "2026-01-20T", "99999-99-99"] {
            NaiveDate::read(text.into()).expect_err(text);
        }
    }
}
