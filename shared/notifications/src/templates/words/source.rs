//! The text of a template before the engine sees it: names are normalised, and what a message does not need is refused.
//!
//! The engine's parser calls itself for every operand and every nested tag; a text made for it, such as ten thousand
//! `not`, would end the process. So the limits are kept here, token by token, with the same rules for where a tag ends.

use std::collections::BTreeSet;

use unicode_normalization::UnicodeNormalization as _;
use unicode_normalization::char::is_combining_mark;

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

/// The tags `{% … %}`. `raw` is read before the others.
const STATEMENTS: &[&str] =
    &["if", "elif", "else", "endif", "for", "endfor", "set", "endset", "with", "endwith", "filter", "endfilter"];

/// The words of expressions: no variable can have such a name.
const WORDS: &[&str] = &[
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

/// Longest text, in bytes.
const LONGEST_SOURCE: usize = 64 * 1024;
/// Most different variables in one text: as many as a `context` may have.
const MOST_VARIABLES: usize = 100;
/// Most tags `{% … %}` in one text: a chain of `{% elif %}` nests as deep as it is long.
const MOST_STATEMENTS: usize = 200;
/// Most tokens in one tag: an expression nests at most as deep as it is long.
const MOST_TOKENS: usize = 100;
/// Deepest nesting of brackets, and of tags.
const DEEPEST: usize = 10;

/// A text that is ready for the engine.
#[derive(Debug)]
pub(super) struct Source {
    pub(super) text: String,
    /// The variables that it reads, in order: the normalised name, and the first spelling.
    pub(super) variables: Vec<(String, String)>,
}

/// What is wrong with a text, and where.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Flaw {
    pub(super) line: Option<usize>,
    pub(super) problem: String,
}

/// A name without case and accents: `Vehículo`, composed or not, becomes `vehiculo` (d10).
pub fn normalise(name: &str) -> String {
    if name.is_ascii() {
        return name.to_ascii_lowercase();
    }
    name.nfd().filter(|c| !is_combining_mark(*c)).flat_map(char::to_lowercase).collect()
}

/// The name under which a value is kept: [`normalise`]d, or only composed where case matters.
pub(super) fn spell(name: &str, strict_case: bool) -> String {
    if strict_case { name.nfc().collect() } else { normalise(name) }
}

/// Reads a text and rewrites the names of its variables. Outside of tags, in strings and in comments nothing changes.
pub(super) fn read(text: &str, strict_case: bool) -> Result<Source, Flaw> {
    check_text(text)?;
    let mut reader = Reader::new(text, strict_case);
    let mut at = 0;
    while let Some(start) = next_marker(text, at) {
        reader.out.push_str(&text[at..start]);
        at = match &text[start..start + 2] {
            "{#" => reader.copy(start, comment_end(text, start)?),
            _ => match raw_end(text, start)? {
                Some(end) => reader.copy(start, end),
                None => reader.tag(start)?,
            },
        };
    }
    reader.out.push_str(&text[at..]);
    reader.finish()
}

/// What has been read so far.
struct Reader<'s> {
    text: &'s str,
    strict_case: bool,
    out: String,
    variables: Vec<(String, String)>,
    /// Names that the template gives values to itself.
    assigned: BTreeSet<String>,
    statements: usize,
    /// The tags that wait for their end, and their lines.
    open: Vec<(&'s str, usize)>,
}

impl<'s> Reader<'s> {
    fn new(text: &'s str, strict_case: bool) -> Self {
        let out = String::with_capacity(text.len());
        Self {
            text,
            strict_case,
            out,
            variables: Vec::new(),
            assigned: BTreeSet::new(),
            statements: 0,
            open: Vec::new(),
        }
    }

    fn copy(&mut self, start: usize, end: usize) -> usize {
        self.out.push_str(&self.text[start..end]);
        end
    }

