//! One tag of a template, `{{ … }}` or `{% … %}`: its tokens, what each is for, and what is refused.

use std::borrow::Cow;

use recado_kernel::language::Sentence;
use unicode_normalization::char::is_combining_mark;

use super::django::{self, Remedy};
use super::error::Flaw;

/// The filters that a template may use. None of them makes a list.
pub const FILTERS: &[&str] = &[
    "abs",
    "capitalize",
    "d",
    "default",
    "e",
    "escape",
    "first",
    "float",
    "int",
    "last",
    "length",
    "lower",
    "replace",
    "round",
    "string",
    "title",
    "trim",
    "upper",
];

/// The tests after `is`.
const TESTS: &[&str] = &[
    "boolean",
    "defined",
    "divisibleby",
    "endingwith",
    "eq",
    "equalto",
    "even",
    "false",
    "ge",
    "greaterthan",
    "gt",
    "in",
    "integer",
    "le",
    "lessthan",
    "lower",
    "lt",
    "ne",
    "none",
    "number",
    "odd",
    "startingwith",
    "string",
    "true",
    "undefined",
    "upper",
];

/// The keywords of expressions: no variable can have such a name.
pub(super) const KEYWORDS: &[&str] = &[
    "and",
    "or",
    "not",
    "in",
    "is",
    "if",
    "else",
    "true",
    "false",
    "none",
    "True",
    "False",
    "None",
    "loop",
    "self",
    "recursive",
];

/// Most tokens in one tag: an expression nests at most as deep as it is long.
const MOST_TOKENS: usize = 100;
/// Deepest nesting of brackets, and of tags.
pub(super) const DEEPEST: usize = 10;

/// A tag, from its opening to its closing braces.
pub(super) struct Tag<'s> {
    text: &'s str,
    start: usize,
    pub(super) opener: &'s str,
    pub(super) tokens: Vec<Token<'s>>,
    /// Between the last token and the closing braces.
    pub(super) space: &'s str,
    pub(super) closer: &'s str,
    pub(super) end: usize,
}

/// A token of a tag, and the space before it.
pub(super) struct Token<'s> {
    pub(super) space: &'s str,
    pub(super) text: &'s str,
    pub(super) kind: Kind,
    /// How many brackets are open around it.
    pub(super) depth: usize,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Name,
    Number,
    Text,
    Sign,
}

/// What a token is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    Statement,
    Filter,
    Test,
    Attribute,
    /// The name of an argument, as in `replace(count=1)`.
    Argument,
    /// A name that gets a value in this tag.
    Target,
    Variable,
    /// Everything that stays as it is.
    Plain,
}

impl<'s> Tag<'s> {
    pub(super) fn lex(text: &'s str, start: usize) -> Result<Self, Flaw> {
        let opener = with_sign(&text[start..], &text[start..start + 2]);
        let braces = if opener.starts_with("{{") { "}}" } else { "%}" };
        let mut tag = Self { text, start, opener, tokens: Vec::new(), space: "", closer: "", end: 0 };
        let mut at = start + opener.len();
        let mut depth = 0;
        loop {
            let rest = &text[at..];
            let space = &rest[..rest.len() - rest.trim_start().len()];
            let rest = &rest[space.len()..];
            at += space.len();
            let closer = if depth == 0 { closer(rest, braces) } else { None };
            if let Some(closer) = closer {
                return Ok(Self { space, closer, end: at + closer.len(), ..tag });
            }
            let (kind, length) = tag.token(rest, braces)?;
            let token = &rest[..length];
            depth = tag.depth_after(depth, token)?;
            tag.tokens.push(Token { space, text: token, kind, depth });
            if tag.tokens.len() > MOST_TOKENS {
                return tag.flaw(
                    format!("La etiqueta tiene más de {MOST_TOKENS} palabras y signos: divídala."),
                    format!("The tag has more than {MOST_TOKENS} words and signs: divide it."),
                );
            }
            at += length;
        }
    }

