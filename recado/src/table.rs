//! Tables for people to read.

/// Rows under a line of titles. A title that begins with `>` makes its column right-aligned, as numbers are.
pub(crate) struct Table {
    titles: Vec<&'static str>,
    rows: Vec<Vec<String>>,
}

impl Table {
    pub(crate) fn new(titles: &[&'static str]) -> Self {
        Self { titles: titles.to_vec(), rows: Vec::new() }
    }

    /// Adds a row with a cell for every title. Line ends and other control characters become blanks.
    pub(crate) fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        let cells = cells.into_iter().map(|cell| cell.replace(char::is_control, " "));
        self.rows.push(cells.collect());
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// The lines; none has blanks at its end.
    pub(crate) fn render(&self) -> String {
        let titles: Vec<String> = self.titles.iter().map(|title| title.trim_start_matches('>').to_owned()).collect();
        let lines: Vec<&Vec<String>> = std::iter::once(&titles).chain(&self.rows).collect();
        let width = |column: usize| lines.iter().filter_map(|line| line.get(column)).map(|cell| length(cell)).max();
        let widths: Vec<usize> = (0..titles.len()).map(|column| width(column).unwrap_or_default()).collect();
        let mut text = String::new();
        for line in lines {
            let mut padded = String::new();
            for ((cell, width), title) in line.iter().zip(&widths).zip(&self.titles) {
                let pad = " ".repeat(width - length(cell));
                let (before, after) = if title.starts_with('>') { (&*pad, "") } else { ("", &*pad) };
                padded.push_str(&format!("{before}{cell}{after}  "));
            }
            text.push_str(padded.trim_end());
            text.push('\n');
        }
        text
    }
}

/// A text of at most `longest` characters; an ellipsis says that there was more.
pub(crate) fn shorten(text: &str, longest: usize) -> String {
    if length(text) <= longest {
        return text.to_owned();
    }
    let kept: String = text.chars().take(longest.saturating_sub(1)).collect();
    format!("{}…", kept.trim_end())
}

fn length(text: &str) -> usize {
    text.chars().count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_aligned() {
        let mut table = Table::new(&["NAME", ">COUNT", "NOTE"]);
        table.row(["año".into(), "7".into(), String::new()]);
        table.row(["b".into(), "1234567".into(), "two\nlines".into()]);
        assert_eq!(table.render(), "NAME    COUNT  NOTE\naño         7\nb     1234567  two lines\n");
    }

    #[test]
    fn long_texts_end_in_an_ellipsis() {
        assert_eq!(shorten("corto", 5), "corto");
        assert_eq!(shorten("más largo", 5), "más…");
        assert_eq!(shorten("números", 4), "núm…");
    }
}
