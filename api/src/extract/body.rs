//! Request bodies, read field by field, so that one answer names everything that is wrong with them.
//!
//! The complaints are those of Django REST framework in Spanish, because the clients of seed 002 parse them (d23).

use std::time::Duration;

use axum::body::{Body as HttpBody, Bytes};
use axum::extract::{FromRequest, Request};
use axum::http::HeaderMap;
use axum::http::header::{CONTENT_LENGTH, CONTENT_TYPE, EXPECT, ORIGIN};
use chrono::{DateTime, Datelike, NaiveDate, NaiveDateTime};
use futures::StreamExt;
use recado_kernel::clock::Timestamp;
use recado_kernel::ids::Id;
use recado_kernel::time_of_day::TimeOfDay;
use recado_notifications::channels::Channel;
use recado_notifications::notifications::Status;
use recado_notifications::orchestration::{AwaitedReceipt, DeliveryMode};
use recado_notifications::targets::Target;
use serde_json::{Map, Value};

use crate::extract::json;
use crate::problem::{FieldErrors, Problem};

/// The largest body that is read, in bytes.
pub(crate) const LARGEST_BODY: usize = 1024 * 1024;

/// How long a body may take to arrive. It is shorter than the limit of the whole request, so that a slow caller is told so.
const BODY_TIMEOUT: Duration = Duration::from_secs(20);

/// How much of a body that is too large is still taken and thrown away, in bytes. Most clients only read the answer
/// after they have sent everything; if we hung up on them they would see a broken connection instead of a 413.
const MOST_DISCARDED: usize = 32 * 1024 * 1024;

/// The body of a request: a JSON object from which a `T` was read without any error.
pub(crate) struct Json<T>(pub(crate) T);

/// The body of a request that others have designed: any JSON at all.
pub(crate) struct Anything(pub(crate) Value);

impl<S: Send + Sync> FromRequest<S> for Anything {
    type Rejection = Problem;

    async fn from_request(request: Request, _: &S) -> Result<Self, Problem> {
        check_content_type(request.headers())?;
        let bytes = collect_within(BODY_TIMEOUT, request, LARGEST_BODY).await?;
        json::parse(&bytes).map(Self).map_err(Problem::Malformed)
    }
}

/// What can be read from the fields of a JSON object. Fields that nobody asks for are ignored.
pub(crate) trait Body: Sized {
    /// The largest body that is read, in bytes.
    const LARGEST: usize = LARGEST_BODY;

    /// Reads all fields, also after one was wrong: the errors are gathered in `fields`, and the value is only used when
    /// there are none.
    fn read(fields: &mut Fields) -> Self;
}

impl<T: Body, S: Send + Sync> FromRequest<S> for Json<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, _: &S) -> Result<Self, Problem> {
        check_content_type(request.headers())?;
        let bytes = collect_within(BODY_TIMEOUT, request, T::LARGEST).await?;
        let mut fields = Fields::of(object(json::parse(&bytes).map_err(Problem::Malformed)?)?);
        let body = T::read(&mut fields);
        fields.errors.none_or_problem()?;
        Ok(Self(body))
    }
}

/// A record that people write as a whole (POST, PUT) or in part (PATCH).
pub(crate) trait Form: Default + Send {
    /// The fields without which there is no whole.
    const REQUIRED: &'static [&'static str];

    /// Takes over what the fields say, and checks the result. A field that is absent changes nothing.
    fn fill(&mut self, fields: &mut Fields);
}

/// A record that was written as a whole.
pub(crate) struct Whole<T>(pub(crate) T);

impl<T: Form> Body for Whole<T> {
    fn read(fields: &mut Fields) -> Self {
        fields.demand(T::REQUIRED);
        let mut form = T::default();
        form.fill(fields);
        Self(form)
    }
}

/// What is to be changed about a record that is known already.
pub(crate) struct Changes(Fields);

impl Changes {
    /// The record with the changes in it.
    pub(crate) fn onto<T: Form>(mut self, mut form: T) -> Result<T, Problem> {
        form.fill(&mut self.0);
        self.0.errors.none_or_problem()?;
        Ok(form)
    }
}

impl Body for Changes {
    fn read(fields: &mut Fields) -> Self {
        Self(std::mem::replace(fields, Fields::of(Map::new())))
    }
}

