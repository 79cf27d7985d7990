//! Lists, a page at a time, as Django REST framework numbers them (S002-64).

use axum::extract::{FromRequestParts, OriginalUri};
use axum::http::HeaderMap;
use axum::http::header::HOST;
use axum::http::request::Parts;
use axum::http::uri::Uri;
use recado_kernel::db::filter::MOST_COUNTED;
use recado_kernel::ids::Id;
use serde::Serialize;
use url::form_urlencoded;
use utoipa::{IntoParams, ToSchema};

use crate::problem::{FieldErrors, Problem};

/// Entries on a page unless the caller says otherwise.
const DEFAULT_PAGE_SIZE: i64 = 20;

/// The most entries on a page.
const MAX_PAGE_SIZE: i64 = 100;

/// Pages beyond this one are not found: a person does not turn so many, and the database would have to count its way there.
const MAX_PAGE: i64 = 1_000_000;

/// Which page is asked for, and how the links to its neighbours begin. Every list has these query parameters.
#[derive(Clone, Debug, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct Paging {
    /// Number of the page, from 1. A page behind the last one is a 404, and so is what begins behind 100,000 entries: filters
    /// lead there.
    #[param(value_type = Option<i64>, minimum = 1, maximum = 1000000, default = 1)]
    page: i64,
    /// Entries per page, at most 100.
    #[param(value_type = Option<i64>, minimum = 1, maximum = 100, default = 20)]
    page_size: i64,
    /// Scheme, host and path; the query without `page`.
    #[param(ignore)]
    address: String,
    #[param(ignore)]
    query: Vec<(String, String)>,
}

/// One page of a list.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Page<T> {
    /// Entries on all pages.
    #[schema(minimum = 0, examples(41))]
    count: i64,
    /// URL of the next page; null on the last one.
    #[schema(examples("http://127.0.0.1:8000/api/v1/notifications/vehicles/?page=2"))]
    next: Option<String>,
    /// URL of the page before; null on the first one.
    previous: Option<String>,
    /// The entries of this page.
    results: Vec<T>,
}

impl Paging {
    pub(crate) fn limit(&self) -> i64 {
        self.page_size
    }

    pub(crate) fn offset(&self) -> i64 {
        (self.page - 1) * self.page_size
    }

    /// The answer, from the entries that were found in this window and the number of all.
    ///
    /// # Errors
    ///
    /// When the list ends before this page begins; the first page may be empty.
    pub(crate) fn page<T>(&self, results: Vec<T>, count: i64) -> Result<Page<T>, Problem> {
        if self.page > 1 && self.offset() >= count {
            return Err(Problem::NoSuchPage);
        }
        let is_last = self.offset() + self.page_size >= count;
        Ok(Page {
            count,
            next: (!is_last).then(|| self.link(self.page + 1)),
            previous: (self.page > 1).then(|| self.link(self.page - 1)),
            results,
        })
    }

    /// Links to the page after this one and to the one before, for lists that have an envelope of their own.
    ///
    /// # Errors
    ///
    /// As [`page`](Self::page).
    pub(crate) fn neighbours(&self, count: i64) -> Result<(Option<String>, Option<String>), Problem> {
        self.page::<()>(Vec::new(), count).map(|page| (page.next, page.previous))
    }

    /// The answer from a list that is in memory as a whole; only what stands on the page is shown.
    ///
    /// # Errors
    ///
    /// As [`page`](Self::page).
    pub(crate) fn cut<T, V>(&self, all: &[T], show: impl FnMut(&T) -> V) -> Result<Page<V>, Problem> {
        let place = |number: i64| usize::try_from(number).unwrap_or(usize::MAX);
        let shown = all.iter().skip(place(self.offset())).take(place(self.page_size)).map(show).collect();
        self.page(shown, i64::try_from(all.len()).unwrap_or(i64::MAX))
    }

    fn link(&self, page: i64) -> String {
        let mut query = form_urlencoded::Serializer::new(String::new());
        query.extend_pairs(&self.query);
        // Django leaves the number of the first page out.
        if page > 1 {
            query.append_pair("page", &page.to_string());
        }
        let query = query.finish();
        if query.is_empty() { self.address.clone() } else { format!("{}?{query}", self.address) }
    }

    fn link_after(&self, id: Id) -> String {
        let mut query = form_urlencoded::Serializer::new(String::new());
        query.extend_pairs(&self.query).append_pair("after", &id.to_string());
        format!("{}?{}", self.address, query.finish())
    }

