//! By whom an operation may be called.

use serde_json::{Value, json};

/// By whom an operation may be called, unless it says otherwise itself.
pub(super) fn of(path: &str) -> Value {
    if path.starts_with("/api/internal/") {
        json!([{ "internalSecret": [] }])
    } else if path.starts_with("/api/v1/unsubscribe/") {
        // The link in the mail is the proof.
        json!([])
    } else if path.starts_with("/api/v1/") || path == "/partners" || path.starts_with("/partners/") {
        json!([{ "apiKey": [] }])
    } else {
        json!([])
    }
}

pub(super) fn schemes() -> Value {
    json!({
        "apiKey": {
            "type": "http",
            "scheme": "bearer",
            "description": "A key made with `recado api-key create`, or one of `API_KEYS`.",
        },
        "customerToken": {
            "type": "http",
            "scheme": "bearer",
            "description": "A token of one customer, made at `/api/v1/notifications/push/tokens/`: good for that customer's browsers, and for an hour.",
        },
        "evolutionToken": {
            "type": "apiKey",
            "in": "header",
            "name": "X-Webhook-Token",
            "description": "`EVOLUTION_WEBHOOK_TOKEN`, for the webhooks of Evolution API; also as `?token=`.",
        },
        "evolutionJwt": {
            "type": "http",
            "scheme": "bearer",
            "bearerFormat": "JWT",
            "description": "What Evolution API signs with `EVOLUTION_WEBHOOK_JWT_KEY` (HS256), when that is set.",
        },
        "crmToken": {
            "type": "apiKey",
            "in": "header",
            "name": "X-CRM-Webhook-Token",
            "description": "One of `CRM_WEBHOOK_TOKEN`, for a CRM that posts presences.",
        },
        "bridgeSignature": {
            "type": "apiKey",
            "in": "header",
            "name": "X-Hub-Signature-256",
            "description": "`sha256=` and the hex HMAC-SHA256 of the raw body, with `WHATSAPP_WEBHOOK_SECRET` as the key.",
        },
        "bridgeSecret": {
            "type": "http",
            "scheme": "bearer",
            "description": "`WHATSAPP_WEBHOOK_SECRET` itself, for a bridge that cannot sign.",
        },
        "internalSecret": {
            "type": "apiKey",
            "in": "header",
            "name": "X-Internal-Secret",
            "description": "`INTERNAL_API_SECRET_KEY`, for services of the same house.",
        },
    })
}
