//! What Django writes otherwise: words of its templates, and what they are here. The service before was one of Django, and its
//! templates move over.

/// What stands behind the argument of a filter that Django writes with a colon. Its `default` stands in for an empty text, too.
pub(super) fn defaulting(filter: &str) -> Option<&'static str> {
    match filter {
        "default" => Some(", true)"),
        "default_if_none" => Some(")"),
        _ => None,
    }
}

/// What to do instead, in Spanish and in English.
pub(super) type Remedy = (&'static str, &'static str);

/// What to write instead of a tag that only Django has.
pub(super) fn tag_remedy(keyword: &str) -> Option<Remedy> {
    Some(match keyword {
        "load" | "csrf_token" | "debug" | "spaceless" | "endspaceless" => {
            ("quítela, porque aquí no hace falta.", "remove it, because it is not needed here.")
        }
        "empty" => ("escriba `{% else %}` dentro del `{% for %}`.", "write `{% else %}` within the `{% for %}`."),
        "ifequal" | "ifnotequal" | "endifequal" | "endifnotequal" | "ifchanged" | "endifchanged" => {
            ("escriba `{% if a == b %}…{% endif %}`.", "write `{% if a == b %}…{% endif %}`.")
        }
        "autoescape" | "endautoescape" => (
            "quítela, porque los valores se escapan siempre que el texto es HTML.",
            "remove it, because values are escaped whenever the text is HTML.",
        ),
        "include" | "extends" | "block" | "endblock" => {
            ("escriba aquí mismo el texto entero.", "write the whole text right here.")
        }
        "now" => ("envíe la fecha como un valor de `context`.", "send the date as a value of `context`."),
        "url" | "static" | "get_static_prefix" | "get_media_prefix" => {
            ("escriba la URL entera.", "write the whole URL.")
        }
        "trans" | "translate" | "blocktrans" | "blocktranslate" | "endblocktrans" | "endblocktranslate" => {
            ("escriba el texto en español.", "write the text in Spanish.")
        }
        "firstof" => ("escriba `{{ a or b }}`.", "write `{{ a or b }}`."),
        "cycle" | "widthratio" | "regroup" | "lorem" | "resetcycle" | "querystring" => {
            ("envíe el texto ya hecho como un valor de `context`.", "send the finished text as a value of `context`.")
        }
        "templatetag" => (
            "escriba las llaves dentro de `{% raw %}…{% endraw %}`.",
            "write the braces within `{% raw %}…{% endraw %}`.",
        ),
        _ => return None,
    })
}

/// What to write instead of a filter that only Django has.
pub(super) fn filter_remedy(name: &str) -> Option<Remedy> {
    Some(match name {
        "date" | "time" | "timesince" | "timeuntil" | "naturaltime" | "naturalday" => (
            "los valores llegan como texto ya escrito, así que envíe la fecha o la hora en `context` como debe leerse.",
            "values come as finished text, so send the date or the time in `context` as it is to be read.",
        ),
        "safe" | "safeseq" | "force_escape" | "escapejs" | "autoescape" => {
            ("los valores se escapan siempre que el texto es HTML.", "values are escaped whenever the text is HTML.")
        }
        "default_if_none" => ("escriba `|default(\"…\")`.", "write `|default(\"…\")`."),
        "cut" => ("escriba `|replace(\"…\", \"\")`.", "write `|replace(\"…\", \"\")`."),
        "capfirst" => ("escriba `|capitalize`.", "write `|capitalize`."),
        "add" => (
            "escriba `{{ a + b }}` para números, o `{{ a ~ b }}` para textos.",
            "write `{{ a + b }}` for numbers, or `{{ a ~ b }}` for texts.",
        ),
        "divisibleby" => ("escriba `{% if a is divisibleby(2) %}`.", "write `{% if a is divisibleby(2) %}`."),
        "yesno" | "pluralize" => {
            ("escriba `{% if … %}…{% else %}…{% endif %}`.", "write `{% if … %}…{% else %}…{% endif %}`.")
        }
        "floatformat" => ("escriba `|round(2)`.", "write `|round(2)`."),
        "linebreaks" | "linebreaksbr" | "striptags" | "urlize" | "urlizetrunc" | "removetags" | "slice" | "join"
        | "truncatechars" | "truncatechars_html" | "truncatewords" | "truncatewords_html" | "wordcount"
        | "wordwrap" | "center" | "ljust" | "rjust" | "linenumbers" | "urlencode" | "iriencode" | "slugify"
        | "stringformat" | "intcomma" | "intword" | "apnumber" | "ordinal" | "filesizeformat" | "phone2numeric"
        | "make_list" | "dictsort" | "dictsortreversed" | "random" | "unordered_list" | "json_script" | "pprint"
        | "get_digit" | "addslashes" | "length_is" | "localize" | "unlocalize" | "language_name" => {
            ("envíe el valor en `context` ya como debe leerse.", "send the value in `context` as it is to be read.")
        }
        _ => return None,
    })
}
