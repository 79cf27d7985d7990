//! The audiences: whom a text is written for.

use recado_kernel::word_enum;
use utoipa::ToSchema;

/// The audience of a message.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, strum::IntoStaticStr, strum::VariantArray, ToSchema)]
#[strum(serialize_all = "snake_case", const_into_str)]
#[schema(rename_all = "snake_case")]
pub enum Target {
    #[default]
    Clients,
    Staff,
}

word_enum!(Target, "an audience");
