//! Pages of a list that is walked by its key, in both directions: nothing is counted, and no row is read to be skipped.

/// Where a page lies: at the beginning of the list, or beside one of its rows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Cursor<K> {
    #[default]
    Start,
    /// It begins after this row.
    After(K),
    /// It ends before this row.
    Before(K),
}

/// The order of the whole list by its key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    Ascending,
    Descending,
}

impl<K> Cursor<K> {
    /// What a link asks for: after a row, else before one, else the beginning.
    pub fn of_link(after: Option<K>, before: Option<K>) -> Self {
        match (after, before) {
            (Some(key), _) => Self::After(key),
            (None, Some(key)) => Self::Before(key),
            (None, None) => Self::Start,
        }
    }

    /// The word for `order by`. A page before a row is read from that row on, backwards.
    pub fn direction(&self, order: Order) -> &'static str {
        match (order, self.is_before()) {
            (Order::Ascending, false) | (Order::Descending, true) => "asc",
            (Order::Descending, false) | (Order::Ascending, true) => "desc",
        }
    }

    /// The row beside which the page lies, and how keys of the page compare with it.
    pub fn beyond(self, order: Order) -> Option<(K, &'static str)> {
        let sign = if self.direction(order) == "asc" { ">" } else { "<" };
        match self {
            Self::Start => None,
            Self::After(key) | Self::Before(key) => Some((key, sign)),
        }
    }

    /// The page, in the order of the list, and whether there is more in its direction. `read` is one row longer than the page then.
    pub fn cut<T>(&self, mut read: Vec<T>, limit: i64) -> (Vec<T>, bool) {
        let limit = usize::try_from(limit).unwrap_or_default();
        let has_more = read.len() > limit;
        read.truncate(limit);
        if self.is_before() {
            read.reverse();
        }
        (read, has_more)
    }

    fn is_before(&self) -> bool {
        matches!(self, Self::Before(_))
    }
}

#[cfg(test)]
mod tests {
    use super::Order::{Ascending, Descending};
    use super::*;

    #[test]
    fn a_page_is_read_away_from_its_row() {
        for (cursor, order, direction, beyond) in [
            (Cursor::Start, Ascending, "asc", None),
            (Cursor::Start, Descending, "desc", None),
            (Cursor::After(7), Ascending, "asc", Some((7, ">"))),
            (Cursor::After(7), Descending, "desc", Some((7, "<"))),
            (Cursor::Before(7), Ascending, "desc", Some((7, "<"))),
            (Cursor::Before(7), Descending, "asc", Some((7, ">"))),
        ] {
            assert_eq!((cursor.direction(order), cursor.beyond(order)), (direction, beyond), "{cursor:?} {order:?}");
        }
    }

    #[test]
    fn a_page_keeps_the_order_of_the_list() {
        assert_eq!(Cursor::After(1).cut(vec![2, 3, 4], 2), (vec![2, 3], true));
        assert_eq!(Cursor::<i32>::Start.cut(vec![1, 2], 2), (vec![1, 2], false));
        assert_eq!(Cursor::Before(9).cut(vec![8, 7, 6], 2), (vec![7, 8], true));
    }
}
