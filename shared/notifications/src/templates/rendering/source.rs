//! The text of a template before the engine sees it: names are normalised, and what a message does not need is refused.
//!
//! Templates of Django move over: what Django writes otherwise is read where it means the same (comments, `verbatim`,
//! `|default:"…"`), and else refused with what to write instead ([`super::django`]).
//!
//! The engine's parser calls itself for every operand and every nested tag; a text made for it, such as ten thousand
//! `not`, would end the process. So the limits are kept here, token by token, with the same rules for where a tag ends.

use std::collections::BTreeSet;
use std::ops::Range;

use recado_kernel::language::Sentence;
use unicode_normalization::UnicodeNormalization as _;

use super::django;
use super::error::Flaw;
use super::tag::{
    DEEPEST, KEYWORDS, Kind, Role, Tag, Token, check_lists, check_names, check_role, closer, line_at, with_sign,
};
use super::variables::spell;

/// The tags `{% … %}`. `raw` is read before the others.
const STATEMENTS: &[&str] =
    &["if", "elif", "else", "endif", "for", "endfor", "set", "endset", "with", "endwith", "filter", "endfilter"];

/// Longest text, in bytes.
const LONGEST_SOURCE: usize = 64 * 1024;
/// Most different variables in one text: as many as a `context` may have.
const MOST_VARIABLES: usize = 100;
/// Most tags `{% … %}` in one text: a chain of `{% elif %}` nests as deep as it is long.
const MOST_STATEMENTS: usize = 200;
/// A text that is ready for the engine.
#[derive(Debug)]
pub(super) struct Source {
    pub(super) text: String,
    /// The variables that it reads, in order: the normalised name, and the first spelling.
    pub(super) variables: Vec<(String, String)>,
    /// Each tag is a variable and nothing else.
    pub(super) is_plain: bool,
}