    /// The kind and the length of the token at the start of `rest`.
    fn token(&self, rest: &str, braces: &str) -> Result<(Kind, usize), Flaw> {
        let opener = self.opener;
        let Some(first) = rest.chars().next() else {
            return self.flaw(
                format!("`{opener}` no se cierra: escriba después `{braces}`."),
                format!("`{opener}` is not closed: write `{braces}` after it."),
            );
        };
        let until = |ends: fn(char) -> bool| rest.find(ends).unwrap_or(rest.len());
        match first {
            '"' | '\'' => match string_length(rest, first) {
                Some(length) => Ok((Kind::Text, length)),
                None => self.flaw(
                    format!("Un texto entre comillas no se cierra: escriba después `{first}`."),
                    format!("A text in quotes is not closed: write `{first}` after it."),
                ),
            },
            '0'..='9' => Ok((Kind::Number, until(|c| !c.is_ascii_digit() && c != '_'))),
            _ if first.is_alphabetic() || first == '_' => Ok((Kind::Name, until(|c| !continues_name(c)))),
            _ if ["//", "**", "==", "!=", ">=", "<="]
                .iter()
                .any(|sign| rest.starts_with(sign)) =>
            {
                Ok((Kind::Sign, 2))
            }
            '+' | '-' | '*' | '/' | '%' | '.' | ',' | '~' | '|' | '=' | '>' | '<' | '(' | ')' | '[' | ']' => {
                Ok((Kind::Sign, 1))
            }
            '{' | '}' => self.flaw(
                format!("`{opener}` no se cierra antes del siguiente `{first}`: escriba antes `{braces}`."),
                format!("`{opener}` is not closed before the next `{first}`: write `{braces}` before it."),
            ),
            ':' if self.follows_filter() => Ok((Kind::Sign, 1)),
            ':' => self.flaw(
                "`:` no significa nada en una etiqueta: los argumentos van entre paréntesis, como en `|default(\"…\")`.",
                "`:` means nothing in a tag: arguments go between parentheses, as in `|default(\"…\")`.",
            ),
            _ => {
                let code = u32::from(first);
                self.flaw(
                    format!("El carácter {first:?} (U+{code:04X}) no significa nada en una etiqueta: quítelo."),
                    format!("The character {first:?} (U+{code:04X}) means nothing in a tag: remove it."),
                )
            }
        }
    }

    /// Whether the last token is the name of a filter, after which Django writes a colon.
    fn follows_filter(&self) -> bool {
        matches!(self.tokens.as_slice(), [.., pipe, name] if pipe.text == "|" && name.kind == Kind::Name)
    }

    /// Whether the tag is a variable and nothing else.
    pub(super) fn is_plain(&self) -> bool {
        self.opener.starts_with("{{") && matches!(self.tokens.as_slice(), [name] if name.kind == Kind::Name)
    }

    fn depth_after(&self, depth: usize, token: &str) -> Result<usize, Flaw> {
        match token {
            "(" | "[" if depth == DEEPEST => self.flaw(
                format!("Hay más de {DEEPEST} paréntesis uno dentro de otro: quite algunos."),
                format!("There are more than {DEEPEST} parentheses within each other: remove some."),
            ),
            "(" | "[" => Ok(depth + 1),
            ")" | "]" if depth == 0 => self
                .flaw(format!("`{token}` no cierra nada: quítelo."), format!("`{token}` closes nothing: remove it.")),
            ")" | "]" => Ok(depth - 1),
            _ => Ok(depth),
        }
    }

    pub(super) fn line(&self) -> usize {
        line_at(self.text, self.start)
    }

