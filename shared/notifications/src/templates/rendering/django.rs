//! What templates of Django write otherwise. The service before was one of Django, and its templates move over.

use std::ops::Range;

use super::error::Flaw;
use super::source::word_tag;
use super::tag::{Kind, Tag, line_at};

/// A block of Django's that is read as text, or not shown at all.
pub(super) struct Block {
    /// What of it is shown as it stands.
    pub(super) shown: Range<usize>,
    pub(super) end: usize,
}

/// The block `{% comment %}…{% endcomment %}` or `{% verbatim %}…{% endverbatim %}` that begins at `start`.
pub(super) fn block_at(text: &str, start: usize) -> Result<Option<Block>, Flaw> {
    let Some(inside) = text[start..].strip_prefix("{%") else { return Ok(None) };
    let word = inside.trim_start().split(|c: char| !c.is_ascii_alphabetic()).next().unwrap_or_default();
    let (word, end_word) = match word {
        "comment" => ("comment", "endcomment"),
        "verbatim" => ("verbatim", "endverbatim"),
        _ => return Ok(None),
    };
    let unclosed = || {
        let problem = format!("`{{% {word} %}}` no se cierra: escriba después `{{% {end_word} %}}`.");
        Flaw { line: Some(line_at(text, start)), problem }
    };
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
pub(super) fn argument(tag: &Tag, at: usize) -> Result<usize, Flaw> {
    let name = tag.tokens[at - 1].text;
    if defaulting(name).is_none() {
        return match filter_remedy(name) {
            Some(remedy) => tag.flaw(unknown_filter(name, remedy)),
            None => tag.flaw(format!("`|{name}:…`: los argumentos van entre paréntesis, como en `|{name}(\"…\")`.")),
        };
    }
    let kind = |at: usize| tag.tokens.get(at).map(|token| token.kind);
    match kind(at + 1) {
        Some(Kind::Number) => {
            let is_point = tag.tokens.get(at + 2).is_some_and(|token| token.text == "." && token.space.is_empty());
            Ok(if is_point && kind(at + 3) == Some(Kind::Number) { at + 3 } else { at + 1 })
        }
        Some(Kind::Name | Kind::Text) => Ok(at + 1),
        Some(Kind::Sign) | None => {
            tag.flaw(format!("Después de `|{name}:` falta lo que se escribe en lugar del valor: un texto entre comillas."))
        }
    }
}

/// What follows the argument of a colon. Django's `default` stands in for an empty text, too.
pub(super) fn closing(tag: &Tag, at: usize) -> &'static str {
    defaulting(tag.tokens[at - 1].text).unwrap_or(")")
}

fn defaulting(filter: &str) -> Option<&'static str> {
    match filter {
        "default" => Some(", true)"),
        "default_if_none" => Some(")"),
        _ => None,
    }
}

/// The name here of a filter that Django calls otherwise.
pub(super) fn filter(tag: &Tag, at: usize) -> Option<&'static str> {
    let is_called = tag.tokens.get(at + 1).is_some_and(|next| next.text == ":");
    (is_called && tag.tokens[at].text == "default_if_none").then_some("default")
}

/// What to write instead of a tag that only Django has.
pub(super) fn tag_remedy(keyword: &str) -> Option<&'static str> {
    Some(match keyword {
        "load" | "csrf_token" | "debug" | "spaceless" | "endspaceless" => "quítela, porque aquí no hace falta.",
        "empty" => "escriba `{% else %}` dentro del `{% for %}`.",
        "ifequal" | "ifnotequal" | "endifequal" | "endifnotequal" | "ifchanged" | "endifchanged" => {
            "escriba `{% if a == b %}…{% endif %}`."
        }
        "autoescape" | "endautoescape" => "quítela, porque los valores se escapan siempre que el texto es HTML.",
        "include" | "extends" | "block" | "endblock" => "escriba aquí mismo el texto entero.",
        "now" => "envíe la fecha como un valor de `context`.",
        "url" | "static" | "get_static_prefix" | "get_media_prefix" => "escriba la URL entera.",
        "trans" | "translate" | "blocktrans" | "blocktranslate" | "endblocktrans" | "endblocktranslate" => {
            "escriba el texto en español."
        }
        "firstof" => "escriba `{{ a or b }}`.",
        "cycle" | "widthratio" | "regroup" | "lorem" | "resetcycle" | "querystring" => {
            "envíe el texto ya hecho como un valor de `context`."
        }
        "templatetag" => "escriba las llaves dentro de `{% raw %}…{% endraw %}`.",
        _ => return None,
    })
}

/// What to write instead of a filter that only Django has.
pub(super) fn filter_remedy(name: &str) -> Option<&'static str> {
    Some(match name {
        "date" | "time" | "timesince" | "timeuntil" | "naturaltime" | "naturalday" => {
            "los valores llegan como texto ya escrito, así que envíe la fecha o la hora en `context` como debe leerse."
        }
        "safe" | "safeseq" | "force_escape" | "escapejs" | "autoescape" => {
            "los valores se escapan siempre que el texto es HTML."
        }
        "default_if_none" => "escriba `|default(\"…\")`.",
        "cut" => "escriba `|replace(\"…\", \"\")`.",
        "capfirst" => "escriba `|capitalize`.",
        "add" => "escriba `{{ a + b }}` para números, o `{{ a ~ b }}` para textos.",
        "divisibleby" => "escriba `{% if a is divisibleby(2) %}`.",
        "yesno" | "pluralize" => "escriba `{% if … %}…{% else %}…{% endif %}`.",
        "floatformat" => "escriba `|round(2)`.",
        "linebreaks" | "linebreaksbr" | "striptags" | "urlize" | "urlizetrunc" | "removetags" | "slice" | "join"
        | "truncatechars" | "truncatechars_html" | "truncatewords" | "truncatewords_html" | "wordcount" | "wordwrap"
        | "center" | "ljust" | "rjust" | "linenumbers" | "urlencode" | "iriencode" | "slugify" | "stringformat"
        | "intcomma" | "intword" | "apnumber" | "ordinal" | "filesizeformat" | "phone2numeric" | "make_list"
        | "dictsort" | "dictsortreversed" | "random" | "unordered_list" | "json_script" | "pprint" | "get_digit"
        | "addslashes" | "length_is" | "localize" | "unlocalize" | "language_name" => {
            "envíe el valor en `context` ya como debe leerse."
        }
        _ => return None,
    })
}

/// The complaint about such a filter.
pub(super) fn unknown_filter(name: &str, remedy: &str) -> String {
    format!("`|{name}` es un filtro de Django que aquí no existe: {remedy}")
}
