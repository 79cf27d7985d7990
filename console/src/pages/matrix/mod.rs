//! The matrix: which channel carries which phase, for an audience and a workshop. Changes are staged in a form, reviewed, and written
//! together.

mod changes;
mod grid;
mod services;
mod staging;

pub(crate) use self::changes::{inherit, review, save, undo};
pub(crate) use self::grid::show;
pub(crate) use self::services::list;

const PATH: &str = "/admin/matrix/";
