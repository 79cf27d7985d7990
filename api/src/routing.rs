//! From a handler and what the document says of it to routes.

/// The routes of these handlers, all of one path, for [`Routes::routes`](utoipa_axum::router::OpenApiRouter::routes).
///
/// As `utoipa_axum::routes!`, and the router gets all handlers as one type ([`AnyHandler`](recado_console::any_handler::AnyHandler) says why).
macro_rules! routes {
    ($($handler:path),+ $(,)?) => {{
        let mut router = axum::routing::MethodRouter::new();
        let mut paths = utoipa::openapi::path::Paths::new();
        let mut schemas = Vec::new();
        $({
            let (path, operation, methods) = utoipa_axum::routes!(@resolve_types $handler : schemas);
            let handler = recado_console::any_handler::AnyHandler::new($handler);
            for method in &methods {
                router = router.on(utoipa_axum::PathItemExt::to_method_filter(method), handler.clone());
            }
            paths.add_path_operation(&path, methods, operation);
        })+
        (schemas, paths, router)
    }};
}

pub(crate) use routes;
