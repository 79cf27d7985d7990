//! Handlers as one type: those of the console, and those of the API, which mounts it.

use std::pin::Pin;
use std::sync::Arc;

use axum::extract::Request;
use axum::handler::Handler;
use axum::response::Response;
use axum::routing::{self, MethodRouter};

/// What axum makes of the future of every asynchronous function that handles requests.
pub type HandlerFuture = Pin<Box<dyn Future<Output = Response> + Send>>;

/// A handler of which the compiler knows no more than what it takes and answers.
///
/// A router wraps each handler in half a dozen services. For every one of them the compiler proves that the handler's future may go
/// from thread to thread, down to the last statement that it awaits: with hundreds of handlers that was a third of the time that
/// crates with routes took to compile. Here the services are made once for all handlers. A request pays a call through a pointer.
pub struct AnyHandler<S>(Arc<dyn Fn(Request, S) -> HandlerFuture + Send + Sync>);

impl<S: 'static> AnyHandler<S> {
    pub fn new<H, T>(handler: H) -> Self
    where
        H: Handler<T, S, Future = HandlerFuture>,
    {
        Self(Arc::new(move |request, state| handler.clone().call(request, state)))
    }
}

impl<S> Clone for AnyHandler<S> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<S: 'static> Handler<(), S> for AnyHandler<S> {
    type Future = HandlerFuture;

    fn call(self, request: Request, state: S) -> HandlerFuture {
        (self.0)(request, state)
    }
}

/// As [`axum::routing::get`].
pub fn get<H, T, S>(handler: H) -> MethodRouter<S>
where
    H: Handler<T, S, Future = HandlerFuture>,
    S: Clone + Send + Sync + 'static,
{
    routing::get(AnyHandler::new(handler))
}

/// As [`axum::routing::post`].
pub fn post<H, T, S>(handler: H) -> MethodRouter<S>
where
    H: Handler<T, S, Future = HandlerFuture>,
    S: Clone + Send + Sync + 'static,
{
    routing::post(AnyHandler::new(handler))
}
