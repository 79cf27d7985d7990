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
        | "truncatechars" | "truncatechars_html" | "truncatewords" | "truncatewords_html" | "wordcount"
        | "wordwrap" | "center" | "ljust" | "rjust" | "linenumbers" | "urlencode" | "iriencode" | "slugify"
        | "stringformat" | "intcomma" | "intword" | "apnumber" | "ordinal" | "filesizeformat" | "phone2numeric"
        | "make_list" | "dictsort" | "dictsortreversed" | "random" | "unordered_list" | "json_script" | "pprint"
        | "get_digit" | "addslashes" | "length_is" | "localize" | "unlocalize" | "language_name" => {
            "envíe el valor en `context` ya como debe leerse."
        }
        _ => return None,
    })
}

/// The complaint about such a filter.
pub(super) fn unknown_filter(name: &str, remedy: &str) -> String {
    format!("`|{name}` es un filtro de Django que aquí no existe: {remedy}")
}