    /// Reads the tag at `start`, writes it with normalised names, and returns where it ends.
    fn tag(&mut self, start: usize) -> Result<usize, Flaw> {
        let tag = Tag::lex(self.text, start)?;
        self.check_statement(&tag)?;
        check_lists(&tag)?;
        self.out.push_str(tag.opener);
        let mut targets = Vec::new();
        for (at, token) in tag.tokens.iter().enumerate() {
            push_space(&mut self.out, token.space);
            let role = tag.role(at);
            check_role(&tag, at, role)?;
            match role {
                Role::Variable | Role::Target => {
                    let name = self.name(&tag, token)?;
                    self.out.push_str(&name);
                    match role {
                        Role::Target => targets.push(name),
                        _ => self.note(&tag, name, token.text)?,
                    }
                }
                _ => self.out.push_str(token.text),
            }
        }
        // Only now, so that the second name in `{% set fecha = fecha|default("hoy") %}` is the caller's.
        self.assigned.extend(targets);
        push_space(&mut self.out, tag.space);
        self.out.push_str(tag.closer);
        Ok(tag.end)
    }

    fn name(&self, tag: &Tag, token: &Token) -> Result<String, Flaw> {
        let name = spell(token.text, self.strict_case);
        if WORDS.contains(&name.as_str()) {
            let text = token.text;
            return tag.flaw(format!(
                "`{text}` se confunde con la palabra `{name}` del lenguaje: escriba `{name}` o cambie el nombre de la variable."
            ));
        }
        Ok(name)
    }

    fn note(&mut self, tag: &Tag, name: String, written: &str) -> Result<(), Flaw> {
        if self.assigned.contains(&name) || self.variables.iter().any(|(known, _)| *known == name) {
            return Ok(());
        }
        if self.variables.len() == MOST_VARIABLES {
            return tag.flaw(format!("Hay más de {MOST_VARIABLES} variables distintas: use menos."));
        }
        self.variables.push((name, written.nfc().collect()));
        Ok(())
    }

    /// Checks that a tag `{% … %}` exists and stands where it may.
    fn check_statement(&mut self, tag: &Tag<'s>) -> Result<(), Flaw> {
        let Some(keyword) = tag.keyword() else { return Ok(()) };
        if !STATEMENTS.contains(&keyword) {
            let known = "if, elif, else, for, set, with, filter, raw";
            return tag.flaw(format!("No existe la etiqueta `{{% {keyword} %}}`: use {known} y sus finales."));
        }
        self.statements += 1;
        if self.statements > MOST_STATEMENTS {
            return tag.flaw(format!("Hay más de {MOST_STATEMENTS} etiquetas `{{% … %}}`: use menos."));
        }
        let around = self.open.last().map(|(keyword, _)| *keyword);
        let sets_at_once = || tag.tokens.iter().any(|token| token.text == "=" && token.depth == 0);
        match keyword {
            "set" if sets_at_once() => {}
            "if" | "for" | "set" | "with" | "filter" => self.open.push((keyword, tag.line())),
            "elif" if around == Some("if") => {}
            "else" if matches!(around, Some("if" | "for")) => {}
            "elif" | "else" => {
                return tag.flaw(format!("`{{% {keyword} %}}` no está dentro de un `{{% if %}}`: quítelo."));
            }
            end => self.close(tag, end)?,
        }
        match self.open.len() > DEEPEST {
            true => tag.flaw(format!("Hay más de {DEEPEST} etiquetas una dentro de otra: quite algunas.")),
            false => Ok(()),
        }
    }

    fn close(&mut self, tag: &Tag, end: &str) -> Result<(), Flaw> {
        match self.open.pop() {
            Some((keyword, _)) if end.strip_prefix("end") == Some(keyword) => Ok(()),
            Some((keyword, line)) => tag.flaw(format!(
                "`{{% {end} %}}` no cierra el `{{% {keyword} %}}` de la línea {line}: escriba antes `{{% end{keyword} %}}`."
            )),
            None => tag.flaw(format!("`{{% {end} %}}` no cierra nada: quítelo.")),
        }
    }

