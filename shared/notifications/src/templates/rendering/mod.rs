//! Rendering: from a template and the values of one message to its text. Pure: texts in, texts out.
//!
//! A template is written in a small part of Jinja: `{{ Nombre }}`, `{% if Orden %}…{% endif %}`, `{% for %}`, `{% set %}`,
//! `{% with %}`, `{% filter %}` and the filters of text ([`FILTERS`]). There are no functions, no other templates and no
//! markup in values, and every render has a budget: an editor can write a wrong template, but not a dangerous one.

mod context;
mod django;
mod error;
mod html;
mod source;
mod tag;
mod variables;

use std::collections::BTreeSet;
use std::fmt;
use std::sync::{Arc, LazyLock, Mutex, PoisonError};

use minijinja::syntax::SyntaxConfig;
use minijinja::value::{Object, Value};
use minijinja::{AutoEscape, Environment, Error, ErrorKind, UndefinedBehavior};
use recado_kernel::language::Sentence;

use self::context::Values;
pub use self::context::{Context, ContextError, sample_context};
use self::error::blame;
pub use self::error::{Part, TemplateError};
pub use self::html::looks_like_html;
use self::source::Source;
pub use self::tag::FILTERS;
pub use self::variables::{VARIABLES, Variable, normalise};

/// The longest subject after rendering, in characters: what mail clients and lists still show.
pub const LONGEST_SUBJECT: usize = 200;

/// The longest body after rendering, in bytes.
pub const LONGEST_BODY: usize = 100 * 1024;

/// What one render may cost: about one unit per step of the template and per 64 bytes that it handles, whether a filter, an
/// operator or the text itself handles them. The longest body is 1,600 of them, and the longest sensible template some hundreds
/// more; a loop within loops ends here after less than half a millisecond.
const FUEL: u64 = 8_000;

/// How often a text is rendered to find out what is missing, where conditions and defaults leave that open. Beyond this number
/// every variable that is absent counts as missing: the answer asks for more than is needed, but it does come.
const MOST_PROBES: usize = 24;

/// A template, compiled once and rendered for many people, from any thread.
pub struct CompiledTemplate {
    engine: Environment<'static>,
    variables: Vec<UsedVariable>,
    /// It needs every variable that it names, because none of them stands in a condition or has a default.
    is_plain: bool,
    html: bool,
}

/// A variable that a template uses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UsedVariable {
    /// Its key in a [`Context`], normalised: `vehiculo`.
    pub id: String,
    /// As it stands in the text, where it stands first: `Vehículo`.
    pub label: String,
}

/// The text for one person.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rendered {
    /// One line, at most [`LONGEST_SUBJECT`] characters, never escaped.
    pub subject: String,
    pub body: String,
    /// Whether the body is HTML. The template decides that; a value with a `<b>` in it does not, so keep this rather
    /// than look at the body again.
    pub html: bool,
}

impl Rendered {
    /// Texts without any variable, as they are.
    ///
    /// # Errors
    ///
    /// When one of them is too long.
    pub fn as_written(subject: &str, body: &str) -> Result<Self, TemplateError> {
        let body = without_control_characters(body.to_owned());
        let html = looks_like_html(&body);
        Self::bounded(subject, body, html)
    }

    /// `body` is without control characters.
    fn bounded(subject: &str, body: String, html: bool) -> Result<Self, TemplateError> {
        let subject = one_line(subject);
        let length = subject.chars().count();
        let too_long = |part, problem| TemplateError { part, line: None, problem, by_values: true };
        if length > LONGEST_SUBJECT {
            let problem = Sentence::new(
                format!("El texto terminado tiene {length} caracteres: acórtelo a {LONGEST_SUBJECT}."),
                format!("The finished text has {length} characters: shorten it to {LONGEST_SUBJECT}."),
            );
            return Err(too_long(Part::Subject, problem));
        }
        if body.len() > LONGEST_BODY {
            let bytes = body.len();
            let problem = Sentence::new(
                format!("El texto terminado tiene {bytes} bytes: acórtelo a {LONGEST_BODY}."),
                format!("The finished text has {bytes} bytes: shorten it to {LONGEST_BODY}."),
            );
            return Err(too_long(Part::Body, problem));
        }
        Ok(Self { subject, body, html })
    }
}

