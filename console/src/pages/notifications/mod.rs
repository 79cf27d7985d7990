//! Messages: what was sent, is being sent, or failed; and the story of each.

mod acts;
mod list;
pub(crate) mod story;
mod words;

pub(crate) use self::acts::{cancel, resend, retry, reveal};
pub(crate) use self::list::{NEW, count, list};
pub(crate) use self::story::{ONE, show};
pub(crate) use self::words::html_of;

const PATH: &str = "/admin/notifications/";
