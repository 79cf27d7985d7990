//! What an editor is told about a text, at its line: what could never be rendered, names that are not sent, and variables that some
//! callers leave out. Pure.

use std::collections::HashSet;

use recado_kernel::language::{Language, Sentence};

use super::rendering::{CompiledTemplate, Part, VARIABLES, normalise};
use crate::sent_variables::{Gap, Sent, gaps};

/// One remark.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Remark {
    pub part: Part,
    /// From 1; `None` where no line is to blame.
    pub line: Option<usize>,
    pub about: About,
}

/// What it is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum About {
    /// It could never be rendered: the problem with its remedy.
    Flaw(Sentence),
    /// Neither the documents nor any caller know this name. `meant`: the known name that is most like it.
    Unknown { variable: String, meant: Option<&'static str> },
    /// Callers leave it out, and their events would be refused. `is_new`: the text that is in use does without it.
    Unsent { gap: Gap, is_new: bool },
}

impl About {
    /// Whether the text cannot be used like this.
    pub fn is_fatal(&self) -> bool {
        matches!(self, Self::Flaw(_))
    }

    /// A sentence with the remedy.
    pub fn sentence(&self, language: Language) -> String {
        match self {
            Self::Flaw(problem) => problem.told(language).to_owned(),
            Self::Unknown { variable, meant } => {
                let meant = meant.map(|name| {
                    language.pick(format!(" ¿Quiso decir {{{{{name}}}}}?"), format!(" Did you mean {{{{{name}}}}}?"))
                });
                let said = language.pick(
                    format!("{{{{{variable}}}}} no está en la lista y ningún emisor la envía."),
                    format!("{{{{{variable}}}}} is not on the list, and no caller sends it."),
                );
                said + &meant.unwrap_or_default()
            }
            Self::Unsent { gap, is_new } => {
                let Gap { variable, lacking, callers } = gap;
                let new = if *is_new { language.pick("es nueva y obligatoria", "is new and obligatory") } else { "" };
                let is = if *is_new { new } else { language.pick("es obligatoria", "is obligatory") };
                language.pick(
                    format!(
                        "{{{{{variable}}}}} {is}, y {lacking} de {callers} emisores no la enviaron en 30 días: sus eventos \
                         se rechazarían con 400. Escriba {{% if {variable} %}}…{{% endif %}}."
                    ),
                    format!(
                        "{{{{{variable}}}}} {is}, and {lacking} of {callers} callers did not send it in 30 days: their \
                         events would be refused with 400. Write {{% if {variable} %}}…{{% endif %}}."
                    ),
                )
            }
        }
    }
}

/// What there is to say about a text that can be rendered. `in_use`: the text that stands there now.
pub fn remarks(
    (subject, body): (&str, &str),
    compiled: &CompiledTemplate,
    in_use: Option<&CompiledTemplate>,
    sent: &[Sent],
    strict_case: bool,
) -> Vec<Remark> {
    let known: HashSet<&str> =
        VARIABLES.iter().map(|variable| variable.id).chain(sent.iter().map(|sent| sent.variable.as_str())).collect();
    let place = |label: &str| {
        let in_subject = line_of(subject, label).map(|line| (Part::Subject, Some(line)));
        in_subject.unwrap_or_else(|| (Part::Body, line_of(body, label)))
    };
    let mut remarks = Vec::new();
    let mut unknown = HashSet::new();
    for variable in compiled.variables() {
        if !known.contains(normalise(&variable.id).as_str()) {
            unknown.insert(variable.label.as_str());
            let (part, line) = place(&variable.label);
            let about = About::Unknown { variable: variable.label.clone(), meant: most_like(&variable.label) };
            remarks.push(Remark { part, line, about });
        }
    }
    let was_there = |label: &str| {
        let label = normalise(label);
        in_use.is_some_and(|text| text.variables().iter().any(|variable| normalise(&variable.id) == label))
    };
    for gap in gaps(compiled, sent, strict_case).into_iter().filter(|gap| !unknown.contains(gap.variable.as_str())) {
        let (part, line) = place(&gap.variable);
        let is_new = !was_there(&gap.variable);
        remarks.push(Remark { part, line, about: About::Unsent { gap, is_new } });
    }
    remarks
}

/// The first line on which a name stands within a tag.
fn line_of(text: &str, name: &str) -> Option<usize> {
    let is_part = |one: char| one.is_alphanumeric() || one == '_';
    let found = text.match_indices(name).find(|(start, _)| {
        let (before, after) = (&text[..*start], &text[start + name.len()..]);
        let opens = before.rfind("{{").max(before.rfind("{%"));
        let closes = before.rfind("}}").max(before.rfind("%}"));
        let is_inside = opens.is_some_and(|open| closes.is_none_or(|close| close < open));
        is_inside && !before.ends_with(is_part) && !after.starts_with(is_part)
    });
    found.map(|(start, _)| text[..start].matches('\n').count() + 1)
}

/// The documented name that is most like one that is not known, if any is.
fn most_like(name: &str) -> Option<&'static str> {
    let name = normalise(name);
    let ids: Vec<&str> = VARIABLES.iter().map(|variable| variable.id).collect();
    let id = *similar::get_close_matches(name.as_str(), &ids, 1, 0.7).first()?;
    VARIABLES.iter().find(|variable| variable.id == id).map(super::rendering::Variable::name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn compile(body: &str) -> CompiledTemplate {
        CompiledTemplate::compile("", body, false).expect("a good template")
    }

    fn sent(caller: &str, variable: &str) -> Sent {
        Sent { event_type: "vehicle_ready".into(), caller: caller.into(), variable: variable.into() }
    }

    #[test]
    fn names_are_told_at_their_line() {
        let body = "Hola, {{Nombre}}:\nNombra {{ Nombra }}\n{% if Órden %}x{% endif %} {{Kilometraje}}";
        let known = [sent("panel", ""), sent("panel", "nombre"), sent("panel", "kilometraje"), sent("crm", "nombre")];
        let told = remarks(("", body), &compile(body), Some(&compile("{{Nombre}}")), &known, false);
        let told: Vec<(Option<usize>, String)> =
            told.iter().map(|remark| (remark.line, remark.about.sentence(Language::English))).collect();
        assert_eq!(told.len(), 2, "{told:?}");
        assert_eq!(told[0].0, Some(2));
        assert_eq!(told[0].1, "{{Nombra}} is not on the list, and no caller sends it. Did you mean {{Nombre}}?");
        assert_eq!(told[1].0, Some(3));
        assert!(told[1].1.starts_with("{{Kilometraje}} is new and obligatory, and 1 of 2 callers"), "{}", told[1].1);
        assert!(told[1].1.ends_with("Write {% if Kilometraje %}…{% endif %}."), "{}", told[1].1);
    }

    #[test]
    fn a_name_counts_only_within_a_tag() {
        for (text, name, line) in [
            ("Orden\n{{Orden}}", "Orden", Some(2)),
            ("{{OrdenX}}\n\n{{ Orden|upper }}", "Orden", Some(3)),
            ("{% if Orden %}", "Orden", Some(1)),
            ("{{a}} Orden", "Orden", None),
            ("", "Orden", None),
        ] {
            assert_eq!(line_of(text, name), line, "{text}");
        }
    }

    #[test]
    fn a_name_that_is_like_none_is_like_none() {
        assert_eq!(most_like("Vehiculos"), Some("Vehículo"));
        assert_eq!(most_like("Kilometraje"), None);
    }
}