    fn finish(mut self) -> Result<Source, Flaw> {
        match self.open.pop() {
            Some((keyword, line)) => {
                let problem = format!("`{{% {keyword} %}}` no se cierra: escriba después `{{% end{keyword} %}}`.");
                Err(Flaw { line: Some(line), problem })
            }
            None => Ok(Source { text: self.out, variables: self.variables }),
        }
    }
}

/// A tag, from its opening to its closing braces.
struct Tag<'s> {
    text: &'s str,
    start: usize,
    opener: &'s str,
    tokens: Vec<Token<'s>>,
    /// Between the last token and the closing braces.
    space: &'s str,
    closer: &'s str,
    end: usize,
}

/// A token of a tag, and the space before it.
struct Token<'s> {
    space: &'s str,
    text: &'s str,
    kind: Kind,
    /// How many brackets are open around it.
    depth: usize,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Name,
    Number,
    Text,
    Sign,
}

/// What a token is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Role {
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
    fn lex(text: &'s str, start: usize) -> Result<Self, Flaw> {
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
                return tag.flaw(format!("La etiqueta tiene más de {MOST_TOKENS} palabras y signos: divídala."));
            }
            at += length;
        }
    }

    /// The kind and the length of the token at the start of `rest`.
    fn token(&self, rest: &str, braces: &str) -> Result<(Kind, usize), Flaw> {
        let opener = self.opener;
        let Some(first) = rest.chars().next() else {
            return self.flaw(format!("`{opener}` no se cierra: escriba después `{braces}`."));
        };
        let until = |ends: fn(char) -> bool| rest.find(ends).unwrap_or(rest.len());
        match first {
            '"' | '\'' => match string_length(rest, first) {
                Some(length) => Ok((Kind::Text, length)),
                None => self.flaw(format!("Un texto entre comillas no se cierra: escriba después `{first}`.")),
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
            '{' | '}' => self.flaw(format!(
                "`{opener}` no se cierra antes del siguiente `{first}`: escriba antes `{braces}`."
            )),
            ':' => self.flaw(
                "`:` no significa nada en una etiqueta: los argumentos van entre paréntesis, como en `|default(\"…\")`.".to_owned(),
            ),
            _ => self.flaw(format!(
                "El carácter {first:?} (U+{:04X}) no significa nada en una etiqueta: quítelo.",
                u32::from(first)
            )),
        }
    }

    fn depth_after(&self, depth: usize, token: &str) -> Result<usize, Flaw> {
        match token {
            "(" | "[" if depth == DEEPEST => {
                self.flaw(format!("Hay más de {DEEPEST} paréntesis uno dentro de otro: quite algunos."))
            }
            "(" | "[" => Ok(depth + 1),
            ")" | "]" if depth == 0 => self.flaw(format!("`{token}` no cierra nada: quítelo.")),
            ")" | "]" => Ok(depth - 1),
            _ => Ok(depth),
        }
    }

    fn line(&self) -> usize {
        line_at(self.text, self.start)
    }

    fn keyword(&self) -> Option<&'s str> {
        self.opener.starts_with("{%").then(|| self.tokens.first().map_or("", |token| token.text))
    }

    fn text_at(&self, at: Option<usize>) -> &'s str {
        at.and_then(|at| self.tokens.get(at)).map_or("", |token| token.text)
    }

    /// What the token `at` is for, told by its neighbours.
    fn role(&self, at: usize) -> Role {
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
            text if WORDS.contains(&text) => Role::Plain,
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

    fn flaw<T>(&self, problem: String) -> Result<T, Flaw> {
        Err(Flaw { line: Some(self.line()), problem })
    }
}

