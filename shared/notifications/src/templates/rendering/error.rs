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
    /// The finished text is too long: the doing of the values, and not of the template.
    pub too_long: bool,
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
    let problem = match (error.kind(), error.detail()) {
        (ErrorKind::OutOfFuel, _) => {
            "Exige más trabajo del que un mensaje puede costar: acorte sus `{% for %}`.".to_owned()
        }
        (ErrorKind::UndefinedError, _) => {
            "Usa un valor que no existe: póngalo dentro de un `{% if … %}` o dele un `|default(\"…\")`.".to_owned()
        }
        (ErrorKind::SyntaxError, Some(detail)) => syntax_problem(detail),
        (kind, Some(detail)) => format!("No se puede evaluar ({kind}: {detail})."),
        (kind, None) => format!("No se puede evaluar ({kind})."),
    };
    TemplateError { part, line: error.line(), problem, too_long: false }
}

/// The engine's `unexpected …, expected …` for people who write templates.
fn syntax_problem(detail: &str) -> String {
    let said = |thing: &str| match thing {
        "identifier" => "un nombre".to_owned(),
        "string" => "un texto entre comillas".to_owned(),
        "integer" | "float" => "un número".to_owned(),
        "expression" => "una expresión".to_owned(),
        "end of variable block" => "`}}`".to_owned(),
        "end of block" => "`%}`".to_owned(),
        "assignment operator" => "`=`".to_owned(),
        sign => sign.to_owned(),
    };
    match detail.strip_prefix("unexpected ").map(|rest| rest.split_once(", expected ").unwrap_or((rest, "expression")))
    {
        Some((found, expected)) => format!("No se entiende: hay {} donde se espera {}.", said(found), said(expected)),
        None => format!("No se entiende ({detail})."),
    }
}
