//! The files that pages are drawn with, all of them in the program: `scripts/vendor-console.sh` makes those of others.

use std::sync::LazyLock;

use axum::response::Response;

use crate::auth::{Enter, May};
use crate::failure::Failure;
use crate::files::{self, CSS, File, JAVASCRIPT};
use crate::path::Path;

static ASSETS: [File; 5] = [
    File {
        name: "htmx.js",
        media_type: JAVASCRIPT,
        is_compressed: true,
        bytes: include_bytes!("../assets/htmx.js.gz"),
    },
    File {
        name: "hx-sse.js",
        media_type: JAVASCRIPT,
        is_compressed: true,
        bytes: include_bytes!("../assets/hx-sse.js.gz"),
    },
    File {
        name: "console.js",
        media_type: JAVASCRIPT,
        is_compressed: false,
        bytes: include_bytes!("../assets/console.js"),
    },
    File { name: "console.css", media_type: CSS, is_compressed: false, bytes: include_bytes!("../assets/console.css") },
    File {
        name: "icon.svg",
        media_type: "image/svg+xml",
        is_compressed: false,
        bytes: include_bytes!("../assets/icon.svg"),
    },
];

/// What the addresses of these files begin with.
pub(crate) fn edition() -> &'static str {
    static EDITION: LazyLock<String> = LazyLock::new(|| files::edition(ASSETS.iter().map(|asset| asset.bytes)));
    &EDITION
}

/// `/admin/assets/{edition}-{name}`
pub(crate) async fn asset(_: May<Enter>, Path(file): Path<String>) -> Result<Response, Failure> {
    files::answer(&ASSETS, edition(), &file).ok_or(Failure::NotFound)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_said_to_be_compressed_is() {
        for asset in &ASSETS {
            assert_eq!(asset.bytes.starts_with(&[0x1f, 0x8b]), asset.is_compressed, "{}", asset.name);
        }
    }

    #[test]
    fn the_frame_names_the_files_that_are_there() {
        let frame = include_str!("../templates/frame.html");
        for asset in &ASSETS {
            assert!(frame.contains(&format!("-{}\"", asset.name)), "{}", asset.name);
        }
    }
}