    pub(super) fn keyword(&self) -> Option<&'s str> {
        self.opener.starts_with("{%").then(|| self.tokens.first().map_or("", |token| token.text))
    }

    fn text_at(&self, at: Option<usize>) -> &'s str {
        at.and_then(|at| self.tokens.get(at)).map_or("", |token| token.text)
    }

    /// What the token `at` is for, told by its neighbours.
    pub(super) fn role(&self, at: usize) -> Role {
        let token = &self.tokens[at];
        let before = self.text_at(at.checked_sub(1));
        let is_test = before == "is" || (before == "not" && self.text_at(at.checked_sub(2)) == "is");
        let keyword = self.keyword();
        match token.text {
            _ if token.kind != Kind::Name => Role::Plain,
            // The `e5` of `1e5`.
            _ if token.space.is_empty() && at > 0 && self.tokens[at - 1].kind == Kind::Number => Role::Plain,
            _ if at == 0 && keyword.is_some() => Role::Statement,
            _ if before == "|" || (at == 1 && keyword == Some("filter")) => Role::Filter,
            _ if before == "." => Role::Attribute,
            "not" => Role::Plain,
            _ if is_test => Role::Test,
            text if KEYWORDS.contains(&text) => Role::Plain,
            _ if token.depth > 0 && self.text_at(Some(at + 1)) == "=" => Role::Argument,
            _ if self.is_target(at) => Role::Target,
            _ => Role::Variable,
        }
    }

    /// Whether the name `at` gets a value here: `{% set x = … %}`, `{% for x, y in … %}`, `{% with x = …, y = … %}`.
    fn is_target(&self, at: usize) -> bool {
        let stands_before = |ends: &[&str]| !self.tokens[..at].iter().any(|token| ends.contains(&token.text));
        match self.keyword() {
            Some("set") => stands_before(&["=", "|"]),
            Some("for") => stands_before(&["in"]),
            Some("with") => self.tokens[at].depth == 0 && self.text_at(Some(at + 1)) == "=",
            _ => false,
        }
    }

    /// A flaw at this tag, in Spanish and in English.
    pub(super) fn flaw<T>(
        &self,
        spanish: impl Into<Cow<'static, str>>,
        english: impl Into<Cow<'static, str>>,
    ) -> Result<T, Flaw> {
        Err(Flaw { line: Some(self.line()), problem: Sentence::new(spanish, english) })
    }

    /// The same for a filter that only Django has.
    pub(super) fn django_filter_flaw<T>(&self, name: &str, (spanish, english): Remedy) -> Result<T, Flaw> {
        self.flaw(
            format!("`|{name}` es un filtro de Django que aquí no existe: {spanish}"),
            format!("`|{name}` is a filter of Django that does not exist here: {english}"),
        )
    }
}

/// Refuses names of filters, tests, attributes and functions that do not exist. The engine would notice only when it
/// comes to them, with a customer waiting.
pub(super) fn check_role(tag: &Tag, at: usize, role: Role) -> Result<(), Flaw> {
    let name = tag.tokens[at].text;
    let after = tag.text_at(Some(at + 1));
    match role {
        Role::Filter if !FILTERS.contains(&name) && django::filter_remedy(name).is_some() => {
            tag.django_filter_flaw(name, django::filter_remedy(name).unwrap_or_default())
        }
        Role::Filter if !FILTERS.contains(&name) || after == "." => {
            let known = FILTERS.join(", ");
            tag.flaw(
                format!("No existe el filtro `{name}`: use uno de {known}."),
                format!("There is no filter `{name}`: use one of {known}."),
            )
        }
        Role::Test if !TESTS.contains(&name) || after == "." => {
            let known = TESTS.join(", ");
            tag.flaw(
                format!("No existe la prueba `is {name}`: use una de {known}."),
                format!("There is no test `is {name}`: use one of {known}."),
            )
        }
        Role::Attribute if tag.text_at(at.checked_sub(2)) == "forloop" => {
            let ours = match name {
                "counter" => "loop.index",
                "counter0" => "loop.index0",
                "revcounter" => "loop.revindex",
                "revcounter0" => "loop.revindex0",
                "first" => "loop.first",
                "last" => "loop.last",
                _ => {
                    return tag.flaw(
                        format!("`forloop.{name}` es de Django y aquí no existe: quítelo."),
                        format!("`forloop.{name}` is of Django and does not exist here: remove it."),
                    );
                }
            };
            tag.flaw(
                format!("`forloop.{name}` es de Django: escriba `{ours}`."),
                format!("`forloop.{name}` is of Django: write `{ours}`."),
            )
        }
        Role::Attribute if tag.text_at(at.checked_sub(2)) != "loop" => tag.flaw(
            format!(
                "`.{name}`: un valor es un solo texto y no tiene partes. Use otra variable, o un filtro como en `|upper`."
            ),
            format!("`.{name}`: a value is one text and has no parts. Use another variable, or a filter as in `|upper`."),
        ),
        Role::Variable if after == "(" => tag.flaw(
            format!("No existe la función `{name}`: use una variable, o un filtro como en `|upper`."),
            format!("There is no function `{name}`: use a variable, or a filter as in `|upper`."),
        ),
        Role::Plain if (name == "loop" && after == "(") || name == "recursive" => tag.flaw(
            "Un `for` no puede llamarse a sí mismo: escriba uno dentro del otro.",
            "A `for` cannot call itself: write one within the other.",
        ),
        _ => Ok(()),
    }
}