/// The fields of an object, and what was wrong with those that were read.
pub(crate) struct Fields {
    values: Map<String, Value>,
    errors: FieldErrors,
}

impl Fields {
    pub(crate) fn of(values: Map<String, Value>) -> Self {
        Self { values, errors: FieldErrors::default() }
    }

    /// Reads an object that was part of another body, as if it had come alone.
    pub(crate) fn read<T: Body>(value: Value) -> Result<T, Problem> {
        let mut fields = Self::of(object(value)?);
        let body = T::read(&mut fields);
        fields.finish(body)
    }

    /// What was read, unless something was wrong.
    pub(crate) fn finish<T>(self, value: T) -> Result<T, Problem> {
        self.errors.none_or_problem().map(|()| value)
    }

    /// Complains about those of the fields that are absent.
    fn demand(&mut self, names: &[&'static str]) {
        for name in names.iter().filter(|name| !self.values.contains_key(**name)) {
            self.errors.add(*name, "Este campo es requerido.");
        }
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

    /// Takes over a field that null empties; one that is absent changes nothing.
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
            None => Err("Este campo es requerido.".to_owned()),
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
            None => self.errors.add(name, "Este campo es requerido."),
            Some(Value::Null) => self.errors.add(name, "Este campo no puede ser nulo."),
            Some(_) => return self.optional(name),
        }
        None
    }

    /// The objects of a list that must be there, at most so many; each is read by itself.
    pub(crate) fn objects(&mut self, name: &'static str, most: usize) -> Vec<Self> {
        let objects: Vec<Map<String, Value>> = self.required(name);
        if objects.len() > most {
            let error = format!("Asegúrese de que este campo no tenga más de {most} elementos.");
            self.errors.add(name, error);
            return Vec::new();
        }
        objects.into_iter().map(Self::of).collect()
    }

    /// Moves what was wrong to where these fields stand in the body: `configs.2` and a dot before each name.
    pub(crate) fn report_to(self, place: &str, errors: &mut FieldErrors) {
        errors.extend(self.errors.into_iter().map(|(field, error)| (format!("{place}.{field}"), error)));
    }

    /// A field that may be absent or null.
    pub(crate) fn optional<T: Field>(&mut self, name: &'static str) -> Option<T> {
        match self.values.remove(name)? {
            Value::Null => None,
            value => T::read(value).map_err(|error| self.errors.add(name, error)).ok(),
        }
    }

    /// The fields of an object inside this one. Its errors are nested too.
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

    /// Adds what a later check found. Fields that could not even be read keep that one error.
    pub(crate) fn check<N: Into<String>>(&mut self, errors: Vec<(N, String)>) {
        let errors = errors.into_iter().map(|(field, error)| (field.into(), error));
        let new = errors.filter(|(field, _)| !self.errors.contains(field)).collect::<Vec<_>>();
        self.errors.extend(new);
    }
}

/// A type that a field may have, and the complaint when it has another.
pub(crate) trait Field: Sized {
    fn read(value: Value) -> Result<Self, String>;
}

impl Field for String {
    fn read(value: Value) -> Result<Self, String> {
        match value {
            Value::String(text) => Ok(text),
            _ => Err("No es una cadena válida.".to_owned()),
        }
    }
}

impl Field for i64 {
    /// A whole number, or its digits, as they stand in a query or a form.
    fn read(value: Value) -> Result<Self, String> {
        let number = value.as_i64().or_else(|| value.as_str()?.trim().parse().ok());
        number.ok_or_else(|| "Introduzca un número entero válido.".to_owned())
    }
}

