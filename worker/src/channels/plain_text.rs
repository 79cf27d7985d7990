//! HTML as text that people can read.

/// Columns of the text, so that `> ` of a reply still fits into 80 (RFC 3676, section 4.2).
const TEXT_WIDTH: usize = 76;

/// The words of an HTML document, with its links as footnotes.
pub(crate) fn plain_text(html: &str) -> String {
    let rendered =
        html2text::config::plain_no_decorate().link_footnotes(true).string_from_read(html.as_bytes(), TEXT_WIDTH);
    // It only fails when a table does not fit; unwrapped it is still readable.
    rendered.unwrap_or_else(|_| html.to_owned()).trim_end().to_owned()
}
