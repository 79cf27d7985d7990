//! Names that others chose, as parts of URLs.

use url::form_urlencoded::byte_serialize;

/// A text as one segment of a path, or as a value of a query. Two dots are written out too, because they would lead up, and
/// [`is_local`](crate::notice::is_local) lets no such URL through.
pub(crate) fn encoded(text: &str) -> String {
    byte_serialize(text.as_bytes()).collect::<String>().replace('+', "%20").replace("..", "%2E%2E")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::notice::is_local;

    #[test]
    fn whatever_a_thing_is_called_its_url_stays_here() {
        for (name, part) in
            [("norte 1", "norte%201"), ("a/b", "a%2Fb"), ("../x", "%2E%2E%2Fx"), ("a+b&c=ñ", "a%2Bb%26c%3D%C3%B1")]
        {
            assert_eq!(encoded(name), part);
            assert!(is_local(&format!("/admin/workshops/{part}/")), "{name}");
        }
    }
}
