//! The variables of templates: those that the documents list, and how names are compared.

use unicode_normalization::UnicodeNormalization as _;
use unicode_normalization::char::is_combining_mark;

/// A variable that every template may use (S002-46).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Variable {
    /// Its name on the wire, in `context` and in `missing_fields`.
    pub id: &'static str,
    /// As an editor writes it in a template.
    pub label: &'static str,
    pub description: &'static str,
    pub example: &'static str,
}

impl Variable {
    /// The label without its braces: `Vehículo`.
    pub fn name(&self) -> &'static str {
        self.label.trim_start_matches('{').trim_end_matches('}')
    }
}

const fn variable(id: &'static str, label: &'static str, description: &'static str, example: &'static str) -> Variable {
    Variable { id, label, description, example }
}

/// The variables that the documents list, in their order (S002-46).
pub const VARIABLES: &[Variable] = &[
    variable("nombre", "{{Nombre}}", "Nombre del cliente", "Carlos Mendoza"),
    variable("placa", "{{Placa}}", "Placa del vehículo", "ABC123"),
    variable("vehiculo", "{{Vehículo}}", "Marca y modelo del vehículo", "Haval H6 2024"),
    variable("fase", "{{Fase}}", "Fase actual del servicio", "Recepción"),
    variable("fecha", "{{Fecha}}", "Fecha programada", "20 de Enero, 2026"),
    variable("hora", "{{Hora}}", "Hora programada", "14:30"),
    variable("orden", "{{Orden}}", "Número de orden de trabajo", "OT-2025-001"),
    variable("tecnico", "{{Técnico}}", "Técnico asignado", "Juan Pérez"),
    variable("taller", "{{Taller}}", "Nombre del taller", "Ambacar Service"),
];

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
