//! What is asked of every field of a request.

/// Text fields hold no control characters, so that nothing of them ever ends a header or a line.
pub fn check_text(errors: &mut Vec<(&'static str, String)>, field: &'static str, value: Option<&str>, longest: usize) {
    let Some(value) = value else { return };
    if value.chars().any(char::is_control) {
        errors.push((field, "No se permiten caracteres de control.".to_owned()));
    }
    if value.chars().count() > longest {
        errors.push((field, format!("Asegúrese de que este campo no tenga más de {longest} caracteres.")));
    }
}
