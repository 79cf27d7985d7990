//! What a mail says, in the two forms in which it travels: for programs that show text, and for those that show HTML.

use crate::plain_text::plain_text;

/// The same words twice.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MailBody {
    pub text: String,
    pub html: String,
}

impl MailBody {
    /// Of the words of a message. What is not HTML is text and nothing else, whatever it looks like.
    pub fn of(subject: &str, body: &str, is_html: bool) -> Self {
        if !is_html {
            return Self { text: body.to_owned(), html: page(subject, &paragraphs(body)) };
        }
        let html = if is_document(body) { body.to_owned() } else { page(subject, body) };
        Self { text: plain_text(body), html }
    }
}

/// A whole HTML document, which brings its own head.
fn is_document(body: &str) -> bool {
    let start: String = body.trim_start().chars().take(9).collect::<String>().to_ascii_lowercase();
    start.starts_with("<!doctype") || start.starts_with("<html")
}

/// Plain text as HTML: an empty line ends a paragraph, a line end stays one.
fn paragraphs(text: &str) -> String {
    let text = escape(&text.replace("\r\n", "\n"));
    let paragraphs =
        text.split("\n\n").map(|paragraph| paragraph.trim_matches('\n')).filter(|paragraph| !paragraph.is_empty());
    paragraphs.map(|paragraph| format!("<p>{}</p>\n", paragraph.replace('\n', "<br>\n"))).collect()
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

/// The frame around a body: readable width, real contrast, no images. Styles stand inline because mail programs drop
/// the rest, and the layout is a table because Outlook knows nothing else.
fn page(subject: &str, content: &str) -> String {
    format!(
        r##"<!doctype html>
<html lang="es">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
</head>
<body style="margin:0;padding:0;background-color:#f4f5f7">
<table role="presentation" width="100%" cellpadding="0" cellspacing="0" border="0">
<tr><td align="center" style="padding:24px 12px">
<table role="presentation" width="100%" cellpadding="0" cellspacing="0" border="0" style="max-width:600px;background-color:#ffffff;border-radius:8px">
<tr><td style="padding:16px 28px;font-family:-apple-system,'Segoe UI',Roboto,Helvetica,Arial,sans-serif;font-size:16px;line-height:1.6;color:#1f2933;text-align:left">
{content}
</td></tr>
</table>
</td></tr>
</table>
</body>
</html>
"##,
        title = escape(subject),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_looks_like_html_is_only_text() {
        let body = MailBody::of("Asunto", "Hola, <b>María</b>", false);
        assert_eq!(body.text, "Hola, <b>María</b>");
        assert!(body.html.contains("Hola, &lt;b&gt;María&lt;/b&gt;"), "{}", body.html);
    }

    #[test]
    fn a_document_is_told_from_a_part_of_one() {
        assert!(
            is_document("\n<!DOCTYPE html><html>…") && is_document("<HTML lang=es>") && !is_document("<p>Ñandú</p>")
        );
    }

    #[test]
    fn a_whole_document_is_left_alone() {
        let document = "<!doctype html><html><body><h1>Hola</h1><p>María</p></body></html>";
        let body = MailBody::of("Asunto", document, true);
        assert_eq!((body.text.as_str(), body.html.as_str()), ("# Hola\n\nMaría", document));
    }
}