/// Reads a text and rewrites the names of its variables. Outside of tags, in strings and in comments nothing changes.
pub(super) fn read(text: &str, strict_case: bool) -> Result<Source, Flaw> {
    check_text(text)?;
    let mut reader = Reader::new(text, strict_case);
    let mut at = 0;
    while let Some(start) = next_marker(text, at) {
        reader.out.push_str(&text[at..start]);
        at = match &text[start..start + 2] {
            "{#" => reader.comment(start)?,
            _ => match (raw_end(text, start)?, block_at(text, start)?) {
                (Some(end), _) => reader.copy(start, end),
                (None, Some(block)) => reader.django(start, &block),
                (None, None) => reader.tag(start)?,
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
    is_plain: bool,
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
            is_plain: true,
            open: Vec::new(),
        }
    }

    fn copy(&mut self, start: usize, end: usize) -> usize {
        self.out.push_str(&self.text[start..end]);
        end
    }

    /// A comment ends on its line, as in Django. What does not is text: minified style sheets hold `screen{#wrap{…`.
    fn comment(&mut self, start: usize) -> Result<usize, Flaw> {
        let line = self.text[start..].lines().next().unwrap_or_default();
        if let Some(end) = comment_end(line) {
            return Ok(self.copy(start, start + end));
        }
        let after = line["{#".len()..].chars().next();
        if after.is_none_or(|after| after.is_whitespace() || matches!(after, '-' | '+')) {
            let problem = Sentence::new(
                "`{#` no se cierra: escriba `#}` en la misma línea, o use `{% comment %}…{% endcomment %}` para un \
                 comentario de varias líneas.",
                "`{#` is not closed: write `#}` on the same line, or use `{% comment %}…{% endcomment %}` for a comment of \
                 several lines.",
            );
            return Err(Flaw { line: Some(line_at(self.text, start)), problem });
        }
        self.out.push_str("{% raw %}{#{% endraw %}");
        Ok(start + "{#".len())
    }

    /// Writes what a block of Django's means. Line breaks stay, so that lines keep their numbers.
    fn django(&mut self, start: usize, block: &Block) -> usize {
        let lines = |text: &str| "\n".repeat(text.matches('\n').count());
        let shown = &self.text[block.shown.clone()];
        // What the engine would take for the end stands nowhere in it, because the end is looked for first.
        let (before, after) = (&self.text[start..block.shown.start], &self.text[block.shown.end..block.end]);
        let raw = format!("{{% {}raw %}}{shown}{{% {}endraw %}}", lines(before), lines(after));
        self.out.push_str(&raw);
        block.end
    }

    /// Reads the tag at `start`, writes it with normalised names, and returns where it ends.
    fn tag(&mut self, start: usize) -> Result<usize, Flaw> {
        let tag = Tag::lex(self.text, start)?;
        self.check_statement(&tag)?;
        check_lists(&tag)?;
        check_names(&tag)?;
        self.is_plain &= tag.is_plain();
        self.out.push_str(tag.opener);
        let mut targets = Vec::new();
        // The closing bracket of an argument that Django writes after a colon, and behind which token it stands.
        let mut argument: Option<(usize, &str)> = None;
        for (at, token) in tag.tokens.iter().enumerate() {
            if let Some((_, bracket)) = argument.take_if(|(last, _)| *last < at) {
                self.out.push_str(bracket);
            }
            push_space(&mut self.out, token.space);
            if token.text == ":" {
                argument = Some((argument_end(&tag, at)?, closing(&tag, at)));
                self.out.push('(');
                continue;
            }
            if let Some(name) = django_filter(&tag, at) {
                self.out.push_str(name);
                continue;
            }
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
        self.out.push_str(argument.map_or("", |(_, bracket)| bracket));
        // Only now, so that the second name in `{% set fecha = fecha|default("hoy") %}` is the caller's.
        self.assigned.extend(targets);
        push_space(&mut self.out, tag.space);
        self.out.push_str(tag.closer);
        Ok(tag.end)
    }

    fn name(&self, tag: &Tag, token: &Token) -> Result<String, Flaw> {
        let name = spell(token.text, self.strict_case);
        if KEYWORDS.contains(&name.as_str()) {
            let text = token.text;
            return tag.flaw(
                format!(
                    "`{text}` se confunde con la palabra `{name}` del lenguaje: escriba `{name}` o cambie el nombre de la variable."
                ),
                format!("`{text}` is too like the word `{name}` of the language: write `{name}`, or rename the variable."),
            );
        }
        Ok(name)
    }

    fn note(&mut self, tag: &Tag, name: String, written: &str) -> Result<(), Flaw> {
        if self.assigned.contains(&name) || self.variables.iter().any(|(known, _)| *known == name) {
            return Ok(());
        }
        if self.variables.len() == MOST_VARIABLES {
            return tag.flaw(
                format!("Hay más de {MOST_VARIABLES} variables distintas: use menos."),
                format!("There are more than {MOST_VARIABLES} different variables: use fewer."),
            );
        }
        self.variables.push((name, written.nfc().collect()));
        Ok(())
    }

    /// Checks that a tag `{% … %}` exists and stands where it may.
    fn check_statement(&mut self, tag: &Tag<'s>) -> Result<(), Flaw> {
        let Some(keyword) = tag.keyword() else { return Ok(()) };
        if !STATEMENTS.contains(&keyword) {
            if matches!(keyword, "endcomment" | "endverbatim") {
                return closes_nothing(tag, keyword);
            }
            if let Some((spanish, english)) = django::tag_remedy(keyword) {
                return tag.flaw(
                    format!("`{{% {keyword} %}}` es una etiqueta de Django que aquí no existe: {spanish}"),
                    format!("`{{% {keyword} %}}` is a tag of Django that does not exist here: {english}"),
                );
            }
            let known = "if, elif, else, for, set, with, filter, raw, comment";
            return tag.flaw(
                format!("No existe la etiqueta `{{% {keyword} %}}`: use {known} y sus finales."),
                format!("There is no tag `{{% {keyword} %}}`: use {known} and their ends."),
            );
        }
        self.statements += 1;
        if self.statements > MOST_STATEMENTS {
            return tag.flaw(
                format!("Hay más de {MOST_STATEMENTS} etiquetas `{{% … %}}`: use menos."),
                format!("There are more than {MOST_STATEMENTS} tags `{{% … %}}`: use fewer."),
            );
        }
        let around = self.open.last().map(|(keyword, _)| *keyword);
        let sets_at_once = || tag.tokens.iter().any(|token| token.text == "=" && token.depth == 0);
        match keyword {
            "set" if sets_at_once() => {}
            "if" | "for" | "set" | "with" | "filter" => self.open.push((keyword, tag.line())),
            "elif" if around == Some("if") => {}
            "else" if matches!(around, Some("if" | "for")) => {}
            "elif" | "else" => {
                return tag.flaw(
                    format!("`{{% {keyword} %}}` no está dentro de un `{{% if %}}`: quítelo."),
                    format!("`{{% {keyword} %}}` is not within an `{{% if %}}`: remove it."),
                );
            }
            end => self.close(tag, end)?,
        }
        match self.open.len() > DEEPEST {
            true => tag.flaw(
                format!("Hay más de {DEEPEST} etiquetas una dentro de otra: quite algunas."),
                format!("There are more than {DEEPEST} tags within each other: remove some."),
            ),
            false => Ok(()),
        }
    }

    fn close(&mut self, tag: &Tag, end: &str) -> Result<(), Flaw> {
        match self.open.pop() {
            Some((keyword, _)) if end.strip_prefix("end") == Some(keyword) => Ok(()),
            Some((keyword, line)) => tag.flaw(
                format!(
                    "`{{% {end} %}}` no cierra el `{{% {keyword} %}}` de la línea {line}: escriba antes `{{% end{keyword} %}}`."
                ),
                format!(
                    "`{{% {end} %}}` does not close the `{{% {keyword} %}}` of line {line}: write `{{% end{keyword} %}}` before it."
                ),
            ),
            None => closes_nothing(tag, end),
        }
    }

    fn finish(mut self) -> Result<Source, Flaw> {
        match self.open.pop() {
            Some((keyword, line)) => Err(Flaw { line: Some(line), problem: not_closed(keyword) }),
            None => Ok(Source { text: self.out, variables: self.variables, is_plain: self.is_plain }),
        }
    }
}

fn closes_nothing<T>(tag: &Tag, end: &str) -> Result<T, Flaw> {
    tag.flaw(format!("`{{% {end} %}}` no cierra nada: quítelo."), format!("`{{% {end} %}}` closes nothing: remove it."))
}

fn not_closed(keyword: &str) -> Sentence {
    Sentence::new(
        format!("`{{% {keyword} %}}` no se cierra: escriba después `{{% end{keyword} %}}`."),
        format!("`{{% {keyword} %}}` is not closed: write `{{% end{keyword} %}}` after it."),
    )
}

fn check_text(text: &str) -> Result<(), Flaw> {
    if text.len() > LONGEST_SOURCE {
        let bytes = text.len();
        let problem = Sentence::new(
            format!("Tiene {bytes} bytes: acórtelo a {LONGEST_SOURCE}."),
            format!("It has {bytes} bytes: shorten it to {LONGEST_SOURCE}."),
        );
        return Err(Flaw { line: None, problem });
    }
    match text.char_indices().find(|(_, c)| c.is_control() && !matches!(c, '\n' | '\r' | '\t')) {
        Some((at, c)) => {
            let code = u32::from(c);
            let problem = Sentence::new(
                format!("Contiene el carácter de control U+{code:04X}: quítelo."),
                format!("It contains the control character U+{code:04X}: remove it."),
            );
            Err(Flaw { line: Some(line_at(text, at)), problem })
        }
        None => Ok(()),
    }
}

/// Where the next `{{`, `{%` or `{#` stands.
fn next_marker(text: &str, from: usize) -> Option<usize> {
    let mut markers = text[from..].match_indices('{').map(|(at, _)| from + at);
    markers.find(|at| matches!(text.as_bytes().get(at + 1), Some(b'{' | b'%' | b'#')))
}

/// Where a comment that begins this line ends.
fn comment_end(line: &str) -> Option<usize> {
    let inside = with_sign(line, "{#").len();
    line[inside..].find("#}").map(|at| inside + at + "#}".len())
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
    Err(Flaw { line: Some(line_at(text, start)), problem: not_closed("raw") })
}

/// A block of Django's that is read as text, or not shown at all.
struct Block {
    /// What of it is shown as it stands.
    shown: Range<usize>,
    end: usize,
}

/// The block `{% comment %}…{% endcomment %}` or `{% verbatim %}…{% endverbatim %}` that begins at `start`.
fn block_at(text: &str, start: usize) -> Result<Option<Block>, Flaw> {
    let Some(inside) = text[start..].strip_prefix("{%") else { return Ok(None) };
    let word = inside.trim_start().split(|c: char| !c.is_ascii_alphabetic()).next().unwrap_or_default();
    let (word, end_word) = match word {
        "comment" => ("comment", "endcomment"),
        "verbatim" => ("verbatim", "endverbatim"),
        _ => return Ok(None),
    };
    let unclosed = || Flaw { line: Some(line_at(text, start)), problem: not_closed(word) };
    // A comment may have a note in its tag.
    let opened = start + text[start..].find("%}").ok_or_else(unclosed)? + "%}".len();
    let mut at = opened;
    while let Some(found) = text[at..].find("{%") {
        let tag = at + found;
        if let Some(length) = word_tag(&text[tag + "{%".len()..], end_word) {
            let shown = if word == "comment" { opened..opened } else { opened..tag };
            return Ok(Some(Block { shown, end: tag + "{%".len() + length }));
        }
        at = tag + "{%".len();
    }
    Err(unclosed())
}

/// The last token of the argument that follows the colon `at`.
fn argument_end(tag: &Tag, at: usize) -> Result<usize, Flaw> {
    let name = tag.tokens[at - 1].text;
    if django::defaulting(name).is_none() {
        return match django::filter_remedy(name) {
            Some(remedy) => tag.django_filter_flaw(name, remedy),
            None => tag.flaw(
                format!("`|{name}:…`: los argumentos van entre paréntesis, como en `|{name}(\"…\")`."),
                format!("`|{name}:…`: arguments go between parentheses, as in `|{name}(\"…\")`."),
            ),
        };
    }
    let kind = |at: usize| tag.tokens.get(at).map(|token| token.kind);
    match kind(at + 1) {
        Some(Kind::Number) => {
            let is_point = tag.tokens.get(at + 2).is_some_and(|token| token.text == "." && token.space.is_empty());
            Ok(if is_point && kind(at + 3) == Some(Kind::Number) { at + 3 } else { at + 1 })
        }
        Some(Kind::Name | Kind::Text) => Ok(at + 1),
        Some(Kind::Sign) | None => tag.flaw(
            format!("Después de `|{name}:` falta lo que se escribe en lugar del valor: un texto entre comillas."),
            format!("After `|{name}:` there must be what is written in place of the value: a text in quotes."),
        ),
    }
}

/// What follows the argument of a colon. Django's `default` stands in for an empty text, too.
fn closing(tag: &Tag, at: usize) -> &'static str {
    django::defaulting(tag.tokens[at - 1].text).unwrap_or(")")
}

/// The name here of a filter that Django calls otherwise.
fn django_filter(tag: &Tag, at: usize) -> Option<&'static str> {
    let is_called = tag.tokens.get(at + 1).is_some_and(|next| next.text == ":");
    (is_called && tag.tokens[at].text == "default_if_none").then_some("default")
}

