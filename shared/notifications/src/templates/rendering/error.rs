//! What is wrong with a template, for the editor who wrote it: the part, the line and the remedy.

use std::fmt;

use minijinja::{Error, ErrorKind};
use recado_kernel::language::{Language, Sentence};

/// Which text of a template is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    Subject,
    Body,
}

impl Part {
    /// The field's name in requests and answers.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Subject => "subject",
            Self::Body => "body",
        }
    }
}

/// What is wrong with a template, or with what it made of a context.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct TemplateError {
    pub part: Part,
    /// The line in that part, counted from 1, where one is to blame.
    pub line: Option<usize>,
    /// What is wrong and what to do, without the place.
    pub problem: Sentence,
    /// It is the doing of the values, and not of the template: the finished text is too long, or a value is no number.
    pub by_values: bool,
}

impl TemplateError {
    /// The problem for an answer that names the part itself: `Línea 2: …`.
    pub fn explanation(&self) -> Sentence {
        match self.line {
            Some(line) => self.problem.map(|language, problem| {
                let at = language.pick("Línea", "Line");
                format!("{at} {line}: {problem}")
            }),
            None => self.problem.clone(),
        }
    }

    /// The problem for a sentence that does not name the part: `body, línea 2: …`.
    pub fn with_place(&self) -> Sentence {
        let part = self.part.as_str();
        self.problem.map(|language, problem| match self.line {
            Some(line) => format!("{part}, {} {line}: {problem}", language.pick("línea", "line")),
            None => format!("{part}: {problem}"),
        })
    }
}

impl fmt::Display for TemplateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.with_place().fmt(f)
    }
}

/// What is wrong with one text, before it is known which part of a template it is.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Flaw {
    pub(super) line: Option<usize>,
    pub(super) problem: Sentence,
}

/// The engine's error as an editor reads it.
pub(super) fn blame(part: Part, error: &Error) -> TemplateError {
    let detail = error.detail().unwrap_or_default();
    let problem = match error.kind() {
        ErrorKind::OutOfFuel => Sentence::new(
            "Exige más trabajo del que un mensaje puede costar: acorte sus `{% for %}`.",
            "It asks for more work than a message may cost: shorten its `{% for %}`.",
        ),
        ErrorKind::UndefinedError => Sentence::new(
            "Usa un valor que no existe: póngalo dentro de un `{% if … %}` o dele un `|default(\"…\")`.",
            "It uses a value that does not exist: put it into an `{% if … %}`, or give it a `|default(\"…\")`.",
        ),
        ErrorKind::SyntaxError => syntax_problem(detail),
        ErrorKind::InvalidOperation => operation_problem(detail),
        ErrorKind::BadEscape => Sentence::new(
            "Un texto entre comillas tiene una secuencia con `\\` que no existe: quite la `\\`.",
            "A text in quotes has a sequence with `\\` that does not exist: remove the `\\`.",
        ),
        ErrorKind::MissingArgument => Sentence::new(
            "A un filtro le falta lo que va entre sus paréntesis.",
            "A filter lacks what goes between its parentheses.",
        ),
        ErrorKind::TooManyArguments => Sentence::new(
            "Un filtro tiene más entre sus paréntesis de lo que entiende.",
            "A filter has more between its parentheses than it understands.",
        ),
        ErrorKind::CannotUnpack => Sentence::new(
            "Un `{% for %}` o `{% set %}` da varios nombres a un solo valor: use uno.",
            "A `{% for %}` or `{% set %}` gives several names to one value: use one.",
        ),
        // The engine says nothing that an editor could use.
        _ => Sentence::new("No se puede evaluar: simplifíquelo.", "It cannot be evaluated: make it simpler."),
    };
    TemplateError { part, line: error.line(), problem, by_values: false }
}

/// A calculation with something that cannot be calculated with.
fn operation_problem(detail: &str) -> Sentence {
    let signs = detail.strip_prefix("tried to use ").and_then(|rest| rest.split_once(' '));
    match signs {
        Some((sign, _)) => Sentence::new(
            format!("`{sign}` calcula, y uno de sus valores no es un número: use `|int` o `|float`, o quite el signo."),
            format!(
                "`{sign}` calculates, and one of its values is no number: use `|int` or `|float`, or remove the sign."
            ),
        ),
        None => Sentence::new(
            "Un filtro o un cálculo no entiende su valor: un número debe ser un número, y un texto, un texto.",
            "A filter or a calculation does not understand its value: a number must be a number, and a text a text.",
        ),
    }
}

/// The engine's `unexpected …, expected …` for people who write templates.
fn syntax_problem(detail: &str) -> Sentence {
    let Some(rest) = detail.strip_prefix("unexpected ") else {
        return Sentence::new("No se entiende: revise esta etiqueta.", "This is not understood: check this tag.");
    };
    let (found, expected) = rest.split_once(", expected ").unwrap_or((rest, "expression"));
    let (hay, se_espera) = (sign(found, Language::Spanish), sign(expected, Language::Spanish));
    let (found, expected) = (sign(found, Language::English), sign(expected, Language::English));
    Sentence::new(
        format!("No se entiende: hay {hay} donde se espera {se_espera}."),
        format!("This is not understood: there is {found} where {expected} is expected."),
    )
}

/// What the engine calls a thing in a tag, for people who write templates.
fn sign(thing: &str, language: Language) -> &str {
    let (spanish, english) = match thing {
        "identifier" => ("un nombre", "a name"),
        "string" => ("un texto entre comillas", "a text in quotes"),
        "integer" | "float" | "int" | "integer128" => ("un número", "a number"),
        "expression" => ("una expresión", "an expression"),
        "end of variable block" => ("`}}`", "`}}`"),
        "end of block" => ("`%}`", "`%}`"),
        "start of variable block" => ("`{{`", "`{{`"),
        "start of block" => ("`{%`", "`{%`"),
        "end of input" => ("el final del texto", "the end of the text"),
        "template data" => ("texto", "text"),
        "assignment operator" => ("`=`", "`=`"),
        sign if sign.starts_with('`') => (sign, sign),
        _ => ("otra cosa", "something else"),
    };
    language.pick(spanish, english)
}