impl CompiledTemplate {
    /// Compiles the two texts of a template.
    ///
    /// Names of variables match without regard to case and accents, `{{ Vehículo }}` and `vehiculo`, unless
    /// `strict_case` (`TEMPLATE_STRICT_CASE`, d10) wants them exactly as written.
    ///
    /// # Errors
    ///
    /// The first thing in the texts that could never be rendered, with its line.
    pub fn compile(subject: &str, body: &str, strict_case: bool) -> Result<Self, TemplateError> {
        let html = looks_like_html(body);
        let mut engine = ENGINE.clone();
        engine.set_auto_escape_callback(move |name| {
            if html && name == Part::Body.as_str() { AutoEscape::Html } else { AutoEscape::None }
        });
        let (mut variables, mut is_plain) = (Vec::new(), true);
        for (part, text) in [(Part::Subject, subject), (Part::Body, body)] {
            let source = source::read(text, strict_case).map_err(|flaw| TemplateError {
                part,
                line: flaw.line,
                problem: flaw.problem,
                by_values: false,
            })?;
            engine.add_template_owned(part.as_str(), source.text.clone()).map_err(|error| blame(part, &error))?;
            is_plain &= source.is_plain;
            note_variables(source, &mut variables);
        }
        let template = Self { engine, variables, is_plain, html };
        template.try_out()?;
        Ok(template)
    }

    /// The variables used, in the order of their first appearance, the subject's first.
    pub fn variables(&self) -> &[UsedVariable] {
        &self.variables
    }

    /// The ids of the variables that [`render`](Self::render) would need and the context lacks, all at once, in the order
    /// of [`variables`](Self::variables).
    pub fn missing(&self, context: &Context) -> Vec<String> {
        if self.variables.iter().all(|variable| context.has(&variable.id)) {
            return Vec::new();
        }
        let mut missing = self.missing_in(Part::Subject, context);
        missing.append(&mut self.missing_in(Part::Body, context));
        self.variables
            .iter()
            .filter(|variable| missing.contains(&variable.id))
            .map(|variable| variable.id.clone())
            .collect()
    }

    /// The names as they stand in the text, of ids that [`missing`](Self::missing) answered.
    pub fn labels(&self, ids: &[String]) -> Vec<String> {
        let label = |id: &String| {
            let known = self.variables.iter().find(|variable| variable.id == *id);
            known.map_or_else(|| id.clone(), |variable| variable.label.clone())
        };
        ids.iter().map(label).collect()
    }

    /// Renders both texts.
    ///
    /// Values are text and nothing else: braces in them are not evaluated, and an HTML body escapes them.
    ///
    /// # Errors
    ///
    /// When a value is missing (ask [`missing`](Self::missing) first for all of them), or the texts come out too long.
    pub fn render(&self, context: &Context) -> Result<Rendered, TemplateError> {
        let subject = self.render_part(Part::Subject, context)?;
        let body = without_control_characters(self.render_part(Part::Body, context)?);
        Rendered::bounded(&subject, body, self.html)
    }

    fn render_part(&self, part: Part, context: &Context) -> Result<String, TemplateError> {
        self.run(part, Value::from_dyn_object(context.values())).map_err(|error| {
            let missing = match error.kind() {
                ErrorKind::UndefinedError => self.missing(context),
                _ => Vec::new(),
            };
            let mut blamed = blame(part, &error);
            // A text that gets through with ordinary values is in order, and these values are not.
            blamed.by_values = self.gets_through(part);
            if !missing.is_empty() {
                let names = self.labels(&missing).join(", ");
                blamed.problem = Sentence::new(
                    format!("Faltan valores en `context`: {names}."),
                    format!("Values are missing in `context`: {names}."),
                );
            } else if blamed.by_values && error.kind() == ErrorKind::OutOfFuel {
                blamed.problem = Sentence::new(
                    "El texto terminado es demasiado largo: acorte los valores.",
                    "The finished text is too long: shorten the values.",
                );
            }
            blamed
        })
    }

    /// Whether a part can be rendered with a placeholder for everything.
    fn gets_through(&self, part: Part) -> bool {
        let everything = self.variables.iter().map(|variable| variable.id.clone()).collect();
        self.run(part, Value::from_object(Probe::new(Arc::default(), everything))).is_ok()
    }

    /// Refuses what fails with any values, so that the editor learns of it and not the caller of an event.
    fn try_out(&self) -> Result<(), TemplateError> {
        let everything: BTreeSet<String> = self.variables.iter().map(|variable| variable.id.clone()).collect();
        for part in [Part::Subject, Part::Body] {
            for given in [BTreeSet::new(), everything.clone()] {
                match self.run(part, Value::from_object(Probe::new(Arc::default(), given))) {
                    Err(error) if error.kind() == ErrorKind::OutOfFuel => return Err(blame(part, &error)),
                    _ => {}
                }
            }
        }
        Ok(())
    }