/// Refuses names of filters, tests, attributes and functions that do not exist. The engine would notice only when it
/// comes to them, with a customer waiting.
fn check_role(tag: &Tag, at: usize, role: Role) -> Result<(), Flaw> {
    let name = tag.tokens[at].text;
    let after = tag.text_at(Some(at + 1));
    match role {
        Role::Filter if !FILTERS.contains(&name) || after == "." => {
            tag.flaw(format!("No existe el filtro `{name}`: use uno de {}.", FILTERS.join(", ")))
        }
        Role::Test if !TESTS.contains(&name) || after == "." => {
            tag.flaw(format!("No existe la prueba `is {name}`: use una de {}.", TESTS.join(", ")))
        }
        Role::Attribute if tag.text_at(at.checked_sub(2)) != "loop" => tag.flaw(format!(
            "`.{name}`: un valor es un solo texto y no tiene partes. Use otra variable, o un filtro como en `|upper`."
        )),
        Role::Variable if after == "(" => {
            tag.flaw(format!("No existe la función `{name}`: use una variable, o un filtro como en `|upper`."))
        }
        Role::Plain if (name == "loop" && after == "(") || name == "recursive" => {
            tag.flaw("Un `for` no puede llamarse a sí mismo: escriba uno dentro del otro.".to_owned())
        }
        _ => Ok(()),
    }
}

/// Refuses lists, but for a plain one after `in`: `{% for x in ["a", "b"] %}`, `{% if Fase in ["Entrega"] %}`.
///
/// The engine's budget does not see all that a list costs. Twenty times `{% set x = x + x %}` makes one that takes a
/// minute to print, and `{% set x = [x] %}` one so deep that dropping it would end the process.
fn check_lists(tag: &Tag) -> Result<(), Flaw> {
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
                return tag.flaw(format!(
                    "`{sign}`: una lista solo puede estar sola después de `in`, como en `in [\"a\", \"b\"]`."
                ));
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

fn check_text(text: &str) -> Result<(), Flaw> {
    if text.len() > LONGEST_SOURCE {
        return Err(Flaw { line: None, problem: format!("Tiene {} bytes: acórtelo a {LONGEST_SOURCE}.", text.len()) });
    }
    match text.char_indices().find(|(_, c)| c.is_control() && !matches!(c, '\n' | '\r' | '\t')) {
        Some((at, c)) => {
            let problem = format!("Contiene el carácter de control U+{:04X}: quítelo.", u32::from(c));
            Err(Flaw { line: Some(line_at(text, at)), problem })
        }
        None => Ok(()),
    }
}

fn line_at(text: &str, at: usize) -> usize {
    text[..at].matches('\n').count() + 1
}

/// Where the next `{{`, `{%` or `{#` stands.
fn next_marker(text: &str, from: usize) -> Option<usize> {
    let mut markers = text[from..].match_indices('{').map(|(at, _)| from + at);
    markers.find(|at| matches!(text.as_bytes().get(at + 1), Some(b'{' | b'%' | b'#')))
}

/// The marker with the `-` or `+` that may follow it.
fn with_sign<'s>(rest: &'s str, marker: &str) -> &'s str {
    let signed = rest[marker.len()..].starts_with(['-', '+']);
    &rest[..marker.len() + usize::from(signed)]
}

/// The closing braces at the start of `rest`, with their sign.
fn closer<'s>(rest: &'s str, braces: &str) -> Option<&'s str> {
    let sign = usize::from(rest.starts_with(['-', '+']));
    rest[sign..].starts_with(braces).then(|| &rest[..sign + braces.len()])
}

fn comment_end(text: &str, start: usize) -> Result<usize, Flaw> {
    let inside = start + with_sign(&text[start..], "{#").len();
    match text[inside..].find("#}") {
        Some(at) => Ok(inside + at + 2),
        None => Err(Flaw {
            line: Some(line_at(text, start)),
            problem: "`{#` no se cierra: escriba `#}` después del comentario.".to_owned(),
        }),
    }
}

