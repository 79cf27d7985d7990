//! Files that pages are drawn with, as they stand in the program. Their addresses name an edition that changes with every byte of
//! them, so that a browser which has one need not ask again.

use axum::http::header::{CACHE_CONTROL, CONTENT_ENCODING, CONTENT_TYPE};
use axum::response::{IntoResponse, Response};
use sha2::{Digest, Sha256};

/// The media type of scripts.
pub const JAVASCRIPT: &str = "text/javascript; charset=utf-8";
/// The media type of style sheets.
pub const CSS: &str = "text/css; charset=utf-8";

/// One file.
pub struct File {
    /// Its address is `{edition}-{name}`, below that of its pages.
    pub name: &'static str,
    pub media_type: &'static str,
    /// Its bytes are gzip. Every browser takes that, and these files are for browsers only: no other form is kept.
    pub is_compressed: bool,
    pub bytes: &'static [u8],
}

/// Names an edition of this content, so that an old copy is recognised. Twelve digits suffice: it protects no secret.
pub fn edition<'c>(content: impl IntoIterator<Item = &'c [u8]>) -> String {
    let mut digest = Sha256::new();
    content.into_iter().for_each(|part| digest.update(part));
    hex::encode(&digest.finalize()[..6])
}

/// The file that is asked for as `{edition}-{name}`. `None`: there is none of that name, or it is of another edition.
pub fn answer(files: &[File], edition: &str, asked: &str) -> Option<Response> {
    let (of, name) = asked.split_once('-')?;
    let file = files.iter().find(|file| file.name == name && of == edition)?;
    let headers = [(CONTENT_TYPE, file.media_type), (CACHE_CONTROL, "public, max-age=31536000, immutable")];
    let compression = file.is_compressed.then_some([(CONTENT_ENCODING, "gzip")]);
    Some((headers, compression, file.bytes).into_response())
}