    fn read(uri: &Uri, headers: &HeaderMap) -> Result<Self, Problem> {
        let mut paging =
            Self { page: 1, page_size: DEFAULT_PAGE_SIZE, address: address(uri, headers), query: Vec::new() };
        for (name, value) in form_urlencoded::parse(uri.query().unwrap_or_default().as_bytes()).into_owned() {
            match name.as_str() {
                "page" => {
                    let page = value.parse().ok().filter(|page| (1..=MAX_PAGE).contains(page));
                    paging.page = page.ok_or(Problem::NoSuchPage)?;
                }
                "page_size" => {
                    // Like Django's: a size that makes no sense is the usual one.
                    let size = value.parse().ok().filter(|size| *size > 0);
                    paging.page_size = size.unwrap_or(DEFAULT_PAGE_SIZE).min(MAX_PAGE_SIZE);
                    paging.query.push((name, value));
                }
                _ => paging.query.push((name, value)),
            }
        }
        if paging.offset() >= MOST_COUNTED {
            return Err(Problem::PageTooDeep);
        }
        Ok(paging)
    }
}

/// A list that goes on after an entry, and is never counted: turning it costs the same on every page.
#[derive(Clone, Debug, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct Keyset {
    /// The id of the last entry of the page before; `next` has it.
    #[param(value_type = Option<Id>)]
    after: Option<Id>,
    /// Entries per page, at most 100.
    #[param(value_type = Option<i64>, minimum = 1, maximum = 100, default = 20)]
    page_size: i64,
    #[param(ignore)]
    links: Paging,
}

/// One page of a list that goes on after an entry.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Slice<T> {
    /// URL of the next page; null on the last one.
    next: Option<String>,
    /// The entries of this page.
    results: Vec<T>,
}

impl Keyset {
    pub(crate) fn after(&self) -> Option<Id> {
        self.after
    }

    /// How many to look for: one more than the page has, which tells whether there is a next one.
    pub(crate) fn limit(&self) -> i64 {
        self.page_size + 1
    }

    /// The answer, from what was found within [`limit`](Self::limit).
    pub(crate) fn slice<T, V>(&self, mut found: Vec<T>, id: impl Fn(&T) -> Id, show: impl Fn(T) -> V) -> Slice<V> {
        let size = usize::try_from(self.page_size).unwrap_or(usize::MAX);
        let is_last = found.len() <= size;
        found.truncate(size);
        let next = found.last().filter(|_| !is_last).map(|last| self.links.link_after(id(last)));
        Slice { next, results: found.into_iter().map(show).collect() }
    }