    /// What a part needs and lacks.
    ///
    /// The engine stops at the first undefined value and does not say which it was. So the render is repeated with a
    /// placeholder for the name that it asked for last, until it gets through; then each placeholder is taken away again
    /// to see whether it was needed, because the last question may have been an `{% if %}`, a default or a test.
    fn missing_in(&self, part: Part, context: &Context) -> BTreeSet<String> {
        let absent = || self.variables.iter().map(|variable| &variable.id).filter(|id| !context.has(id));
        if self.is_plain {
            return absent().cloned().collect();
        }
        let mut probes = 0;
        let mut given = BTreeSet::new();
        let reached = loop {
            probes += 1;
            if probes > MOST_PROBES {
                return absent().cloned().collect();
            }
            let (outcome, asked) = self.probe(part, context, &given);
            match (outcome, asked) {
                // A name that the template gives a value to itself is not for the caller to give.
                (Err((ErrorKind::UndefinedError, _)), Some(name)) if self.uses(&name) => given.insert(name),
                (outcome, _) => break outcome,
            };
        };
        for name in given.clone() {
            probes += 1;
            if probes > MOST_PROBES {
                break;
            }
            given.remove(&name);
            if self.probe(part, context, &given).0 != reached {
                given.insert(name);
            }
        }
        given
    }

    fn uses(&self, id: &str) -> bool {
        self.variables.iter().any(|variable| variable.id == id)
    }

    /// How far a render gets with placeholders for the `given` names, and the last name that it asked for in vain.
    fn probe(&self, part: Part, context: &Context, given: &BTreeSet<String>) -> (Outcome, Option<String>) {
        let probe = Arc::new(Probe::new(context.values(), given.clone()));
        let outcome = self.run(part, Value::from_dyn_object(probe.clone()));
        let asked = probe.asked.lock().unwrap_or_else(PoisonError::into_inner).take();
        (outcome.map(drop).map_err(|error| (error.kind(), error.line())), asked)
    }

    fn run(&self, part: Part, values: Value) -> Result<String, Error> {
        self.engine.get_template(part.as_str())?.render(values)
    }
}

impl fmt::Debug for CompiledTemplate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CompiledTemplate").field("variables", &self.variables).field("html", &self.html).finish()
    }
}

/// Success, or the kind and the line of the failure.
type Outcome = Result<(), (ErrorKind, Option<usize>)>;

/// What all templates share. It knows no function, so that nothing can be called but filters.
static ENGINE: LazyLock<Environment<'static>> = LazyLock::new(|| {
    let mut engine = Environment::new();
    let functions: Vec<String> = engine.globals().map(|(name, _)| name.to_owned()).collect();
    for function in functions {
        engine.remove_global(&function);
    }
    // The text outside of tags belongs to the editor, its last line break too.
    let syntax = SyntaxConfig::builder().keep_trailing_newline(true).build();
    engine.set_syntax(syntax.expect("the default delimiters are valid"));
    engine.set_undefined_behavior(UndefinedBehavior::SemiStrict);
    engine.set_formatter(html::write_value);
    engine.set_fuel(Some(FUEL));
    engine
});

/// A context that notes which name it was last asked for in vain, and has placeholders for some.
#[derive(Debug)]
struct Probe {
    values: Arc<Values>,
    given: BTreeSet<String>,
    asked: Mutex<Option<String>>,
}

impl Probe {
    fn new(values: Arc<Values>, given: BTreeSet<String>) -> Self {
        Self { values, given, asked: Mutex::new(None) }
    }
}

impl Object for Probe {
    fn get_value(self: &Arc<Self>, key: &Value) -> Option<Value> {
        self.get_value_by_str(key.as_str()?)
    }

    fn get_value_by_str(self: &Arc<Self>, name: &str) -> Option<Value> {
        if let Some(value) = self.values.get(name) {
            return Some(value);
        }
        if self.given.contains(name) {
            return Some(Value::from(placeholder(name)));
        }
        *self.asked.lock().unwrap_or_else(PoisonError::into_inner) = Some(name.to_owned());
        None
    }
}

/// A value that stands for any: the example of a known variable, else a text that is also a number.
fn placeholder(name: &str) -> &'static str {
    let name = normalise(name);
    VARIABLES.iter().find(|variable| variable.id == name).map_or("1", |variable| variable.example)
}

fn note_variables(source: Source, variables: &mut Vec<UsedVariable>) {
    for (id, label) in source.variables {
        if variables.iter().all(|variable| variable.id != id) {
            variables.push(UsedVariable { id, label });
        }
    }
}

/// A subject is one line: what would break it, or a mail's header, becomes a space.
pub fn one_line(text: &str) -> String {
    let breaks = |c: char| c.is_control() || matches!(c, '\u{2028}' | '\u{2029}');
    text.replace("\r\n", " ").replace(breaks, " ").trim().to_owned()
}

