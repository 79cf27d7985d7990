//! Times as people of a partner read and write them.

use chrono::NaiveDateTime;
use recado_kernel::clock::Timestamp;

use crate::state::Api;

/// A time as people of this installation read it.
pub(super) fn time_of(api: &Api, at: Timestamp) -> String {
    at.to_utc().with_timezone(&api.context.config.time_zone).format("%d/%m/%Y %H:%M:%S").to_string()
}

/// The same as forms write it.
pub(super) fn local(api: &Api, at: Timestamp) -> String {
    at.to_utc().with_timezone(&api.context.config.time_zone).format("%Y-%m-%dT%H:%M").to_string()
}

/// What a form wrote, in the zone of this installation. Of an hour that comes twice the first is meant.
pub(super) fn read_local(api: &Api, text: &str) -> Option<Timestamp> {
    let time =
        ["%Y-%m-%dT%H:%M", "%Y-%m-%dT%H:%M:%S"].iter().find_map(|form| NaiveDateTime::parse_from_str(text, form).ok());
    let zoned = time?.and_local_timezone(api.context.config.time_zone).earliest()?;
    Some(zoned.to_utc().into())
}
