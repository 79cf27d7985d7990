//! The two pages on which people read the document of the API (S002-34): Swagger UI to try it, ReDoc to read it.
//!
//! All that they are drawn with is in the program (`api/assets/`, made by `scripts/vendor-docs.sh`): they look the same
//! where there is no internet, and report their readers to no other site.

use std::sync::LazyLock;

use axum::http::header::{CACHE_CONTROL, HeaderName};
use axum::response::{Html, IntoResponse, Response};
use recado_console::any_handler::get;
use recado_console::files::{self, CSS, File, JAVASCRIPT};

use crate::extract::path::Segment;
use crate::problem::Problem;
use crate::routing::routes;
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
    let asset = files::answer(&ASSETS, &EDITION, &file).ok_or(Problem::NotFound)?;
    Ok(([NO_SNIFF], asset).into_response())
}

static ASSETS: [File; 6] = [
    File {
        name: "swagger-ui-bundle.js",
        media_type: JAVASCRIPT,
        is_compressed: true,
        bytes: include_bytes!("../../../assets/swagger-ui-bundle.js.gz"),
    },
    File {
        name: "swagger-ui.css",
        media_type: CSS,
        is_compressed: true,
        bytes: include_bytes!("../../../assets/swagger-ui.css.gz"),
    },
    File {
        name: "redoc.standalone.js",
        media_type: JAVASCRIPT,
        is_compressed: true,
        bytes: include_bytes!("../../../assets/redoc.standalone.js.gz"),
    },
    File {
        name: "docs.js",
        media_type: JAVASCRIPT,
        is_compressed: false,
        bytes: include_bytes!("../../../assets/docs.js"),
    },
    File {
        name: "redoc.js",
        media_type: JAVASCRIPT,
        is_compressed: false,
        bytes: include_bytes!("../../../assets/redoc.js"),
    },
    File {
        name: "pages.css",
        media_type: CSS,
        is_compressed: false,
        bytes: include_bytes!("../../../assets/pages.css"),
    },
];

/// Changes with every byte of them.
static EDITION: LazyLock<String> = LazyLock::new(|| files::edition(ASSETS.iter().map(|asset| asset.bytes)));

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