impl Field for Timestamp {
    /// A moment with its offset (RFC 3339), so that nobody guesses whose clock is meant.
    fn read(value: Value) -> Result<Self, String> {
        let text = String::read(value)?;
        // In a query, the plus of an offset arrives as a blank where the caller did not encode it.
        let text = text.trim().replace(' ', "+");
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
    /// True or false, or one of the words for them that Django understands.
    fn read(value: Value) -> Result<Self, String> {
        let word = value.as_str().map(str::to_ascii_lowercase);
        match (value, word.as_deref()) {
            (Value::Bool(truth), _) => Ok(truth),
            (_, Some("true" | "1" | "yes" | "on")) => Ok(true),
            (_, Some("false" | "0" | "no" | "off")) => Ok(false),
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

/// Any value, for whoever reads it later.
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
        let id = value.as_str().and_then(|text| text.parse().ok());
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
    /// A date, or the date of a date and time as it is written: whoever sends the hour as well means their own calendar.
    fn read(value: Value) -> Result<Self, String> {
        let text = String::read(value)?;
        let text = text.trim();
        let date = text.parse().ok();
        let moment = || DateTime::parse_from_rfc3339(text).ok().map(|moment| moment.date_naive());
        let local = || text.replacen(' ', "T", 1).parse::<NaiveDateTime>().ok().map(|local| local.date());
        date.or_else(moment).or_else(local).ok_or_else(|| {
            "Fecha con formato erróneo. Use uno de los siguientes formatos: YYYY-MM-DD, YYYY-MM-DDThh:mm:ss.".to_owned()
        })
    }
}

fn object(value: Value) -> Result<Map<String, Value>, Problem> {
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

/// JSON by its name, or no name at all. curl's own default for `-d` is a form, which deserves a clear word.
///
/// A browser names its origin, and must name the type: without a type it would not ask for leave first (a "simple request" of
/// the Fetch standard), and any web page could send through an API that is open on this machine.
fn check_content_type(headers: &HeaderMap) -> Result<(), Problem> {
    let Some(value) = headers.get(CONTENT_TYPE) else {
        let from_browser = headers.contains_key(ORIGIN);
        return if from_browser { Err(Problem::UnsupportedMediaType(String::new())) } else { Ok(()) };
    };
    let value = String::from_utf8_lossy(value.as_bytes());
    let media_type = value.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    let is_json =
        media_type == "application/json" || (media_type.starts_with("application/") && media_type.ends_with("+json"));
    if is_json || media_type.is_empty() { Ok(()) } else { Err(Problem::UnsupportedMediaType(media_type)) }
}

async fn collect_within(patience: Duration, request: Request, largest: usize) -> Result<Bytes, Problem> {
    tokio::time::timeout(patience, collect(request, largest)).await.unwrap_or(Err(Problem::TooSlow))
}

async fn collect(request: Request, largest: usize) -> Result<Bytes, Problem> {
    let declared = declared_length(request.headers());
    // Who asks before sending (curl does, for large bodies) need not send.
    if declared > MOST_DISCARDED || (declared > largest && request.headers().contains_key(EXPECT)) {
        return Err(Problem::TooLarge { largest });
    }
    let mut bytes = Vec::with_capacity(declared.min(largest));
    let mut discarded = 0;
    let mut chunks = HttpBody::into_data_stream(request.into_body());
    while let Some(chunk) = chunks.next().await {
        let chunk = chunk.map_err(|_| Problem::Malformed("El cuerpo llegó incompleto.".to_owned()))?;
        if discarded > 0 || bytes.len() + chunk.len() > largest {
            discarded += chunk.len();
            bytes = Vec::new();
        } else {
            bytes.extend_from_slice(&chunk);
        }
        if discarded > MOST_DISCARDED {
            break;
        }
    }
    if discarded > 0 { Err(Problem::TooLarge { largest }) } else { Ok(bytes.into()) }
}

fn declared_length(headers: &HeaderMap) -> usize {
    let length = headers.get(CONTENT_LENGTH).and_then(|value| value.to_str().ok());
    length.and_then(|text| text.parse().ok()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn fields(value: Value) -> Fields {
        Fields::of(object(value).expect("an object"))
    }

    fn errors(fields: &Fields) -> Value {
        fields.errors.to_json()
    }

    #[test]
    fn every_wrong_field_is_named_at_once() {
        let mut fields =
            fields(json!({"b": null, "c": 5, "d": "x", "e": "x", "f": [1], "g": "nobody", "h": "ayer", "i": 1e12}));
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
        let mut body = fields(json!({"a": [{"c": "email"}, {"c": "fax"}, {"c": null}, {}], "b": [{}, {}]}));
        let mut errors = FieldErrors::default();
        for (number, mut one) in body.objects("a", 4).into_iter().enumerate() {
            assert_eq!(one.mandatory::<Channel>("c").is_some(), number == 0);
            one.report_to(&format!("a.{number}"), &mut errors);
        }
        let wrong = errors.to_json();
        assert_eq!(wrong["a"]["0"], Value::Null);
        assert_eq!(wrong["a"]["2"], json!({"c": ["Este campo no puede ser nulo."]}));
        assert_eq!(wrong["a"]["3"], json!({"c": ["Este campo es requerido."]}));
        assert!(wrong["a"]["1"]["c"][0].as_str().is_some_and(|error| error.starts_with("\"fax\"")), "{wrong}");
        assert_eq!(body.objects("b", 1).len(), 0);
        assert!(body.errors.contains("b"), "too many");
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

    #[derive(Debug, Default, PartialEq)]
    struct Car {
        plate: String,
        year: Option<i32>,
    }

    impl Form for Car {
        const REQUIRED: &'static [&'static str] = &["plate"];

        fn fill(&mut self, fields: &mut Fields) {
            fields.set("plate", &mut self.plate);
            fields.set_nullable("year", &mut self.year);
        }
    }

    #[test]
    fn a_whole_demands_what_it_needs_and_changes_do_not() {
        let mut empty = fields(json!({"year": 2024}));
        Whole::<Car>::read(&mut empty);
        assert_eq!(errors(&empty), json!({"plate": ["Este campo es requerido."]}));

        let car = || Car { plate: "ABC123".into(), year: Some(2024) };
        let changed = |value| Changes::read(&mut fields(value)).onto(car());
        assert_eq!(changed(json!({})).unwrap(), car());
        assert_eq!(changed(json!({"year": null})).unwrap().year, None);
        assert_eq!(changed(json!({"plate": "XYZ789"})).unwrap().plate, "XYZ789");
        let Problem::Fields(problem) = changed(json!({"plate": null})).unwrap_err() else { panic!("a field is wrong") };
        assert_eq!(problem.to_json(), json!({"plate": ["Este campo no puede ser nulo."]}));
    }

    #[test]
    fn words_of_a_query_are_numbers_and_truths_too() {
        assert_eq!(
            (i64::read(json!(" 7 ")), bool::read(json!("True")), bool::read(json!("0"))),
            (Ok(7), Ok(true), Ok(false))
        );
        assert!(bool::read(json!(1)).is_err() && i64::read(json!("7.5")).is_err());
        assert_eq!(
            Vec::<i64>::read(json!([1, "x"])),
            Err("Elemento 1: Introduzca un número entero válido.".to_owned())
        );
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

    #[tokio::test]
    async fn a_body_that_does_not_come_is_too_slow() {
        let silent = HttpBody::from_stream(futures::stream::pending::<Result<Bytes, std::io::Error>>());
        let collected = collect_within(Duration::from_millis(1), Request::new(silent), LARGEST_BODY).await;
        assert!(matches!(collected, Err(Problem::TooSlow)), "{collected:?}");
    }

    #[tokio::test]
    async fn a_body_is_taken_up_to_its_limit_however_it_is_cut() {
        let collected = async |lengths: &[usize]| {
            let chunks: Vec<_> =
                lengths.iter().map(|length| Ok::<_, std::io::Error>(Bytes::from(vec![b' '; *length]))).collect();
            collect(Request::new(HttpBody::from_stream(futures::stream::iter(chunks))), LARGEST_BODY).await
        };
        assert_eq!(collected(&[1, LARGEST_BODY - 1]).await.unwrap().len(), LARGEST_BODY);
        for lengths in
            [&[LARGEST_BODY, 1][..], &[LARGEST_BODY + 1], &[LARGEST_BODY + 1, 1], &[MOST_DISCARDED, MOST_DISCARDED]]
        {
            assert!(matches!(collected(lengths).await, Err(Problem::TooLarge { .. })), "{lengths:?}");
        }
    }

    #[test]
    fn the_content_type_is_json_or_nothing() {
        let check = |value: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(CONTENT_TYPE, value.parse().unwrap());
            check_content_type(&headers).is_ok()
        };
        assert!(check_content_type(&HeaderMap::new()).is_ok());
        for good in ["application/json", "Application/JSON; charset=utf-8", "application/cloudevents+json", ""] {
            assert!(check(good), "{good}");
        }
        for bad in
            ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "application/jsonx"]
        {
            assert!(!check(bad), "{bad}");
        }
    }
}