/// The length of ` word %}` at the start of `rest`.
fn word_tag(rest: &str, word: &str) -> Option<usize> {
    let space = |c: char| c.is_ascii_whitespace();
    let after = rest.trim_start_matches(space).strip_prefix(word)?.trim_start_matches(space);
    let closer = closer(after, "%}")?;
    Some(rest.len() - after.len() + closer.len())
}

/// Editors of web pages like to put no-break spaces into tags; the engine knows only plain ones.
fn push_space(out: &mut String, space: &str) {
    out.extend(space.chars().map(|c| if c.is_ascii_whitespace() { c } else { ' ' }));
}

#[cfg(test)]
mod tests {
    use super::super::variables::normalise;
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
            ("{{ Hora|upper:\"x\" }}", 1, "`|upper:…`: los argumentos van entre paréntesis"),
            ("{{ Hora:\"x\" }}", 1, "`:` no significa nada en una etiqueta: los argumentos van"),
            ("{{ Hora|default: }}", 1, "Después de `|default:` falta lo que se escribe"),
            (
                "{{ Hora|date:\"d/m/Y\" }}",
                1,
                "`|date` es un filtro de Django que aquí no existe: los valores llegan como texto",
            ),
            ("{{ Nombre|linebreaks }}", 1, "`|linebreaks` es un filtro de Django"),
            ("\n{% load i18n %}", 2, "`{% load %}` es una etiqueta de Django que aquí no existe: quítela"),
            ("{% now \"Y\" %}", 1, "`{% now %}` es una etiqueta de Django"),
            (
                "{% for x in [1] %}{% empty %}{% endfor %}",
                1,
                "`{% empty %}` es una etiqueta de Django que aquí no existe: escriba `{% else %}`",
            ),
            ("{{ forloop.counter }}", 1, "`forloop.counter` es de Django: escriba `loop.index`."),
            ("a\n{% comment %}x", 2, "`{% comment %}` no se cierra: escriba después `{% endcomment %}`."),
            ("{% endcomment %}", 1, "`{% endcomment %}` no cierra nada: quítelo."),
            ("{{Placa-Vieja}}", 1, "`Placa-Vieja`: el nombre de una variable no lleva guion."),
            ("{{ Nombre Completo }}", 1, "`Nombre Completo`: el nombre de una variable no lleva espacios."),
            ("{{ “Hora” }}", 1, "El carácter '“' (U+201C) no significa nada en una etiqueta: quítelo."),
            ("{{ \"Hora }}", 1, "Un texto entre comillas no se cierra: escriba después `\"`."),
            ("{{ Hora) }}", 1, "`)` no cierra nada: quítelo."),
            ("{{ Nombre|mayusculas }}", 1, "No existe el filtro `mayusculas`: use uno de abs, "),
            ("{{ Nombre|upper.x }}", 1, "No existe el filtro `upper`"),
            ("{% filter mayusculas %}", 1, "No existe el filtro `mayusculas`"),
            ("{{ Nombre|safe }}", 1, "`|safe` es un filtro de Django que aquí no existe: los valores se escapan"),
            ("{{ Nombre is not vacio }}", 1, "No existe la prueba `is vacio`: use una de "),
            ("{{ Cliente.Nombre }}", 1, "`.Nombre`: un valor es un solo texto y no tiene partes."),
            ("{{ Nombre.upper() }}", 1, "`.upper`: un valor es un solo texto y no tiene partes."),
            ("{{ range(10) }}", 1, "No existe la función `range`"),
            ("{% for x in [1] recursive %}", 1, "Un `for` no puede llamarse a sí mismo"),
            ("{{ loop(1) }}", 1, "Un `for` no puede llamarse a sí mismo"),
            ("{% IF Orden %}", 1, "No existe la etiqueta `{% IF %}`: use if, "),
            ("{% include \"x\" %}", 1, "`{% include %}` es una etiqueta de Django que aquí no existe: "),
            ("{% autoescape false %}", 1, "`{% autoescape %}` es una etiqueta de Django que aquí no existe: "),
            ("{% import x %}", 1, "No existe la etiqueta `{% import %}`"),
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
            ("\n{# nota\n#}", 2, "`{#` no se cierra: escriba `#}` en la misma línea, o use `{% comment %}"),
            ("{% raw %}{% endif %}", 1, "`{% raw %}` no se cierra: escriba después `{% endraw %}`."),
            ("a\nb\u{0}", 2, "Contiene el carácter de control U+0000: quítelo."),
        ];
        for (text, line, problem) in cases {
            let flaw = read(text, false).expect_err(text);
            assert_eq!(flaw.line, Some(*line), "{text}");
            assert!(flaw.problem.to_string().starts_with(problem), "{text}: {}", flaw.problem);
        }
    }

    /// Templates of the service before: what Django writes otherwise and means the same.
    #[test]
    fn djangos_syntax_is_read() {
        let cases = [
            // Minified style sheets (comments end on their line).
            ("@media screen{#wrap{width:100%}}", "@media screen{% raw %}{#{% endraw %}wrap{width:100%}}"),
            ("{#a{{ É }}", "{% raw %}{#{% endraw %}a{{ e }}"),
            ("{#a #}b{#c", "{#a #}b{% raw %}{#{% endraw %}c"),
            ("a{% comment %}{{ É {% if %} #}{% endcomment %}b", "a{% raw %}{% endraw %}b"),
            ("{%comment \"why\"%}\nx\n{% endcomment %}b", "{% raw %}{% \n\nendraw %}b"),
            ("{% verbatim %}{{ É }}{% endverbatim %}", "{% raw %}{{ É }}{% endraw %}"),
            ("{{ É|default:\"Él: {{\" }}", "{{ e|default(\"Él: {{\", true) }}"),
            ("{{ É|default:'x'|upper }}", "{{ e|default('x', true)|upper }}"),
            ("{{ É|default: Ó}}", "{{ e|default( o, true)}}"),
            ("{{ É|default:1.5 }}", "{{ e|default(1.5, true) }}"),
            ("{{ É|default_if_none:\"\" }}", "{{ e|default(\"\") }}"),
            ("{% if É|default:\"a\" == \"a\" %}{% endif %}", "{% if e|default(\"a\", true) == \"a\" %}{% endif %}"),
        ];
        for (text, expected) in cases {
            assert_eq!(read(text, false).unwrap_or_else(|flaw| panic!("{text}: {flaw:?}")).text, expected, "{text}");
        }
        let names = |text: &str| read(text, false).unwrap().variables.into_iter().map(|(id, _)| id).collect::<Vec<_>>();
        assert_eq!(names("{{ É|default:Ó }}{% comment %}{{ x }}{% endcomment %}"), ["e", "o"]);
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
            assert!(read(text, false).expect_err(text).problem.to_string().contains("una lista solo puede estar sola"));
        }
    }

    #[test]
    fn texts_have_limits() {
        let check = |most: usize, problem: &str, text: &dyn Fn(usize) -> String| {
            assert!(read(&text(most), false).is_ok());
            assert_eq!(read(&text(most + 1), false).unwrap_err().problem.to_string(), problem);
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
        fn reading_is_idempotent(
            text in "([{}%#a-zÉ \"'|():\\-]|\\{\\{ Él \\}\\}|\\{% comment %\\}|\\{% endcomment %\\}|\\|default:){0,30}",
        ) {
            if let Ok(source) = read(&text, false) {
                let again = read(&source.text, false);
                prop_assert_eq!(again.map(|source| source.text), Ok(source.text));
            }
        }
    }
}
