//! All URLs on one page. A slash at their end makes no difference (d24).

mod conversations;
mod crm;
mod notifications;
mod operations;
mod partners;
mod webhooks;

use std::sync::Arc;

use axum::Router;
use axum::http::Method;
use axum::response::{IntoResponse, Response};
use serde_json::json;
use utoipa::openapi::OpenApi;

use self::notifications::{
    analytics, catalogue, customers, dispatch, orchestration, provider_accounts, push, reachability, receipts,
    reminders, suppressions, sync, template_versions, templates, unsubscribe, vehicles, workshops,
};
use self::operations::{
    api_keys, audit, bulk, diagnosis, docs, failures, health, ledger, metrics, queues, samples, schedules, schema,
    search, tasks, users, workers,
};
use self::partners::{inbound, integrations, outbound, registrations, registry, rejected};
use crate::openapi;
use crate::problem::Problem;
use crate::state::{Api, Routes};

/// The router, and what it says of itself.
pub(crate) fn all() -> (Router<Arc<Api>>, OpenApi) {
    let (router, document) = Routes::with_openapi(openapi::base())
        .nest("/api/v1/notifications/templates", templates::routes())
        .nest("/api/v1/notifications/templates", template_versions::routes())
        .nest("/api/v1/notifications/phases", catalogue::phases())
        .nest("/api/v1/notifications/service-types", catalogue::service_types())
        .nest("/api/v1/notifications/orchestration", orchestration::routes())
        .nest("/api/v1/notifications/customers", customers::routes())
        .nest("/api/v1/notifications/customers", reachability::routes())
        .nest("/api/v1/notifications", notifications::notifications::routes())
        .nest("/api/v1/notifications/events/dispatch", dispatch::routes())
        .nest("/api/v1/notifications/vehicles", vehicles::routes())
        .nest("/api/v1/notifications/reminders", reminders::routes())
        .nest("/api/v1/analytics", analytics::routes())
        .nest("/api/v1/notifications/workshops", workshops::routes())
        .nest("/api/v1/notifications/provider-accounts", provider_accounts::routes())
        .nest("/api/v1/notifications/api-keys", api_keys::routes())
        .nest("/api/v1/notifications/suppressions", suppressions::routes())
        .nest("/api/v1/unsubscribe", unsubscribe::routes())
        // Browsers, with a key of scope `subscribe` or the token of a customer; pages of any origin may ask (cors.rs)
        .nest("/api/v1/notifications/catalog", catalogue::catalog())
        .nest("/api/v1/notifications/push", push::routes())
        .nest("/api/v1/partners", registry::routes())
        .nest("/api/v1/partners", integrations::routes())
        .nest("/partners", registrations::routes())
        .nest("/partners", outbound::routes())
        // Partners, with their signature
        .nest("/webhooks/partner", inbound::routes())
        // Evolution API, with a token or a JWT of its own
        .nest("/api/v1/webhooks/evolution", receipts::routes())
        // Webhooks to partners
        .nest("/api/v1/webhooks/endpoints", webhooks::endpoints::routes().merge(webhooks::endpoint_settings::routes()))
        .nest("/api/v1/webhooks/deliveries", webhooks::deliveries::routes())
        .nest("/api/v1/webhooks/inbound", inbound::records())
        .nest("/api/v1/webhooks/inbound/rejected", rejected::routes())
        .nest("/api/v1/webhooks/inbound", webhooks::verify::of_inbound())
        .nest("/api/v1/webhooks/verify", webhooks::verify::routes())
        .nest("/api/v1/webhooks/portal-links", webhooks::portal::links())
        // Partners, with a link that they were given
        .nest("/portal", webhooks::portal::pages())
        // A CRM and the commercial application; the first two with a token of their own, the third always with a key
        .nest("/api/webhook-presencia-crm", crm::presences::webhook())
        .nest("/api/gestion/webhook-presencia-crm", crm::presences::webhook_alias())
        .nest("/api/test-webhook", crm::test_webhook::routes())
        .nest("/api/v1/crm/appointments", crm::appointments::routes())
        .nest("/api/v1/crm/leads", crm::appointments::leads())
        .nest("/api/v1/crm/presencias", crm::presences::routes())
        .nest("/api/v1/crm/mapping", crm::mapping::routes())
        // A tour operator's WhatsApp
        .nest("/api/v1/superadmin/whatsapp/experiences", conversations::experiences::routes())
        .nest("/api/v1/superadmin/whatsapp/operators", conversations::operators::routes())
        // The WhatsApp bridge, as a superadmin sees it
        .nest("/api/v1/superadmin/whatsapp", conversations::sessions::routes())
        .nest("/api/v1/superadmin/whatsapp", conversations::chats::routes())
        .nest("/api/v1/superadmin/whatsapp", conversations::sync::routes())
        .nest("/api/v1/superadmin/whatsapp", conversations::sending::routes())
        // A WhatsApp bridge, with a signature or a secret of its own
        .nest("/api/v1/whatsapp/webhook", conversations::webhooks::routes())
        // Conversations of a tour operator
        .nest("/api/v1/whatsapp/generate-reservation-code", conversations::codes::routes())
        .nest("/api/v1/superadmin/whatsapp/reservations", conversations::requests::routes())
        .nest("/api/v1/superadmin/whatsapp/messages", conversations::messages::routes())
        .nest("/api/v1/superadmin/whatsapp/people", conversations::erasure::routes())
        // Applications, with an API key
        .nest("/api/v1/tasks", tasks::routes())
        // Operators, with an API key
        .nest("/api/v1/operations/diagnosis", diagnosis::routes())
        .nest("/api/v1/operations/samples", samples::routes())
        .nest("/api/v1/operations/failures", failures::routes())
        .nest("/api/v1/operations/search", search::routes())
        .nest("/api/v1/operations/tasks", ledger::routes())
        .nest("/api/v1/operations/bulk", bulk::routes())
        .nest("/api/v1/operations/queues", queues::routes())
        .nest("/api/v1/operations/workers", workers::routes())
        .nest("/api/v1/operations/schedules", schedules::routes())
        .nest("/api/v1/operations/users", users::routes())
        .nest("/api/v1/operations/audit", audit::routes())
        // Services of the same house, with X-Internal-Secret
        .nest("/api/internal/v1/customers", sync::customers())
        .nest("/api/internal/v1/vehicles", sync::vehicles())
        .nest("/api/internal/v1/tasks", tasks::internal_routes())
        // Probes, without a key
        .nest("/health", health::routes())
        .nest("/api/v1/health", health::parts_routes())
        .nest("/metrics", metrics::routes())
        // The document of all this, and the pages that show it
        .nest("/api/schema", schema::routes())
        .nest("/api/docs", docs::swagger_routes())
        .nest("/api/redoc", docs::redoc_routes())
        .split_for_parts();
    let router = router.fallback(|| async { Problem::NotFound }).method_not_allowed_fallback(no_such_method);
    (router, document)
}

/// OPTIONS is answered wherever there is something, as Django REST framework does; the router adds `Allow`. Other methods that
/// a path does not know are a mistake.
async fn no_such_method(method: Method) -> Response {
    if method != Method::OPTIONS {
        return Problem::MethodNotAllowed(method).into_response();
    }
    let json = ["application/json"];
    axum::Json(json!({ "name": "Recado", "description": "", "renders": json, "parses": json })).into_response()
}