    /// Where nothing behind this entry was looked at yet, the list goes on behind it, though it found less than a page.
    pub(crate) fn go_on_behind<T>(&self, slice: Slice<T>, looked_at_last: Option<Id>) -> Slice<T> {
        let Slice { next, results } = slice;
        Slice { next: next.or_else(|| looked_at_last.map(|id| self.links.link_after(id))), results }
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Keyset {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let mut links = Paging::from_request_parts(parts, state).await?;
        let after = links.query.iter().rfind(|(name, _)| name == "after").map(|(_, value)| value.trim().to_owned());
        links.query.retain(|(name, _)| name != "after");
        let after = match after.filter(|after| !after.is_empty()) {
            Some(after) => Some(after.parse().map_err(|_| FieldErrors::one("after", "Debe ser un UUID válido."))?),
            None => None,
        };
        Ok(Self { after, page_size: links.page_size, links })
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Paging {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let uri = parts.extensions.get::<OriginalUri>().map_or(&parts.uri, |original| &original.0);
        Self::read(uri, &parts.headers)
    }
}

/// A page where `page` or `page_size` asks for one, else the whole list: clients of seed 003 know no pages.
#[derive(Clone, Debug)]
pub(crate) struct MaybePaging(Option<Paging>);

impl MaybePaging {
    pub(crate) fn limit(&self) -> i64 {
        self.0.as_ref().map_or(i64::MAX, Paging::limit)
    }

    pub(crate) fn offset(&self) -> i64 {
        self.0.as_ref().map_or(0, Paging::offset)
    }

    /// # Errors
    ///
    /// When the list ends before this page begins; the first page may be empty.
    pub(crate) fn check(&self, count: i64) -> Result<(), Problem> {
        self.neighbours(count).map(|_| ())
    }

    /// The links to the neighbours of the page; none where the whole list is answered.
    ///
    /// # Errors
    ///
    /// As [`check`](Self::check).
    pub(crate) fn neighbours(&self, count: i64) -> Result<(Option<String>, Option<String>), Problem> {
        self.0.as_ref().map_or(Ok((None, None)), |paging| paging.neighbours(count))
    }

    /// Whether a page is asked for.
    pub(crate) fn is_asked(&self) -> bool {
        self.0.is_some()
    }
}

impl IntoParams for MaybePaging {
    fn into_params(
        parameter_in_provider: impl Fn() -> Option<utoipa::openapi::path::ParameterIn>,
    ) -> Vec<utoipa::openapi::path::Parameter> {
        Paging::into_params(parameter_in_provider)
    }
}

impl<S: Send + Sync> FromRequestParts<S> for MaybePaging {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let mut names = form_urlencoded::parse(parts.uri.query().unwrap_or_default().as_bytes());
        if names.any(|(name, _)| name == "page" || name == "page_size") {
            return Paging::from_request_parts(parts, state).await.map(|paging| Self(Some(paging)));
        }
        Ok(Self(None))
    }
}

/// The URL of a list as its caller wrote it, without the query; a path alone where the caller named no host.
fn address(uri: &Uri, headers: &HeaderMap) -> String {
    let path = uri.path().trim_end_matches('/');
    let Some(host) = headers.get(HOST).and_then(|host| host.to_str().ok()) else { return format!("{path}/") };
    // A proxy in front says how it was asked (RFC 7239 names it differently; Django's proxies use this one).
    let is_tls = headers.get("x-forwarded-proto").is_some_and(|scheme| scheme.as_bytes() == b"https");
    let scheme = if is_tls { "https" } else { "http" };
    format!("{scheme}://{host}{path}/")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn paging(uri: &str) -> Result<Paging, Problem> {
        let mut headers = HeaderMap::new();
        headers.insert(HOST, "taller.example.com".parse().unwrap());
        Paging::read(&uri.parse().unwrap(), &headers)
    }

    /// S002-64.
    #[test]
    fn pages_have_twenty_entries_and_at_most_a_hundred() {
        let window = |uri| paging(uri).map(|paging| (paging.limit(), paging.offset())).unwrap();
        assert_eq!(window("/v"), (20, 0));
        assert_eq!(window("/v?page=3"), (20, 40));
        assert_eq!(window("/v?page=2&page_size=7"), (7, 7));
        assert_eq!(window("/v?page_size=1000"), (100, 0));
        assert_eq!(window("/v?page_size=0"), (20, 0));
        for uri in ["/v?page=0", "/v?page=-1", "/v?page=x", "/v?page=", "/v?page=99999999999999999999"] {
            assert!(matches!(paging(uri), Err(Problem::NoSuchPage)), "{uri}");
        }
    }

    #[test]
    fn neighbours_keep_the_rest_of_the_query() {
        let page = paging("/api/v/?plate=A+B&page=2&page_size=10").unwrap().page(vec![0; 10], 21).unwrap();
        let link = |number| format!("http://taller.example.com/api/v/?plate=A+B&page_size=10{number}");
        assert_eq!((page.previous, page.next), (Some(link("")), Some(link("&page=3"))));

        let only = paging("/api/v").unwrap().page(vec![1], 1).unwrap();
        assert_eq!((only.previous, only.next, only.count), (None, None, 1));
    }

    #[test]
    fn a_list_in_memory_is_cut() {
        let all: Vec<i32> = (1..=5).collect();
        let results = |uri| paging(uri).unwrap().cut(&all, |number| number * 10).map(|page| (page.results, page.count));
        assert_eq!(results("/v?page_size=2").unwrap(), (vec![10, 20], 5));
        assert_eq!(results("/v?page_size=2&page=3").unwrap(), (vec![50], 5));
        assert!(results("/v?page_size=2&page=4").is_err());
    }

    #[test]
    fn the_first_page_may_be_empty_and_no_other() {
        assert!(paging("/v").unwrap().page(Vec::<u8>::new(), 0).is_ok());
        assert!(matches!(paging("/v?page=2").unwrap().page(Vec::<u8>::new(), 20), Err(Problem::NoSuchPage)));
    }
}