/// Where a `{% raw %}…{% endraw %}` that begins at `start` ends; `None` for any other tag.
fn raw_end(text: &str, start: usize) -> Result<Option<usize>, Flaw> {
    let inside = start + with_sign(&text[start..], "{%").len();
    let Some(length) = text[start..].starts_with("{%").then(|| word_tag(&text[inside..], "raw")).flatten() else {
        return Ok(None);
    };
    let mut at = inside + length;
    while let Some(found) = text[at..].find("{%") {
        at += found + 2;
        let signed = usize::from(text[at..].starts_with(['-', '+']));
        if let Some(length) = word_tag(&text[at + signed..], "endraw") {
            return Ok(Some(at + signed + length));
        }
    }
    let problem = "`{% raw %}` no se cierra: escriba después `{% endraw %}`.".to_owned();
    Err(Flaw { line: Some(line_at(text, start)), problem })
}

/// The length of ` word %}` at the start of `rest`.
fn word_tag(rest: &str, word: &str) -> Option<usize> {
    let space = |c: char| c.is_ascii_whitespace();
    let after = rest.trim_start_matches(space).strip_prefix(word)?.trim_start_matches(space);
    let closer = closer(after, "%}")?;
    Some(rest.len() - after.len() + closer.len())
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

/// Editors of web pages like to put no-break spaces into tags; the engine knows only plain ones.
fn push_space(out: &mut String, space: &str) {
    out.extend(space.chars().map(|c| if c.is_ascii_whitespace() { c } else { ' ' }));
}

#[cfg(test)]
mod tests {
    use super::*;

    use proptest::prelude::*;

    #[test]
    fn only_the_names_of_variables_change() {
        let cases = [
            ("{{Vehículo}} {{- PLACA -}} {{+ Vehi\u{301}culo +}}", "{{vehiculo}} {{- placa -}} {{+ vehiculo +}}"),
            ("{{\u{a0}Año\u{2003}|upper }}", "{{ ano |upper }}"),
            ("{{ \"Él {{ }} %} \\\" Él\" ~ 'É\"' ~ Él }}", "{{ \"Él {{ }} %} \\\" Él\" ~ 'É\"' ~ el }}"),
            ("{% if Él is not none and not Ella %}{% endif %}", "{% if el is not none and not ella %}{% endif %}"),
            (
                "{% for Á in [É, 1] if Á %}{{ loop.index }}{% endfor %}",
                "{% for a in [e, 1] if a %}{{ loop.index }}{% endfor %}",
            ),
            ("{% set Á = É|replace(Í, \"Ó\", count=Ú) %}", "{% set a = e|replace(i, \"Ó\", count=u) %}"),
            ("{% with Á = (É), B = Í %}{% endwith %}", "{% with a = (e), b = i %}{% endwith %}"),
            ("{{ 1E5 + 0XfF + 1.5 + True }}", "{{ 1E5 + 0XfF + 1.5 + True }}"),
        ];
        for (text, expected) in cases {
            assert_eq!(read(text, false).unwrap().text, expected);
        }
        for text in [
            "Línea uno\r\n\r\n  { Nombre } {x} 100 %} }} #}\n",
            "{# {{ Nombre }} {% #}fin {#-#}",
            "{% raw %}{{ Nombre }} {% if %}{% endraw %}{%-raw-%}{{ É {%+ endraw +%}",
            "Emoji 🚗 y e\u{301} sin componer",
            "{",
        ] {
            assert_eq!(read(text, false).unwrap().text, text);
        }
        assert_eq!(read("{{ Vehi\u{301}culo }}", true).unwrap().text, "{{ Vehículo }}");
    }

    #[test]
    fn variables_are_what_a_text_reads_and_does_not_set() {
        let names = |text: &str| read(text, false).unwrap().variables.into_iter().map(|(id, _)| id).collect::<Vec<_>>();
        assert_eq!(names("{{ B }}{{ a }}{% if B is defined %}{{ 1e5 }}{% endif %}"), ["b", "a"]);
        assert_eq!(names("{% set x = y %}{{ x }}{% set z %}{{ w }}{% endset %}{{ z }}"), ["y", "w"]);
        assert_eq!(names("{% set x = x|default(1) %}{{ x }}"), ["x"]);
        assert_eq!(names("{% for x in [a] if x %}{{ x ~ loop.index }}{% endfor %}"), ["a", "x"]);
        assert_eq!(
            names("{% with x = a, y = b %}{{ x }}{% endwith %}{% filter replace(old, \"\") %}{% endfilter %}"),
            ["a", "b", "old"]
        );
    }

    #[test]
    fn flaws_have_a_line_and_a_remedy() {
        let cases: &[(&str, usize, &str)] = &[
            ("a\n{{ Nombre", 2, "`{{` no se cierra: escriba después `}}`."),
            ("{{ Nombre }\n{{ Placa }}", 1, "`{{` no se cierra antes del siguiente `}`: escriba antes `}}`."),
            ("{{ Nombre\n{{ Placa }}", 1, "`{{` no se cierra antes del siguiente `{`: escriba antes `}}`."),
            ("{{ Hora|default:\"x\" }}", 1, "`:` no significa nada en una etiqueta: los argumentos van"),
            ("{{ “Hora” }}", 1, "El carácter '“' (U+201C) no significa nada en una etiqueta: quítelo."),
            ("{{ \"Hora }}", 1, "Un texto entre comillas no se cierra: escriba después `\"`."),
            ("{{ Hora) }}", 1, "`)` no cierra nada: quítelo."),
            ("{{ Nombre|mayusculas }}", 1, "No existe el filtro `mayusculas`: use uno de abs, "),
            ("{{ Nombre|upper.x }}", 1, "No existe el filtro `upper`"),
            ("{% filter mayusculas %}", 1, "No existe el filtro `mayusculas`"),
            ("{{ Nombre|safe }}", 1, "No existe el filtro `safe`"),
            ("{{ Nombre is not vacio }}", 1, "No existe la prueba `is vacio`: use una de "),
            ("{{ Cliente.Nombre }}", 1, "`.Nombre`: un valor es un solo texto y no tiene partes."),
            ("{{ Nombre.upper() }}", 1, "`.upper`: un valor es un solo texto y no tiene partes."),
            ("{{ range(10) }}", 1, "No existe la función `range`"),
            ("{% for x in [1] recursive %}", 1, "Un `for` no puede llamarse a sí mismo"),
            ("{{ loop(1) }}", 1, "Un `for` no puede llamarse a sí mismo"),
            ("{% IF Orden %}", 1, "No existe la etiqueta `{% IF %}`: use if, "),
            ("{% include \"x\" %}", 1, "No existe la etiqueta `{% include %}`"),
            ("{% autoescape false %}", 1, "No existe la etiqueta `{% autoescape %}`"),
            ("{% %}", 1, "No existe la etiqueta `{%  %}`"),
            ("{% if Orden AND Hora %}", 1, "`AND` se confunde con la palabra `and` del lenguaje"),
            ("a\n{% if Orden %}\nx", 2, "`{% if %}` no se cierra: escriba después `{% endif %}`."),
            ("{% set x %}", 1, "`{% set %}` no se cierra: escriba después `{% endset %}`."),
            ("x{% endif %}", 1, "`{% endif %}` no cierra nada: quítelo."),
            (
                "{% for x in y %}\n{% endif %}",
                2,
                "`{% endif %}` no cierra el `{% for %}` de la línea 1: escriba antes `{% endfor %}`.",
            ),
            ("{% with x = 1 %}{% else %}", 1, "`{% else %}` no está dentro de un `{% if %}`: quítelo."),
            ("\n{# nota", 2, "`{#` no se cierra: escriba `#}` después del comentario."),
            ("{% raw %}{% endif %}", 1, "`{% raw %}` no se cierra: escriba después `{% endraw %}`."),
            ("a\nb\u{0}", 2, "Contiene el carácter de control U+0000: quítelo."),
        ];
        for (text, line, problem) in cases {
            let flaw = read(text, false).expect_err(text);
            assert_eq!(flaw.line, Some(*line), "{text}");
            assert!(flaw.problem.starts_with(problem), "{text}: {}", flaw.problem);
        }
    }

    #[test]
    fn lists_stand_alone_after_in() {
        for text in [
            "{% for x in [\"a\", 1] %}{% endfor %}",
            "{% if (Fase in [\"a\", (Hora|replace(\"a\", \"b\"))]) and Hora not in [] %}{% endif %}",
            "{% with a = 1, b = 2 %}{% endwith %}",
        ] {
            assert!(read(text, false).is_ok(), "{text}");
        }
        for text in [
            "{{ [1] }}",
            "{{ x[0] }}",
            "{% set x = [x] %}",
            "{% set x = 1, 2 %}",
            "{% with x = (x, 1) %}",
            "{% for x in [[1]] %}",
            "{% for x in [1] + [1] %}",
            "{% for x in [1] * 9 %}",
            "{% for x in [1]|last %}",
            "{% for x in ([1]) %}",
            "{% if 1 in (1, 2) %}",
            "{{ x|default([1]) }}",
        ] {
            assert!(read(text, false).expect_err(text).problem.contains("una lista solo puede estar sola"));
        }
    }

    #[test]
    fn texts_have_limits() {
        let check = |most: usize, problem: &str, text: &dyn Fn(usize) -> String| {
            assert!(read(&text(most), false).is_ok());
            assert_eq!(read(&text(most + 1), false).unwrap_err().problem, problem);
        };
        check(LONGEST_SOURCE, "Tiene 65537 bytes: acórtelo a 65536.", &|count| "x".repeat(count));
        check(100, "Hay más de 100 variables distintas: use menos.", &|count| {
            (0..count).map(|n| format!("{{{{ v{n} }}}}")).collect()
        });
        check(200, "Hay más de 200 etiquetas `{% … %}`: use menos.", &|count| "{% set x = 1 %}".repeat(count));
        check(10, "Hay más de 10 etiquetas una dentro de otra: quite algunas.", &|count| {
            format!("{}{}", "{% if x %}".repeat(count), "{% endif %}".repeat(count))
        });
        check(10, "Hay más de 10 paréntesis uno dentro de otro: quite algunos.", &|count| {
            format!("{{{{ {}1{} }}}}", "(".repeat(count), ")".repeat(count))
        });
        check(100, "La etiqueta tiene más de 100 palabras y signos: divídala.", &|count| {
            format!("{{{{ {}1 }}}}", "not ".repeat(count - 1))
        });
    }

    proptest! {
        #[test]
        fn normalise_is_idempotent(name in "\\PC*") {
            let once = normalise(&name);
            prop_assert_eq!(normalise(&once), once);
        }

        #[test]
        fn composed_and_decomposed_names_are_one(name in "[a-zA-ZáéíóúñüÁÉÍÓÚÑÜ]{1,12}") {
            let decomposed: String = name.nfd().collect();
            prop_assert_eq!(normalise(&decomposed), normalise(&name));
            prop_assert_eq!(spell(&decomposed, true), name);
        }

        /// A text that was read once is read again without a change: what the engine gets, it gets as we understood it.
        #[test]
        fn reading_is_idempotent(text in "([{}%#a-zÉ \"'|()\\-]|\\{\\{ Él \\}\\}){0,30}") {
            if let Ok(source) = read(&text, false) {
                let again = read(&source.text, false);
                prop_assert_eq!(again.map(|source| source.text), Ok(source.text));
            }
        }
    }
}
