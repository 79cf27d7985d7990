//! A request is described once: its reader and the document of the API come from the same struct.

use recado_notifications::dispatch::Event;
use serde_json::{Map, Value};

use crate::extract::fields::{Field, Fields, MAX_BODY_BYTES, object};
use crate::problem::Problem;

/// What can be read from the fields of a JSON object or of a query. Fields that are not described are ignored.
pub(crate) trait Request: Sized {
    /// The largest body that is read, in bytes.
    const MAX_BODY_BYTES: usize = MAX_BODY_BYTES;

    /// Reads all fields, also after one was wrong: the errors are gathered in `fields`. `None` only when a field is wrong
    /// without which there is no value; then `fields` has an error.
    fn read(fields: &mut Fields) -> Option<Self>;

    /// What else is wrong, of a request whose fields could be read.
    fn errors(&self) -> Vec<(&'static str, String)> {
        Vec::new()
    }
}

/// Reads a request from a value: a whole body, or an object that was part of one.
pub(crate) fn read<T: Request>(value: Value) -> Result<T, Problem> {
    read_fields(Fields::of(object(value)?))
}

/// Reads a request from its fields.
pub(crate) fn read_fields<T: Request>(mut fields: Fields) -> Result<T, Problem> {
    let request = T::read(&mut fields);
    fields.finish(request)
}

/// Declares a request: a struct from which the document of the API is derived (`ToSchema`, `IntoParams`), and its reader.
///
/// A field's type says how it is read (see [`Member`]); `= value` is its default. Constants and functions that stand after the
/// struct become part of its `impl Request`.
macro_rules! request {
    (
        $(#[$attribute:meta])*
        $visibility:vis struct $name:ident {
            $($(#[$about:meta])* $field:ident: $type:ty $(= $default:expr)?,)*
        }
        $($own:item)*
    ) => {
        $(#[$attribute])*
        $visibility struct $name {
            $($(#[$about])* $field: $type,)*
        }

        impl $crate::extract::request::Request for $name {
            $($own)*

            fn read(fields: &mut $crate::extract::fields::Fields) -> Option<Self> {
                $(let $field = $crate::extract::request::request!(@field fields, stringify!($field) $(, $default)?);)*
                let request = Self { $($field: $field?,)* };
                fields.check(request.errors());
                Some(request)
            }
        }

        impl $crate::extract::request::Member for $name {
            fn take(fields: &mut $crate::extract::fields::Fields, name: &'static str) -> Option<Self> {
                fields.within(name, <Self as $crate::extract::request::Request>::read)
            }
        }
    };
    (@field $fields:ident, $name:expr) => {
        $crate::extract::request::Member::take($fields, $name)
    };
    (@field $fields:ident, $name:expr, $default:expr) => {
        if $fields.has($name) { $fields.mandatory($name) } else { Some($default) }
    };
}
pub(crate) use request;

/// How a field of a request is read, by its type:
///
/// - `T` must be there and not be null;
/// - `Option<T>` may be absent or null;
/// - `Option<Option<T>>` tells absent (`None`) from null (`Some(None)`), for what is changed in part;
/// - another request is an object, and its errors are nested.
pub(crate) trait Member: Sized {
    /// `None` when the field is wrong and there is no value to go on with.
    fn take(fields: &mut Fields, name: &'static str) -> Option<Self>;
}

impl<T: Field> Member for T {
    fn take(fields: &mut Fields, name: &'static str) -> Option<Self> {
        fields.mandatory(name)
    }
}

impl<T: Field> Member for Option<T> {
    fn take(fields: &mut Fields, name: &'static str) -> Option<Self> {
        Some(fields.optional(name))
    }
}

impl<T: Field> Member for Option<Option<T>> {
    fn take(fields: &mut Fields, name: &'static str) -> Option<Self> {
        Some(fields.has(name).then(|| fields.optional(name)))
    }
}

/// A field that must be there, in a request of which the rest is looked at also without it.
pub(crate) struct Required<T>(pub(crate) Option<T>);

impl<T: Field> Member for Required<T> {
    fn take(fields: &mut Fields, name: &'static str) -> Option<Self> {
        Some(Self(fields.mandatory(name)))
    }
}

/// Objects that are read later, each by itself.
impl Member for Vec<Fields> {
    fn take(fields: &mut Fields, name: &'static str) -> Option<Self> {
        let objects: Vec<Map<String, Value>> = fields.mandatory(name)?;
        Some(objects.into_iter().map(Fields::of).collect())
    }
}

/// An event's fields stand among those of the request that carries it, as `#[serde(flatten)]` says to the document.
impl Member for Event {
    fn take(fields: &mut Fields, _: &'static str) -> Option<Self> {
        Self::read(fields)
    }
}
