//! What is wrong with a template, for the editor who wrote it: the part, the line and the remedy.

use std::fmt;

use minijinja::{Error, ErrorKind};

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
    pub problem: String,
    /// It is the doing of the values, and not of the template: the finished text is too long, or a value is no number.
    pub by_values: bool,
}

impl TemplateError {
    /// The problem for an answer that names the part itself: `Línea 2: …`.
    pub fn explanation(&self) -> String {
        match self.line {
            Some(line) => format!("Línea {line}: {}", self.problem),
            None => self.problem.clone(),
        }
    }
}

impl fmt::Display for TemplateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            Some(line) => write!(f, "{}, línea {line}: {}", self.part.as_str(), self.problem),
            None => write!(f, "{}: {}", self.part.as_str(), self.problem),
        }
    }
}

/// What is wrong with one text, before it is known which part of a template it is.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Flaw {
    pub(super) line: Option<usize>,
    pub(super) problem: String,
}

/// The engine's error as an editor reads it.
pub(super) fn blame(part: Part, error: &Error) -> TemplateError {
    let detail = error.detail().unwrap_or_default();
    let problem = match error.kind() {
        ErrorKind::OutOfFuel => "Exige más trabajo del que un mensaje puede costar: acorte sus `{% for %}`.".to_owned(),
        ErrorKind::UndefinedError => {
            "Usa un valor que no existe: póngalo dentro de un `{% if … %}` o dele un `|default(\"…\")`.".to_owned()
        }
        ErrorKind::SyntaxError => syntax_problem(detail),
        ErrorKind::InvalidOperation => operation_problem(detail),
        ErrorKind::BadEscape => {
            "Un texto entre comillas tiene una secuencia con `\\` que no existe: quite la `\\`.".to_owned()
        }
        ErrorKind::MissingArgument => "A un filtro le falta lo que va entre sus paréntesis.".to_owned(),
        ErrorKind::TooManyArguments => "Un filtro tiene más entre sus paréntesis de lo que entiende.".to_owned(),
        ErrorKind::CannotUnpack => {
            "Un `{% for %}` o `{% set %}` da varios nombres a un solo valor: use uno.".to_owned()
        }
        // The engine speaks English, and says nothing that an editor could use.
        _ => "No se puede evaluar: simplifíquelo.".to_owned(),
    };
    TemplateError { part, line: error.line(), problem, by_values: false }
}

/// A calculation with something that cannot be calculated with.
fn operation_problem(detail: &str) -> String {
    let signs = detail.strip_prefix("tried to use ").and_then(|rest| rest.split_once(' '));
    match signs {
        Some((sign, _)) => {
            format!("`{sign}` calcula, y uno de sus valores no es un número: use `|int` o `|float`, o quite el signo.")
        }
        None => "Un filtro o un cálculo no entiende su valor: un número debe ser un número, y un texto, un texto."
            .to_owned(),
    }
}

/// The engine's `unexpected …, expected …` for people who write templates.
fn syntax_problem(detail: &str) -> String {
    let said = |thing: &str| match thing {
        "identifier" => "un nombre".to_owned(),
        "string" => "un texto entre comillas".to_owned(),
        "integer" | "float" | "int" | "integer128" => "un número".to_owned(),
        "expression" => "una expresión".to_owned(),
        "end of variable block" => "`}}`".to_owned(),
        "end of block" => "`%}`".to_owned(),
        "start of variable block" => "`{{`".to_owned(),
        "start of block" => "`{%`".to_owned(),
        "end of input" => "el final del texto".to_owned(),
        "template data" => "texto".to_owned(),
        "assignment operator" => "`=`".to_owned(),
        sign if sign.starts_with('`') => sign.to_owned(),
        _ => "otra cosa".to_owned(),
    };
    match detail.strip_prefix("unexpected ").map(|rest| rest.split_once(", expected ").unwrap_or((rest, "expression")))
    {
        Some((found, expected)) => format!("No se entiende: hay {} donde se espera {}.", said(found), said(expected)),
        None => "No se entiende: revise esta etiqueta.".to_owned(),
    }
}
