//! Routes that know who may use them.
//!
//! The first argument of a handler is `May<…>`, or it does not compile here. So the table of roles × routes is read from the
//! signatures, and can not be wrong.

use std::sync::Arc;

use axum::Router;
use axum::handler::Handler;
use axum::http::Method;

use crate::Console;
use crate::any_handler::{HandlerFuture, get, post};
use crate::auth::{Asks, Needs};

/// What a URL is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sort {
    /// A page of its own, which the browser tests open in each language and theme.
    Page,
    /// Part of a page, a stream, or a file.
    Part,
    /// A form that changes something.
    Action,
}

/// One URL.
#[derive(Clone, Debug)]
pub struct Entry {
    pub sort: Sort,
    pub method: Method,
    /// With `{names}` for what varies.
    pub path: &'static str,
    pub needs: Needs,
}

/// The router, and what is said of it.
#[derive(Default)]
pub(crate) struct Routes {
    pub(crate) router: Router<Arc<Console>>,
    pub(crate) entries: Vec<Entry>,
}

impl Routes {
    /// A page.
    pub(crate) fn page<H, T>(self, path: &'static str, handler: H) -> Self
    where
        H: Handler<T, Arc<Console>, Future = HandlerFuture>,
        T: Asks + 'static,
    {
        self.add(Sort::Page, Method::GET, path, T::NEEDS, get(handler))
    }

    /// Part of a page.
    pub(crate) fn part<H, T>(self, path: &'static str, handler: H) -> Self
    where
        H: Handler<T, Arc<Console>, Future = HandlerFuture>,
        T: Asks + 'static,
    {
        self.add(Sort::Part, Method::GET, path, T::NEEDS, get(handler))
    }

    /// A form that changes something.
    pub(crate) fn action<H, T>(self, path: &'static str, handler: H) -> Self
    where
        H: Handler<T, Arc<Console>, Future = HandlerFuture>,
        T: Asks + 'static,
    {
        self.add(Sort::Action, Method::POST, path, T::NEEDS, post(handler))
    }

    fn add(
        mut self,
        sort: Sort,
        method: Method,
        path: &'static str,
        needs: Needs,
        handler: axum::routing::MethodRouter<Arc<Console>>,
    ) -> Self {
        self.entries.push(Entry { sort, method, path, needs });
        self.router = self.router.route(path, handler);
        self
    }
}