/// Refuses names with a hyphen or a blank in them, which would be a calculation or nothing at all.
pub(super) fn check_names(tag: &Tag) -> Result<(), Flaw> {
    let is_name = |at: usize| matches!(tag.role(at), Role::Variable) && tag.tokens[at].kind == Kind::Name;
    for at in 1..tag.tokens.len() {
        let (before, token) = (&tag.tokens[at - 1], &tag.tokens[at]);
        let is_variable = tag.opener.starts_with("{{");
        if is_variable && is_name(at - 1) && is_name(at) {
            let (one, other) = (before.text, token.text);
            return tag.flaw(
                format!(
                    "`{one} {other}`: el nombre de una variable no lleva espacios. Escriba `{one}_{other}`, y llame así al valor en \
                     `context`."
                ),
                format!(
                    "`{one} {other}`: the name of a variable has no spaces. Write `{one}_{other}`, and give the value in `context` \
                     that name."
                ),
            );
        }
        let next = tag.tokens.get(at + 1).filter(|next| next.kind == Kind::Name && next.space.is_empty());
        if token.text == "-" && token.space.is_empty() && is_name(at - 1) && next.is_some() && is_name(at + 1) {
            let (one, other) = (before.text, tag.text_at(Some(at + 1)));
            return tag.flaw(
                format!(
                    "`{one}-{other}`: el nombre de una variable no lleva guion. Escriba `{one}_{other}`, y llame así al valor en \
                     `context`; si es una resta, `{one} - {other}`."
                ),
                format!(
                    "`{one}-{other}`: the name of a variable has no hyphen. Write `{one}_{other}`, and give the value in `context` \
                     that name; if it is a subtraction, `{one} - {other}`."
                ),
            );
        }
    }
    Ok(())
}

/// Refuses lists, but for a plain one after `in`: `{% for x in ["a", "b"] %}`, `{% if Fase in ["Entrega"] %}`.
///
/// The engine's budget does not see all that a list costs. Twenty times `{% set x = x + x %}` makes one that takes a
/// minute to print, and `{% set x = [x] %}` one so deep that dropping it would end the process.
pub(super) fn check_lists(tag: &Tag) -> Result<(), Flaw> {
    let mut open = Vec::new();
    for (at, token) in tag.tokens.iter().enumerate() {
        let before = at.checked_sub(1);
        let is_call = || before.is_some_and(|at| matches!(tag.role(at), Role::Filter | Role::Test | Role::Attribute));
        let ends_well = || tag.tokens.get(at + 1).is_none_or(|next| next.kind == Kind::Name || next.text == ")");
        match token.text {
            "(" if is_call() => open.push(Bracket::Call),
            "(" => open.push(Bracket::Group),
            "[" if tag.text_at(before) == "in" && !open.contains(&Bracket::List) => open.push(Bracket::List),
            ")" => drop(open.pop()),
            "]" if ends_well() => drop(open.pop()),
            "," if matches!(open.last(), Some(Bracket::Call | Bracket::List)) => {}
            "," if open.is_empty() && tag.keyword() == Some("with") => {}
            sign @ ("," | "[" | "]") => {
                return tag.flaw(
                    format!("`{sign}`: una lista solo puede estar sola después de `in`, como en `in [\"a\", \"b\"]`."),
                    format!("`{sign}`: a list may only stand alone after `in`, as in `in [\"a\", \"b\"]`."),
                );
            }
            _ => {}
        }
    }
    Ok(())
}

#[derive(PartialEq, Eq)]
enum Bracket {
    Call,
    Group,
    List,
}

pub(super) fn line_at(text: &str, at: usize) -> usize {
    text[..at].matches('\n').count() + 1
}

/// The marker with the `-` or `+` that may follow it.
pub(super) fn with_sign<'s>(rest: &'s str, marker: &str) -> &'s str {
    let signed = rest[marker.len()..].starts_with(['-', '+']);
    &rest[..marker.len() + usize::from(signed)]
}

/// The closing braces at the start of `rest`, with their sign.
pub(super) fn closer<'s>(rest: &'s str, braces: &str) -> Option<&'s str> {
    let sign = usize::from(rest.starts_with(['-', '+']));
    rest[sign..].starts_with(braces).then(|| &rest[..sign + braces.len()])
}

/// The length of a text in quotes, quotes included.
fn string_length(rest: &str, quote: char) -> Option<usize> {
    let mut escaped = false;
    rest.char_indices().skip(1).find_map(|(at, c)| {
        let ends = c == quote && !escaped;
        escaped = c == '\\' && !escaped;
        ends.then_some(at + 1)
    })
}

fn continues_name(c: char) -> bool {
    c.is_alphanumeric() || c == '_' || is_combining_mark(c)
}
