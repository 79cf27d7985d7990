//! The two pages on which people read the document of the API (S002-34): Swagger UI to try it, ReDoc to read it.
//!
//! All that they are drawn with is in the program (`api/assets/`, made by `scripts/vendor-docs.sh`): they look the same
//! where there is no internet, and report their readers to no other site.

use std::sync::LazyLock;

use axum::http::header::{CACHE_CONTROL, CONTENT_ENCODING, CONTENT_TYPE, HeaderName};
use axum::response::{Html, IntoResponse, Response};
use axum::routing::get;
use utoipa_axum::routes;

use crate::extract::path::Segment;
use crate::openapi;
use crate::problem::Problem;
use crate::state::Routes;

/// `/api/docs`
pub(crate) fn swagger_routes() -> Routes {
    Routes::new().routes(routes!(swagger)).route("/assets/{file}", get(asset))
}

/// `/api/redoc`
pub(crate) fn redoc_routes() -> Routes {
    Routes::new().routes(routes!(redoc))
}

/// Swagger UI: this document, with a form for each operation.
#[utoipa::path(get, path = "/", tag = "schema",
    responses((status = 200, description = "A page for browsers", body = String, content_type = "text/html")))]
async fn swagger() -> Response {
    static PAGE: LazyLock<String> = LazyLock::new(|| fill(include_str!("../../../assets/docs.html")));
    page(&PAGE)
}

/// ReDoc: this document, for reading.
#[utoipa::path(get, path = "/", tag = "schema",
    responses((status = 200, description = "A page for browsers", body = String, content_type = "text/html")))]
async fn redoc() -> Response {
    static PAGE: LazyLock<String> = LazyLock::new(|| fill(include_str!("../../../assets/redoc.html")));
    page(&PAGE)
}

/// A file that the pages need. Its name begins with the edition, so a browser that has it need not ask again.
async fn asset(Segment(file): Segment<String>) -> Result<Response, Problem> {
    let (edition, name) = file.split_once('-').ok_or(Problem::NotFound)?;
    let asset = ASSETS.iter().find(|asset| asset.name == name && edition == *EDITION).ok_or(Problem::NotFound)?;
    let headers = [(CONTENT_TYPE, asset.media_type), (CACHE_CONTROL, "public, max-age=31536000, immutable"), NO_SNIFF];
    // Every browser takes gzip, and these files are for browsers only: no other form is kept.
    let compression = asset.is_compressed.then_some([(CONTENT_ENCODING, "gzip")]);
    Ok((headers, compression, asset.bytes).into_response())
}

struct Asset {
    name: &'static str,
    media_type: &'static str,
    is_compressed: bool,
    bytes: &'static [u8],
}

const JAVASCRIPT: &str = "text/javascript; charset=utf-8";
const CSS: &str = "text/css; charset=utf-8";

static ASSETS: [Asset; 6] = [
    Asset {
        name: "swagger-ui-bundle.js",
        media_type: JAVASCRIPT,
        is_compressed: true,
        bytes: include_bytes!("../../../assets/swagger-ui-bundle.js.gz"),
    },
    Asset {
        name: "swagger-ui.css",
        media_type: CSS,
        is_compressed: true,
        bytes: include_bytes!("../../../assets/swagger-ui.css.gz"),
    },
    Asset {
        name: "redoc.standalone.js",
        media_type: JAVASCRIPT,
        is_compressed: true,
        bytes: include_bytes!("../../../assets/redoc.standalone.js.gz"),
    },
    Asset {
        name: "docs.js",
        media_type: JAVASCRIPT,
        is_compressed: false,
        bytes: include_bytes!("../../../assets/docs.js"),
    },
    Asset {
        name: "redoc.js",
        media_type: JAVASCRIPT,
        is_compressed: false,
        bytes: include_bytes!("../../../assets/redoc.js"),
    },
    Asset {
        name: "pages.css",
        media_type: CSS,
        is_compressed: false,
        bytes: include_bytes!("../../../assets/pages.css"),
    },
];

/// Changes with every byte of them.
static EDITION: LazyLock<String> = LazyLock::new(|| openapi::edition(ASSETS.iter().map(|asset| asset.bytes)));

fn fill(page: &str) -> String {
    page.replace("{edition}", &EDITION)
}

const NO_SNIFF: (HeaderName, &str) = (HeaderName::from_static("x-content-type-options"), "nosniff");

/// Only what comes from here is run, and only here is anything asked for. Both pages write styles into themselves, and
/// ReDoc searches in a worker that it builds from a blob.
const CONTENT_SECURITY_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; \
     img-src 'self' data:; connect-src 'self'; worker-src blob:; base-uri 'none'; form-action 'none'; \
     frame-ancestors 'none'";

fn page(html: &'static str) -> Response {
    let headers = [
        (HeaderName::from_static("content-security-policy"), CONTENT_SECURITY_POLICY),
        (HeaderName::from_static("referrer-policy"), "no-referrer"),
        (CACHE_CONTROL, "no-cache"),
        NO_SNIFF,
    ];
    (headers, Html(html)).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a page names is there, and nothing that is there is named by no page.
    #[test]
    fn the_pages_name_the_files_that_are_there() {
        let pages = [include_str!("../../../assets/docs.html"), include_str!("../../../assets/redoc.html")].concat();
        let mut named: Vec<&str> = pages.split("/api/docs/assets/{edition}-").skip(1).collect();
        named = named.into_iter().map(|rest| rest.split('"').next().expect("a name")).collect();
        named.sort_unstable();
        named.dedup();
        let mut there: Vec<&str> = ASSETS.iter().map(|asset| asset.name).collect();
        there.sort_unstable();
        assert_eq!(named, there);
    }

    #[test]
    fn what_is_said_to_be_compressed_is() {
        for asset in &ASSETS {
            assert_eq!(asset.bytes.starts_with(&[0x1f, 0x8b]), asset.is_compressed, "{}", asset.name);
        }
    }
}
