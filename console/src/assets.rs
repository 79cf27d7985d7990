//! The files that pages are drawn with, all of them in the program: `scripts/vendor-console.sh` makes those of others.

use std::sync::LazyLock;

use axum::extract::Path;
use axum::http::header::{CACHE_CONTROL, CONTENT_ENCODING, CONTENT_TYPE};
use axum::response::{IntoResponse, Response};
use sha2::{Digest, Sha256};

use crate::auth::{Enter, May};
use crate::failure::Failure;

struct Asset {
    name: &'static str,
    media_type: &'static str,
    is_compressed: bool,
    bytes: &'static [u8],
}

const JAVASCRIPT: &str = "text/javascript; charset=utf-8";

static ASSETS: [Asset; 5] = [
    Asset {
        name: "htmx.js",
        media_type: JAVASCRIPT,
        is_compressed: true,
        bytes: include_bytes!("../assets/htmx.js.gz"),
    },
    Asset {
        name: "hx-sse.js",
        media_type: JAVASCRIPT,
        is_compressed: true,
        bytes: include_bytes!("../assets/hx-sse.js.gz"),
    },
    Asset {
        name: "console.js",
        media_type: JAVASCRIPT,
        is_compressed: false,
        bytes: include_bytes!("../assets/console.js"),
    },
    Asset {
        name: "console.css",
        media_type: "text/css; charset=utf-8",
        is_compressed: false,
        bytes: include_bytes!("../assets/console.css"),
    },
    Asset {
        name: "icon.svg",
        media_type: "image/svg+xml",
        is_compressed: false,
        bytes: include_bytes!("../assets/icon.svg"),
    },
];

/// Changes with every byte of them, so that a browser which has one need not ask again.
pub(crate) fn edition() -> &'static str {
    static EDITION: LazyLock<String> = LazyLock::new(|| {
        let mut digest = Sha256::new();
        ASSETS.iter().for_each(|asset| digest.update(asset.bytes));
        hex::encode(&digest.finalize()[..6])
    });
    &EDITION
}

/// `/admin/assets/{edition}-{name}`
pub(crate) async fn asset(_: May<Enter>, Path(file): Path<String>) -> Result<Response, Failure> {
    let (asked, name) = file.split_once('-').ok_or(Failure::NotFound)?;
    let asset = ASSETS.iter().find(|asset| asset.name == name && asked == edition()).ok_or(Failure::NotFound)?;
    let headers = [(CONTENT_TYPE, asset.media_type), (CACHE_CONTROL, "public, max-age=31536000, immutable")];
    let compression = asset.is_compressed.then_some([(CONTENT_ENCODING, "gzip")]);
    Ok((headers, compression, asset.bytes).into_response())
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