/// Control characters are not text; PostgreSQL refuses the first of them. They can only come from an escape such as
/// `"\x00"` in a template, or from a system value.
fn without_control_characters(mut text: String) -> String {
    // 0xC2 begins the control characters from U+0080 on, and `¿` and `¡` with them.
    let suspicious = |byte: u8| (byte < b' ' && !matches!(byte, b'\n' | b'\r' | b'\t')) || matches!(byte, 0x7F | 0xC2);
    // Counted to the end, because the compiler makes wide instructions of a loop that has no early exit.
    if text.bytes().filter(|byte| suspicious(*byte)).count() > 0 {
        text.retain(|c| !c.is_control() || matches!(c, '\n' | '\r' | '\t'));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    use proptest::prelude::*;
    use serde_json::{Map, json};

    fn context(values: &serde_json::Value) -> Context {
        Context::new(values.as_object().expect("a JSON object"), false).expect("a good context")
    }

    fn compile(body: &str) -> CompiledTemplate {
        CompiledTemplate::compile("", body, false).unwrap_or_else(|error| panic!("{body}: {error}"))
    }

    fn body(template: &str, values: &serde_json::Value) -> String {
        compile(template).render(&context(values)).unwrap_or_else(|error| panic!("{template}: {error}")).body
    }

    fn refusal(body: &str) -> TemplateError {
        CompiledTemplate::compile("", body, false).expect_err(body)
    }

    /// S002-45, S002-46: every documented variable, by its label, with its example.
    #[test]
    fn the_sample_context_fills_every_documented_variable() {
        for strict_case in [false, true] {
            for variable in VARIABLES {
                let template = CompiledTemplate::compile(variable.label, "", strict_case).unwrap();
                let rendered = template.render(&sample_context(strict_case)).unwrap();
                assert_eq!(rendered.subject, variable.example);
                assert_eq!(normalise(variable.name()), variable.id);
                assert_eq!(template.variables()[0].label, variable.name());
            }
        }
    }

    /// d10: the dispatch sample of the documents sends `nombre`, `placa` and `vehiculo` to such templates.
    #[test]
    fn names_match_without_case_and_accents() {
        let values = || json!({"nombre": "María", "VEHICULO": "Haval", "te\u{301}cnico": "Juan"});
        assert_eq!(body("{{Nombre}} {{ VEHÍCULO }} {{-Técnico}}", &values()), "María HavalJuan");
        assert_eq!(body("{{ Vehi\u{301}culo|upper }}", &values()), "HAVAL");
        assert_eq!(body("{{\u{a0}Nombre\u{a0}}}", &values()), "María");
        assert_eq!(body("{% set Año = nombre %}{{ año }}", &values()), "María");
        assert_eq!(
            body("{% for Letra in [Nombre, \"Ñ\"] %}{{ LETRA }}{{ loop.index }}{% endfor %}", &values()),
            "María1Ñ2"
        );
        assert_eq!(body("{% with Él = Nombre %}{{ el }}{% endwith %}", &values()), "María");
        assert_eq!(body("{{ Nombre|replace(\"María\", Vehículo, count=1) }}", &values()), "Haval");
    }

    #[test]
    fn strict_case_wants_names_as_written() {
        let template = CompiledTemplate::compile("", "{{ Vehi\u{301}culo }}", true).unwrap();
        assert_eq!(
            template.missing(&Context::new(&Map::from_iter([("vehiculo".into(), json!("x"))]), true).unwrap()),
            ["Vehículo"]
        );
        let composed = Context::new(&Map::from_iter([("Vehículo".into(), json!("x"))]), true).unwrap();
        assert_eq!(template.render(&composed).unwrap().body, "x");
    }

    #[test]
    fn text_outside_of_variables_is_untouched() {
        assert_eq!(body("a\n{# nota #}b\r\n\n", &json!({})), "a\nb\r\n\n");
        assert_eq!(body("{% raw %}{{ Nombre }}{% endraw %}", &json!({})), "{{ Nombre }}");
        assert_eq!(body("{{ \"Él\" }} {{ 1e2 }} {{ 0xFF }} {{ 1.5 }}", &json!({})), "Él 100.0 255 1.5");
    }

    #[test]
    fn numbers_and_booleans_are_text_to_read_and_themselves_to_test() {
        let values = || json!({"km": 45000, "precio": 12.5, "garantia": false, "vip": true, "nota": null});
        assert_eq!(body("{{ km }} {{ precio }} {{ garantia }} {{ vip }}", &values()), "45000 12.5 false true");
        assert_eq!(body("{% if garantia %}sí{% else %}no{% endif %}{% if km > 40000 %}!{% endif %}", &values()), "no!");
        assert_eq!(compile("{{ nota }}").missing(&context(&values())), ["nota"]);
        let read = context(&values());
        assert_eq!(
            (read.get("KM"), read.get("Garantía"), read.get("nota")),
            (Some("45000".into()), Some("false".into()), None)
        );
    }

    #[test]
    fn missing_names_all_at_once_and_only_what_is_needed() {
        let cases: &[(&str, serde_json::Value, &[&str])] = &[
            ("{{ Nombre }} {{ Hora }} {{ Fecha }}", json!({}), &["nombre", "hora", "fecha"]),
            ("{{ Nombre }} {{ Hora }} {{ Fecha }}", json!({"hora": ""}), &["nombre", "fecha"]),
            ("{% if Orden %}{{ Orden }}{% endif %}", json!({}), &[]),
            ("{% if Orden %}{{ Orden }} {{ Técnico }}{% endif %}", json!({}), &[]),
            ("{% if Orden %}{{ Orden }} {{ Técnico }}{% endif %}", json!({"orden": "1"}), &["tecnico"]),
            ("{% if Orden %}a{% elif Hora %}b{% else %}{{ Fecha }}{% endif %}", json!({}), &["fecha"]),
            ("{{ Orden|default(\"sin orden\") }}{{ Hora if Hora }}", json!({}), &[]),
            ("{{ Orden is defined }}{{ not Hora }}{{ Fecha and Fase }}", json!({"fecha": "x"}), &["fase"]),
            ("{{ Orden|upper ~ Hora }}", json!({}), &["orden", "hora"]),
            ("{{ Orden ~ (Hora if Fecha) }}", json!({}), &["orden"]),
            ("{{ Orden ~ (Hora|default(\"\")) }}", json!({}), &["orden"]),
            ("{{ Orden }}{{ Hora ~ (Fecha if Fase) }}", json!({"fase": "x"}), &["orden", "hora", "fecha"]),
            ("{% set Orden = Hora|default(\"ya\") %}{{ Orden }}", json!({}), &[]),
            ("{% set Hora = Hora %}{{ Hora }}", json!({}), &["hora"]),
            ("{% for x in [Hora, Fecha] %}{{ x }}{% endfor %}", json!({}), &["hora", "fecha"]),
            ("{{ Cliente }}{{ Kilometraje|int + 1 }}", json!({}), &["cliente", "kilometraje"]),
            ("{% for x in Nombre %}{% endfor %}{{ Hora }}", json!({}), &["nombre", "hora"]),
        ];
        for (template, values, expected) in cases {
            assert_eq!(compile(template).missing(&context(values)), *expected, "{template} with {values}");
        }
    }

    #[test]
    fn missing_looks_into_both_texts_in_order() {
        let template = CompiledTemplate::compile("{{ Placa }} {{ Hora }}", "{{ Nombre }} {{ Placa }}", false).unwrap();
        assert_eq!(template.missing(&Context::empty(false)), ["placa", "hora", "nombre"]);
        let error = template.render(&context(&json!({"hora": "8"}))).unwrap_err();
        assert_eq!(error.to_string(), "subject, línea 1: Faltan valores en `context`: Placa, Nombre.");
    }

    /// S002-44: the front end prints them.
    #[test]
    fn variables_are_listed_as_they_stand_in_the_text() {
        let template =
            compile("{{ vehiculo }}{% if ORDEN %}{{ orden }}{% endif %}{{ Número_de_guía }}{% set x = Hora %}{{ x }}");
        let list: Vec<_> = template.variables().iter().map(|v| (v.id.as_str(), v.label.as_str())).collect();
        assert_eq!(
            list,
            [("vehiculo", "vehiculo"), ("orden", "ORDEN"), ("numero_de_guia", "Número_de_guía"), ("hora", "Hora"),]
        );
    }

    #[test]
    fn html_bodies_escape_values_and_nothing_else_does() {
        let values = || context(&json!({"nombre": "<b>\"O'Hara\" & Cía</b> 1/2"}));
        let html = CompiledTemplate::compile("Hola {{ Nombre }}", "<p>{{ Nombre }}</p>", false).unwrap();
        let rendered = html.render(&values()).unwrap();
        assert_eq!(rendered.subject, "Hola <b>\"O'Hara\" & Cía</b> 1/2");
        assert_eq!(rendered.body, "<p>&lt;b&gt;&quot;O&#x27;Hara&quot; &amp; Cía&lt;/b&gt; 1/2</p>");
        assert!(rendered.html);
        let plain = compile("Hola {{ Nombre }}").render(&values()).unwrap();
        assert_eq!(plain.body, "Hola <b>\"O'Hara\" & Cía</b> 1/2");
        assert!(!plain.html, "a value does not make a body HTML");
        for markup in ["<p>{{ Nombre|safe }}</p>", "<p>{% autoescape false %}{{ Nombre }}{% endautoescape %}</p>"] {
            refusal(markup);
        }
    }

    #[test]
    fn a_subject_is_one_line_of_bounded_length() {
        let template = CompiledTemplate::compile(" {{ Nombre }} ", "", false).unwrap();
        let subject = |name: &str| template.render(&Context::empty(false).with("nombre", name)).map(|r| r.subject);
        assert_eq!(subject("Ana\r\nBcc: todos\n\tx\u{0}y").unwrap(), "Ana Bcc: todos  x y");
        assert_eq!(subject(&"ñ".repeat(200)).unwrap().chars().count(), 200);
        let error = subject(&"ñ".repeat(201)).unwrap_err();
        assert_eq!(error.to_string(), "subject: El texto terminado tiene 201 caracteres: acórtelo a 200.");
    }

    #[test]
    fn a_body_is_text_of_bounded_length() {
        assert_eq!(body("a{{ \"\\x00\\x1b\" }}b\r\n\tc", &json!({})), "ab\r\n\tc");
        let long = "x".repeat(10_000);
        assert_eq!(body(&"{{ x }}".repeat(10), &json!({"x": long})).len(), 100_000);
        let error = compile(&"{{ x }}".repeat(11)).render(&context(&json!({"x": long}))).unwrap_err();
        assert_eq!(error.to_string(), "body: El texto terminado tiene 110000 bytes: acórtelo a 102400.");
    }

    #[test]
    fn mistakes_are_named_with_their_part_their_line_and_a_remedy() {
        let error = CompiledTemplate::compile("{{ Hora|mayusculas }}", "", false).unwrap_err();
        assert_eq!((error.part, error.line), (Part::Subject, Some(1)));
        let cases = [
            (
                "\n\n{{ Nombre \"x\" }}",
                "body, línea 3: No se entiende: hay un texto entre comillas donde se espera `}}`.",
            ),
            ("{{ Nombre ~ }}", "body, línea 1: No se entiende: hay `}}` donde se espera una expresión."),
            ("{% if %}x{% endif %}", "body, línea 1: No se entiende: hay `%}` donde se espera una expresión."),
            (
                "{{ \"\\u12\" }}",
                "body, línea 1: Un texto entre comillas tiene una secuencia con `\\` que no existe: quite la `\\`.",
            ),
            ("a\n{% if Orden %}x", "body, línea 2: `{% if %}` no se cierra: escriba después `{% endif %}`."),
        ];
        for (template, message) in cases {
            assert_eq!(refusal(template).to_string(), message);
        }
        let error = compile("a\n{{ Nombre - 1 }}").render(&sample_context(false)).unwrap_err();
        assert_eq!((error.part, error.line), (Part::Body, Some(2)));
        let error = compile("{% for x in [1] %}{% endfor %}{{ x }}").render(&sample_context(false)).unwrap_err();
        assert!(error.problem.to_string().starts_with("Usa un valor que no existe"), "{error}");
    }

    /// Compiles and renders on a stack half the size of a server's: what would overflow one ends the test here.
    fn survive(texts: Vec<String>) {
        let work = move || {
            for text in texts {
                if let Ok(template) = CompiledTemplate::compile("", &text, false) {
                    let _ = template.render(&sample_context(false));
                }
            }
        };
        let thread = std::thread::Builder::new().stack_size(1024 * 1024).spawn(work).expect("a thread");
        thread.join().expect("no panic");
    }

    fn nested(before: &str, middle: &str, after: &str, times: usize) -> String {
        format!("{}{middle}{}", before.repeat(times), after.repeat(times))
    }

    #[test]
    fn nested_tags_do_not_overflow_the_stack() {
        for (before, middle, after) in [
            ("{% if hora %}", "x", "{% endif %}"),
            ("{% for x in [1] %}", "x", "{% endfor %}"),
            ("{% set x %}", "x", "{% endset %}"),
            ("{% set x|replace(\"a\", \"b\", count=1) %}", "x", "{% endset %}"),
            ("{% with x = x ~ 1 %}", "{{ x }}", "{% endwith %}"),
            ("{% if a %}1{% elif b %}", "2", ""),
            ("{% set x = x ~ 1 %}", "{{ x }}", ""),
        ] {
            assert!(CompiledTemplate::compile("", &nested(before, middle, after, 10_000), false).is_err());
            let most = 60_000 / (before.len() + after.len());
            assert!(CompiledTemplate::compile("", &nested(before, middle, after, most), false).is_err());
            survive([most, 199, 99, 10, 5].map(|times| nested(before, middle, after, times)).into());
        }
    }

    #[test]
    fn nested_expressions_do_not_overflow_the_stack() {
        for (before, middle, after) in [
            ("(", "1", ")"),
            ("[", "1", "]"),
            ("{", "1", "}"),
            ("not ", "1", ""),
            ("- ", "1", ""),
            ("a and ", "1", ""),
            ("1 in ", "a", ""),
            ("1 ** ", "2", ""),
            ("\"a\" ~ ", "a", ""),
            ("(1, ", "1", ")"),
            ("", "a", "|upper"),
            ("", "a", "[0]"),
            ("", "a", " is none"),
            ("", "a", " if b else c"),
            ("", "\"a\"", "\"a\""),
        ] {
            for (opener, closer) in [("{{ ", " }}"), ("{% if ", " %}{% endif %}"), ("{% set x = ", " %}{{ x }}")] {
                let text = |times| format!("{opener}{}{closer}", nested(before, middle, after, times));
                assert!(CompiledTemplate::compile("", &text(10_000), false).is_err(), "{}", text(3));
                survive([98, 48, 32, 24, 19, 9].map(text).into());
            }
        }
    }

    #[test]
    fn a_render_has_a_budget() {
        let ones = "1,".repeat(40);
        let loops = nested(&format!("{{% for x in [{ones}] %}}"), "x", "{% endfor %}", 4);
        assert_eq!(
            refusal(&loops).problem.to_string(),
            "Exige más trabajo del que un mensaje puede costar: acorte sus `{% for %}`."
        );
        for bomb in [
            "{{ \"x\" * 99999999 }}",
            "{{ Nombre * 99999999 }}",
            "{{ Nombre|replace(\"\", Nombre * 9999) }}",
            &format!("{{% set x = Nombre %}}{}{{{{ x }}}}", "{% set x = x ~ x %}".repeat(60)),
        ] {
            let template = CompiledTemplate::compile("", bomb, false);
            assert!(template.and_then(|template| template.render(&sample_context(false))).is_err(), "{bomb}");
        }
    }

    /// Values alone make these fail: an answer blames them, and not the template that staff wrote (S002-1).
    #[test]
    fn values_that_a_text_cannot_take_are_not_the_templates_fault() {
        let blamed = |text: &str, x: &str| {
            let error = compile(text).render(&Context::empty(false).with("x", x)).expect_err(text);
            (error.by_values, error.problem.to_string())
        };
        let long = "x".repeat(10_000);
        assert_eq!(
            blamed(&"{{ x }}".repeat(150), &long),
            (true, "El texto terminado es demasiado largo: acorte los valores.".to_owned())
        );
        assert!(blamed(&"{{ x }}".repeat(11), &long).0);
        assert!(blamed("{{ x|replace(\"x\", x) }}", &long).0);
        assert!(blamed("{{ x|int + 1 }}", "mucho").0);
        assert!(!blamed("{{ x }}{{ \"a\" - 1 }}", "1").0, "no value could mend it");
    }

    /// What cannot be evaluated is told in the editor's language.
    #[test]
    fn no_complaint_is_in_english() {
        for text in [
            "{{ Nombre - 1 }}",
            "{{ Placa - Vieja }}",
            "{{ Nombre / Placa }}",
            "{{ -Nombre }}",
            "{{ Nombre|round }}",
            "{{ Nombre|abs }}",
            "{{ Nombre|int }}",
            "{{ Nombre|replace }}",
            "{{ Nombre|upper(1, 2) }}",
            "{% for a, b in [Nombre] %}{% endfor %}",
            "{{ Nombre is divisibleby }}",
            "{{ Nombre Placa }}",
            "{% if Nombre Placa %}{% endif %}",
            "{% for in %}{% endfor %}",
            "{% set = 1 %}",
            "{% set loop = 1 %}",
            "{{ 1__0 }}",
            "{{ 99999999999999999999999999999999999999999999 }}",
            "{{ 1e }}",
            "{{ }}",
            "{{ Nombre. }}",
            "{{ \"\\x\" }}",
        ] {
            let compiled = CompiledTemplate::compile("", text, false);
            let values = sample_context(false).with("vieja", "x");
            let problem = match compiled.map(|compiled| compiled.render(&values)) {
                Err(error) | Ok(Err(error)) => error.problem.to_string(),
                Ok(Ok(_)) => continue,
            };
            let words: Vec<&str> = problem.split(|c: char| !c.is_alphabetic()).collect();
            let english =
                ["the", "unexpected", "expected", "invalid", "cannot", "undefined", "tried", "argument", "not", "end"];
            assert!(!words.iter().any(|word| english.contains(word)), "{text}: {problem}");
        }
    }

    /// Comments and style sheets of Django's templates, through the engine.
    #[test]
    fn djangos_texts_are_rendered() {
        let css = "<style>@media screen{#wrap{width:100%}#foot{color:#fff}}</style>";
        assert_eq!(body(css, &json!({})), css);
        let text = "a{% comment \"nota\" %}\n{{ Hora }} #}\n{% endcomment %}b{% verbatim %}{{ x }}{% endverbatim %}";
        assert_eq!(body(text, &json!({})), "ab{{ x }}");
        assert_eq!(body("{{ Nombre|default:\"cliente\"|upper }}", &json!({"nombre": ""})), "CLIENTE");
        assert_eq!(body("{{ Nombre|default:\"cliente\" }}", &json!({})), "cliente");
        let error =
            compile("{% comment %}\n\n{% endcomment %}\n{{ Nombre - 1 }}").render(&sample_context(false)).unwrap_err();
        assert_eq!(error.line, Some(4), "lines keep their numbers");
    }

    #[test]
    fn a_template_serves_all_threads() {
        fn shared<T: Send + Sync + 'static>() {}
        shared::<CompiledTemplate>();
        shared::<Context>();
    }

    #[test]
    fn errors_and_logs_tell_no_values() {
        let context = context(&json!({"nombre": "María", "placa": "ABC123"}));
        assert_eq!(format!("{context:?}"), "[\"nombre\", \"placa\"]");
    }

    const PIECES: &str = "{{¦}}¦{%¦%}¦{#¦#}¦-¦+¦(¦)¦[¦]¦|¦.¦,¦=¦==¦~¦*¦**¦/¦//¦%¦<¦ ¦\n¦\"¦'¦\\¦1¦1e9¦0¦9223372036854775807¦\"x\"¦if ¦\
        endif¦for ¦in ¦endfor¦set ¦endset¦with ¦endwith¦filter ¦endfilter¦raw¦endraw¦is ¦not ¦and ¦or ¦else ¦elif ¦none ¦loop¦\
        loop.index¦Nombre¦Técnico¦x¦upper¦round¦int¦abs¦first¦last¦default(1)¦replace(\"a\",x)¦<p>¦é¦e\u{301}¦{{ Nombre }}¦{{ x|¦\
        {% if x %}¦{% else %}¦{% endif %}¦{% for x in [1, Nombre] %}¦{% endfor %}¦{% set x = ¦ %}¦ }}";

    /// Pieces that often stand in templates, and often do not stand there rightly.
    fn pieces() -> impl Strategy<Value = String> {
        let pieces: Vec<&str> = PIECES.split('¦').collect();
        let piece = proptest::sample::select(pieces);
        proptest::collection::vec(piece, 0..40).prop_map(|pieces| pieces.concat())
    }

    fn values() -> impl Strategy<Value = Map<String, serde_json::Value>> {
        let value = prop_oneof![
            any::<bool>().prop_map(serde_json::Value::from),
            any::<i64>().prop_map(serde_json::Value::from),
            any::<f64>().prop_map(serde_json::Value::from),
            "[ -~áéñ\n]{0,20}".prop_map(serde_json::Value::from),
        ];
        proptest::collection::btree_map(proptest::sample::select(vec!["nombre", "tecnico", "x", "y"]), value, 0..4)
            .prop_map(|map| map.into_iter().map(|(key, value)| (key.to_owned(), value)).collect())
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(1_000))]

        #[test]
        fn nothing_makes_it_panic(subject in ".*", text in pieces(), values in values(), strict_case: bool) {
            let context = Context::new(&values, strict_case).expect("a good context");
            for (subject, body) in [(subject.as_str(), text.as_str()), (text.as_str(), subject.as_str())] {
                if let Ok(template) = CompiledTemplate::compile(subject, body, strict_case) {
                    let missing = template.missing(&context);
                    let rendered = template.render(&context);
                    prop_assert!(missing.is_empty() || rendered.is_err());
                }
            }
        }

        #[test]
        fn what_is_missing_is_all_that_is_missing(text in pieces(), values in values()) {
            if let Ok(template) = CompiledTemplate::compile("", &text, false) {
                let mut context = Context::new(&values, false).expect("a good context");
                for name in template.missing(&context) {
                    prop_assert_eq!(context.get(&name), None);
                    context = context.with(&name, placeholder(&name));
                }
                prop_assert_eq!(template.missing(&context), Vec::<String>::new());
            }
        }

        #[test]
        fn values_are_never_evaluated(before in "[{}%# a-z\"]{0,10}", after in "[{}%# a-z\"]{0,10}") {
            let hostile = format!("{before}{{{{ otro }}}}{{% if x %}}{after}");
            let context = Context::empty(false).with("nombre", &hostile).with("otro", "EVALUATED");
            prop_assert_eq!(compile("¡{{ Nombre }}!").render(&context).unwrap().body, format!("¡{hostile}!"));
        }

        #[test]
        fn values_never_become_markup(value in "[<>&\"'a-z/= ]{0,30}") {
            let context = Context::empty(false).with("nombre", &value);
            let html = compile("<p>{{ Nombre }}{{ Nombre|upper }}{{ Nombre ~ \"\" }}{{ Nombre|replace(\"a\", \"b\") }}</p>");
            let body = html.render(&context).unwrap().body;
            let inside = &body["<p>".len()..body.len() - "</p>".len()];
            prop_assert!(!inside.contains(['<', '>', '"', '\'']), "{}", inside);
        }
    }
}
