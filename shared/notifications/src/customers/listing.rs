//! Lists of customers, and how one is found: by a name, an identifier, a plate, or an address however it is written.

use recado_kernel::db::filter::{Filter, List};
use recado_kernel::db::keyset::{Cursor, Order};
use recado_kernel::db::search::{self, Extent, Sought};
use recado_kernel::db::{Result, Session};

use super::{COLUMNS, Customer};

/// Where [`list`] looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SearchIn {
    /// Names and `customer_id`. Who does not see addresses could find one out, letter by letter, by searching for it.
    Names,
    /// There, and in addresses and numbers as a whole.
    Whole,
    /// Any part of addresses and numbers too.
    All,
}

/// A page of the customers in whom `search` is found, by `customer_id`, and how many there are in all. `None` finds all.
pub async fn list(
    session: &mut Session,
    search: Option<(&str, SearchIn)>,
    limit: i64,
    offset: i64,
) -> Result<(Vec<Customer>, i64)> {
    let mut asked = Filter::default();
    if let Some((search, place)) = search {
        let condition = found_in(&mut asked, session.is_embedded(), search, place);
        asked.require(condition);
    }
    let list = List {
        select: &format!("select {COLUMNS} from customers"),
        from: "customers",
        key: "customer_id",
        order: &["customer_id"],
        descending: false,
    };
    list.page(session, &asked, limit, offset).await
}

/// Customers by `customer_id`, and whether there are more in the direction in which the page was turned. Found by what [`list`]
/// finds, and by the plates of their vehicles.
///
/// Customers and plates are two walks, each no further than the page, so that each has its own index.
pub async fn page(
    session: &mut Session,
    search: Option<(&str, SearchIn)>,
    cursor: Cursor<&str>,
    limit: i64,
) -> Result<(Vec<Customer>, bool)> {
    let mut asked = Filter::default();
    let beyond = match cursor.beyond(Order::Ascending) {
        Some((id, sign)) => format!("c.customer_id {sign} {}", asked.value(id)),
        None => "true".to_owned(),
    };
    let (direction, reach, is_embedded) = (cursor.direction(Order::Ascending), limit + 1, session.is_embedded());
    let sorted = format!("order by c.customer_id {direction} limit {reach}");
    let keys = match search {
        None => format!("select c.customer_id from customers c where {beyond} {sorted}"),
        Some((search, place)) => {
            let in_customers = found_in(&mut asked, is_embedded, search, place);
            let sought = Sought { texts: &["plate"], word: search.trim().to_owned(), extent: Extent::Part };
            let in_vehicles = search::VEHICLES.condition(&mut asked, is_embedded, &[sought]);
            format!(
                "select customer_id from (select c.customer_id from customers c where {beyond} and {in_customers} {sorted}) a
                 union
                 select customer_id from (
                     select c.customer_id from customers c
                     where {beyond} and c.customer_id in (select customer_id from vehicles where {in_vehicles}) {sorted}) b"
            )
        }
    };
    let text = format!(
        "select {COLUMNS} from customers where customer_id in ({keys}) order by customer_id {direction} limit {reach}"
    );
    Ok(cursor.cut(asked.all(session, &text).await?, limit))
}

/// The first customers in whom a text is found, by `customer_id`. Unlike [`page`] it does not look at their vehicles.
pub async fn found(session: &mut Session, text: &str, place: SearchIn, limit: i64) -> Result<Vec<Customer>> {
    let mut asked = Filter::default();
    let condition = found_in(&mut asked, session.is_embedded(), text, place);
    asked.require(condition);
    let text = format!("select {COLUMNS} from customers c where {asked} order by c.customer_id limit {limit}");
    asked.all(session, &text).await
}

/// That this is found in a customer; in their numbers only when it could be part of one.
fn found_in(asked: &mut Filter, is_embedded: bool, search: &str, place: SearchIn) -> String {
    let word = search.trim();
    let sought = |texts, word: &str, extent| Sought { texts, word: word.to_owned(), extent };
    let mut all = vec![sought(&["name", "customer_id"], word, Extent::Part)];
    let (of_email, of_number) = match place {
        SearchIn::Names => (None, None),
        SearchIn::Whole => (Some(Extent::Whole), Some(Extent::End)),
        SearchIn::All => (Some(Extent::Part), Some(Extent::Part)),
    };
    all.extend(of_email.map(|extent| sought(&["email"], word, extent)));
    // At its end a number is the same as it is dialled, whatever stands before.
    let is_enough = |digits: &String| place == SearchIn::All || digits.len() >= SHORTEST_NUMBER;
    if let Some((extent, digits)) = of_number.zip(digits_of(search).filter(is_enough)) {
        all.push(sought(&["phone", "whatsapp"], &digits, extent));
    }
    search::CUSTOMERS.condition(asked, is_embedded, &all)
}

/// Digits of the shortest number that counts as a whole one: national numbers of Ecuador have eight without their zero.
const SHORTEST_NUMBER: usize = 8;

/// The digits by which a number is found however it was written: `099 123-4567` and `+593 (0)99 123 4567` are parts of
/// `+593991234567`, once their national zero is gone. `None` for what is no part of a number.
fn digits_of(search: &str) -> Option<String> {
    let is_number = search.chars().all(|character| character.is_ascii_digit() || " +-().".contains(character));
    let digits: String = search.replace("(0)", "").chars().filter(char::is_ascii_digit).collect();
    let digits = digits.trim_start_matches('0');
    (is_number && !digits.is_empty()).then(|| digits.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_found_however_they_are_written() {
        for (search, digits) in [
            ("099 123-4567", Some("991234567")),
            ("+593 (99)", Some("59399")),
            ("+593 (0)99 123 4567", Some("593991234567")),
            ("4567", Some("4567")),
            ("00", None),
            ("customer-001", None),
            ("", None),
        ] {
            assert_eq!(digits_of(search).as_deref(), digits, "{search}");
        }
    }
}
