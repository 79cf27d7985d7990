//! What was done a moment ago, and how it is undone: told once, on the page that follows an action.

use axum::http::HeaderValue;
use axum::http::StatusCode;
use axum::http::header::{LOCATION, SET_COOKIE};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};

use crate::cookies;

/// How long a browser keeps it, in seconds.
const KEPT: u32 = 60;

/// A notice on its way to the next page.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Notice {
    /// The message `notice-…`.
    pub(crate) word: String,
    pub(crate) count: i64,
    /// The form that takes it back, if there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) undo: Option<String>,
}

impl Notice {
    pub(crate) fn new(word: &str, count: usize) -> Self {
        Self { word: word.to_owned(), count: i64::try_from(count).unwrap_or(i64::MAX), undo: None }
    }

    #[must_use]
    pub(crate) fn undone_by(mut self, path: String) -> Self {
        self.undo = Some(path);
        self
    }

    /// Reads the cookie. A person who can write a cookie can make it say something else, so it leads nowhere but to our own pages.
    pub(crate) fn read(cookie: &str) -> Option<Self> {
        let notice: Self = serde_json::from_slice(&hex::decode(cookie).ok()?).ok()?;
        let is_good = notice.word.chars().all(|one| one.is_ascii_lowercase() || one == '-')
            && notice.undo.as_deref().is_none_or(is_local);
        is_good.then_some(notice)
    }

    fn cookie(&self) -> HeaderValue {
        cookies::set(cookies::NOTICE, &hex::encode(serde_json::to_vec(self).unwrap_or_default()), KEPT)
    }
}

/// Whether a URL leads to a page of the console, and nowhere else.
pub(crate) fn is_local(url: &str) -> bool {
    let is_admin = url == "/admin" || url.starts_with("/admin/") || url.starts_with("/admin?");
    is_admin && url.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'\\') && !url.contains("..")
}

/// Sends the browser on, with a notice.
pub(crate) fn then(url: &str, notice: &Notice) -> Response {
    let there = HeaderValue::from_str(if is_local(url) { url } else { "/admin/" });
    let there = there.unwrap_or(HeaderValue::from_static("/admin/"));
    (StatusCode::SEE_OTHER, [(LOCATION, there), (SET_COOKIE, notice.cookie())]).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_from_outside_leads_nowhere_else() {
        assert!(is_local("/admin/") && is_local("/admin/tasks/?state=dead&after=1") && is_local("/admin?x=1"));
        for bad in [
            "",
            "/",
            "//evil.example.com",
            "/admin/\\evil",
            "https://evil.example.com/admin/",
            "/administer",
            "/admin/../api",
            "/admin/a b",
            "/admin/\n",
        ] {
            assert!(!is_local(bad), "{bad}");
        }
        let evil = Notice::new("cancelled", 1).undone_by("https://evil.example.com".to_owned());
        assert!(Notice::read(&hex::encode(serde_json::to_vec(&evil).expect("JSON"))).is_none());
        assert!(Notice::read("zz").is_none());
    }
}
