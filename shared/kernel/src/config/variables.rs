//! Every variable of the environment, in one table: its name, its default, and what it is for.

use std::fmt;

/// A variable of the environment: its name, the default as one would write it, and what it is for.
pub struct Variable {
    pub name: &'static str,
    pub default: &'static str,
    pub meaning: &'static str,
}

const fn variable(name: &'static str, default: &'static str, meaning: &'static str) -> Variable {
    Variable { name, default, meaning }
}

/// Every variable that Recado reads. `.env.example` is this table, and a test keeps it so.
pub const VARIABLES: &[Variable] = &[
    variable("RECADO_HOME", ".recado", "Folder of the embedded database and of generated keys."),
    variable(
        "DATABASE_URL",
        "",
        "postgresql://user:pass@host:port/name, or sqlite:////path/of/a/file (with three slashes from the working folder). Default: a SQLite file in RECADO_HOME.",
    ),
    variable(
        "SQLALCHEMY_DATABASE_URI",
        "",
        "The same under the name that partner services use; DATABASE_URL comes first.",
    ),
    variable(
        "REDIS_URL",
        "",
        "redis://user:pass@host:port/db (or rediss://). Unset: the queue lives in the process; only `recado up` may run then.",
    ),
    variable(
        "REDIS_SSL_CAFILE",
        "",
        "PEM file with the certificate authority of a rediss:// server, in place of the system's authorities.",
    ),
    variable(
        "LISTEN",
        "127.0.0.1:8000",
        "Where the API listens. Several addresses may stand there, separated by commas.",
    ),
    variable(
        "ALLOWED_HOSTS",
        "",
        "Names by which the API may be asked for (the header Host), separated by commas: example.com, .example.com with all below it, * for all; ports do not matter. Others get 400, except at /health, /api/v1/health and /metrics. Unset: every name; `recado up` without a key answers only to names of this machine (localhost, 127.0.0.1).",
    ),
    variable(
        "API_MAX_CONNECTIONS",
        "0",
        "Connections that an API process keeps at once; when they are full, the one that has been silent longest goes. One address has half of them at most. 0: three quarters of the file descriptors that the system allows, 4096 at most.",
    ),
    variable(
        "API_BODY_MEMORY_MIB",
        "128",
        "Memory for the bodies of all requests that an API process works on at once, in MiB; what is beyond it gets 503 with Retry-After.",
    ),
    variable(
        "TRUSTED_PROXIES",
        "",
        "Addresses or networks of proxies before the API, separated by commas, e.g. 127.0.0.1,10.0.0.0/8. From them X-Forwarded-For is believed: limits, failed logins and the log go by the address that it names.",
    ),
    variable(
        "METRICS_LISTEN",
        "",
        "Where worker and scheduler serve GET /metrics and GET /health, e.g. 127.0.0.1:9100.",
    ),
    variable("TIME_ZONE", "America/Guayaquil", "Time zone of the workshops: schedules, and dates in messages."),
    variable("LOG_FORMAT", "text", "text for people, json for machines. RUST_LOG chooses what is logged."),
    variable(
        "RUST_LOG",
        "",
        "What is logged, e.g. info,recado_worker=debug. Default: info for processes, warn for commands.",
    ),
    variable("DEBUG", "false", "true opens the API without a key and says so loudly. Never in production."),
    variable("ALLOW_ANONYMOUS_API", "false", "true opens /api/v1 without a key."),
    variable(
        "API_KEYS",
        "",
        "Keys accepted as `Authorization: Bearer <key>`, separated by commas; at least 16 characters each. More with `recado api-key create`.",
    ),
    variable(
        "PUBLIC_URL",
        "",
        "This API as people's mail programs reach it, e.g. https://avisos.example.com. With SECRET_KEY, mails carry a way to unsubscribe.",
    ),
    variable(
        "INTERNAL_API_SECRET_KEY",
        "",
        "Value of the header X-Internal-Secret on /api/internal/v1; 16 characters or more. Two, separated by a comma, while you rotate.",
    ),
    variable(
        "SECRET_KEY",
        "",
        "Seals the secrets of provider accounts and signs links; 32 characters or more, the same in every process. Default: one is made in RECADO_HOME/secret.key, which only this host has.",
    ),
    variable(
        "API_RATE_LIMIT_PER_MINUTE",
        "600000",
        "Requests per minute of each caller to /api/v1, per API process; who sends more gets 429. 0: no limit. Callers without a key are told apart by their address, and those on loopback are not limited.",
    ),
    variable(
        "EMAIL_BACKEND",
        "smtp",
        "smtp, or file: every mail becomes an .eml file in RECADO_HOME/mail. Django's names of both are understood.",
    ),
    variable("EMAIL_HOST", "", "SMTP server. Unset: the channel email is not configured and falls back at once."),
    variable("EMAIL_PORT", "587", "465 for implicit TLS, 587 for STARTTLS, 25 or 1025 for plain."),
    variable("EMAIL_USE_TLS", "", "true for STARTTLS. Default: true on port 587."),
    variable("EMAIL_USE_SSL", "", "true for implicit TLS. Default: true on port 465."),
    variable("EMAIL_HOST_USER", "", "SMTP user."),
    variable("EMAIL_HOST_PASSWORD", "", "SMTP password."),
    variable(
        "EMAIL_HELO_NAME",
        "",
        "What we call ourselves at mail servers (EHLO): a full name such as avisos.example.com, or an address such as [203.0.113.7]. Default: the full name of this host where it has one, else its address.",
    ),
    variable("EMAIL_TIMEOUT", "30", "Seconds that one mail may take."),
    variable("EMAIL_SSL_CAFILE", "", "PEM file with a certificate authority to trust besides the system's."),
    variable("DEFAULT_FROM_EMAIL", "", "Sender, e.g. \"Ambacar <taller@example.com>\"."),
    variable(
        "EVOLUTION_API_URL",
        "",
        "URL of the Evolution API. Unset: the channel whatsapp is not configured and falls back at once.",
    ),
    variable("EVOLUTION_API_KEY", "", "Its API key (header apikey)."),
    variable("EVOLUTION_INSTANCE", "", "Name of the WhatsApp instance."),
    variable(
        "EVOLUTION_WEBHOOK_TOKEN",
        "",
        "What Evolution shows when it posts receipts to /api/v1/webhooks/evolution/: header X-Webhook-Token, or ?token=.",
    ),
    variable(
        "EVOLUTION_WEBHOOK_JWT_KEY",
        "",
        "The jwt_key of Evolution's webhook instead: receipts must then carry its token (HS256) as a bearer.",
    ),
    variable("EVOLUTION_TIMEOUT", "100", "Seconds that one WhatsApp message may take."),
    variable(
        "WHATSAPP_RATE_PER_MINUTE",
        "20",
        "Messages per minute and instance over all workers, so that WhatsApp does not ban the number. 0: no limit.",
    ),
    variable(
        "RECIPIENT_THROTTLE_PER_HOUR",
        "0",
        "Messages that one customer gets within an hour; what is more waits its turn. Critical events pass. 0: no limit.",
    ),
    variable(
        "VAPID_PUBLIC_KEY",
        "",
        "Web Push key, as `recado vapid-keys` or `npx web-push generate-vapid-keys` print it.",
    ),
    variable("VAPID_PRIVATE_KEY", "", "Its private half."),
    variable("VAPID_CONTACT_EMAIL", "", "Whom a push service may write to about our pushes."),
    variable("PUSH_TIMEOUT", "15", "Seconds that one push may take, per device."),
    variable(
        "FRONTEND_URL",
        "",
        "Address of the web application: what a click on a push opens. Its pages may call the API from a browser (CORS).",
    ),
    variable(
        "CORS_ALLOWED_ORIGINS",
        "",
        "Other web applications whose pages may call the API from a browser, separated by commas, e.g. http://localhost:3000.",
    ),
    variable("NOTIFICATION_MAX_ATTEMPTS", "3", "Attempts per channel before the person's next channel is tried."),
    variable(
        "NOTIFICATION_RETRY_BASE_SECONDS",
        "60",
        "Delay after the first failed attempt; it doubles, with 20 % jitter. Fractions are allowed.",
    ),
    variable(
        "UNKNOWN_OUTCOME_WINDOW_SECONDS",
        "60",
        "How long a send without an answer is looked up at the provider before it counts as failed.",
    ),
    variable(
        "DISPATCH_UNKNOWN_CUSTOMER",
        "reject",
        "Event for an unknown customer: reject (400), defer (try again after 2, 4 and 8 s) or create (from the context).",
    ),
    variable("TEMPLATE_STRICT_CASE", "false", "true: {{Nombre}} and the context's nombre are different variables."),
    variable("DEFAULT_COUNTRY", "EC", "Country of phone numbers that are written without a country code."),
    variable(
        "OUTBOUND_ALLOW_PRIVATE_NETWORKS",
        "false",
        "true lets push endpoints and webhooks be loopback or private addresses.",
    ),
    variable(
        "OUTBOUND_ALLOWED_NETWORKS",
        "",
        "Networks beyond the public internet that webhooks may be sent to, separated by commas, e.g. 10.20.0.0/16. A single link-local address or metadata service counts only when it is written alone, e.g. 169.254.10.7.",
    ),
    variable(
        "WEBHOOK_RETRY_SCHEDULE",
        "5,300,1800,7200,18000,36000,50400,72000,86400",
        "Seconds between the attempts of a webhook, separated by commas; fractions are allowed. The first attempt is made at once, so n numbers are n + 1 attempts. Each moves by up to 20 %.",
    ),
    variable(
        "WEBHOOK_TOLERANCE_SECONDS",
        "300",
        "How far the signed time of an incoming webhook may lie from our clock (Standard Webhooks). 0: any. A partner may have another value of its own.",
    ),
    variable(
        "CRM_WEBHOOK_TOKEN",
        "",
        "What a CRM shows when it posts presences to /api/webhook-presencia-crm/ (header X-CRM-Webhook-Token). Two, separated by a comma, while you rotate. Unset: all are refused.",
    ),
    variable(
        "CRM_WEBHOOK_REQUIRE_SIGNATURE",
        "false",
        "true: presences must be signed too (Standard Webhooks), within WEBHOOK_TOLERANCE_SECONDS.",
    ),
    variable(
        "CRM_WEBHOOK_SECRET",
        "",
        "whsec_…, for those signatures: COMERCIAL_WEBHOOK_SECRET of the sending end. Two, separated by a comma, while you rotate. Default: one that is derived from each token.",
    ),
    variable(
        "COMERCIAL_WEBHOOK_URL",
        "",
        "Where presences of the CRM are sent, e.g. https://app.example.com/api/webhook-presencia-crm/. Unset: none is sent.",
    ),
    variable("COMERCIAL_WEBHOOK_TOKEN", "", "Its token (header X-CRM-Webhook-Token)."),
    variable(
        "COMERCIAL_WEBHOOK_SECRET",
        "",
        "whsec_…, for the signature headers of these webhooks. Default: one that is derived from the token.",
    ),
    variable(
        "WHATSAPP_SERVICE_URL",
        "",
        "URL of the WhatsApp bridge (the Node service), e.g. http://tuki-whatsapp-service:3001. Unset: the first of WHATSAPP_EVOLUTION_INSTANCES; without one there is no bridge, lists are those of the database, and operators are told by mail.",
    ),
    variable(
        "WHATSAPP_SERVICE_TIMEOUT",
        "10",
        "Seconds that one question to the bridge may take; the list of its chats has 30 and a history 60. Fractions are allowed.",
    ),
    variable(
        "WHATSAPP_CACHE_SECONDS",
        "0",
        "How old a list of chats or groups may be before the bridge is asked again. 0: each request asks, and those at the same time share one question.",
    ),
    variable(
        "WHATSAPP_WEBHOOK_SECRET",
        "",
        "What the bridge shows when it posts to /api/v1/whatsapp/webhook/: X-Hub-Signature-256 with it as the key, or it as a bearer. Two, separated by a comma, while you rotate. Unset: all are refused, unless the whole API is open.",
    ),
    variable(
        "WHATSAPP_EVOLUTION_INSTANCES",
        "",
        "Instances of Evolution API whose chats are conversations too, by name, separated by commas; their webhooks go to /api/v1/webhooks/evolution/. Without WHATSAPP_SERVICE_URL the first is the bridge, through EVOLUTION_API_URL and EVOLUTION_API_KEY. Unset: none, and nothing of what people write there is stored.",
    ),
    variable(
        "WHATSAPP_REQUIRE_REGISTERED_CODES",
        "false",
        "true: a reservation code that was not issued here makes no request.",
    ),
    variable(
        "WHATSAPP_REQUEST_TIMEOUT_HOURS",
        "24",
        "How long a reservation request waits for the operator's answer before it becomes `timeout`.",
    ),
    variable("WHATSAPP_MESSAGE_RETENTION_DAYS", "365", "Age at which messages of WhatsApp are deleted."),
    variable(
        "WHATSAPP_REQUEST_RETENTION_DAYS",
        "730",
        "Age at which reservation requests, their stories and expired codes are deleted.",
    ),
    variable(
        "WHATSAPP_PROVIDER",
        "",
        "Through what notifications go by WhatsApp: evolution, or bridge (WHATSAPP_SERVICE_URL). Default: evolution where EVOLUTION_API_URL is set, else the bridge where there is one.",
    ),
    variable(
        "WHATSAPP_DAILY_LIMIT",
        "0",
        "Messages that leave through the bridge within 24 hours, so that WhatsApp does not ban the number. A tenth is left to notices to operators. 0: no limit.",
    ),
    variable(
        "WHATSAPP_WARM_UP_DAYS",
        "0",
        "Days over which a new number comes to its daily limit: a tenth of it on the first. 0: all of it at once.",
    ),
    variable(
        "WHATSAPP_ALERT_EMAIL",
        "",
        "Who is told by mail when the bridge's session is lost, is connected and nothing leaves, or is silent, and when it has recovered.",
    ),
    variable(
        "WHATSAPP_RECONNECT_SECONDS",
        "120",
        "How long a session may be connecting again (Evolution API) before it is told that it is lost. 0: at once.",
    ),
    variable("CRM_TIME_ZONE", "America/Lima", "Time zone of the CRM, for times that are written without one."),
    variable(
        "PARTNER_REQUIRE_KYC",
        "false",
        "true: no webhook goes out to a partner until its verification is APROBADO.",
    ),
    variable("WEBHOOK_RETENTION_DAYS", "30", "Age at which bodies and answers of webhooks are deleted."),
    variable("WORKER_CONCURRENCY", "32", "Jobs that a worker runs at once, per lane."),
    variable(
        "WORKER_LEASE_SECONDS",
        "30",
        "How long a worker may be silent before its jobs are given to another; the heartbeat is a third of it.",
    ),
    variable(
        "WORKER_DRAIN_SECONDS",
        "25",
        "How long a stopping worker lets its jobs finish before it hands them back.",
    ),
    variable("ENVIRONMENT_NAME", "", "What this installation is called in the header of the console, e.g. Production."),
    variable(
        "ENVIRONMENT_COLOR",
        "gray",
        "Its colour there, so that two installations are told apart: gray, blue, green, amber or red.",
    ),
    variable(
        "CONSOLE_TRUSTED_HEADER",
        "",
        "Header in which a proxy that authenticates people names the user of the console, e.g. X-Forwarded-User. Believed from TRUSTED_PROXIES only. The user must exist.",
    ),
    variable("DATABASE_MAX_CONNECTIONS", "10", "Connections per process on PostgreSQL."),
    variable(
        "DATABASE_POOLER",
        "auto",
        "What stands before PostgreSQL: transaction (PgBouncer with pool_mode = transaction, Supabase on 6543, RDS Proxy) does without prepared statements; session is a server or a pooler that leaves each connection its server. auto finds out at the start, and goes over to transaction when a prepared statement is lost.",
    ),
    variable(
        "NOTIFICATION_RETENTION_DAYS",
        "180",
        "Age at which the weekly cleanup deletes finished notifications and their attempts.",
    ),
    variable(
        "TASK_RETENTION_DAYS",
        "7",
        "Age at which finished tasks are deleted; their status is 404 from then on. Dead ones stay four times as long.",
    ),
];

impl fmt::Debug for Variable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}={}", self.name, self.default)
    }
}

/// The text of `.env.example`.
pub fn example() -> String {
    let mut text =
        String::from("# Copy this file to .env, and uncomment what you change. Every line shows the default.\n");
    for Variable { name, default, meaning } in VARIABLES {
        text.push_str(&format!("\n# {meaning}\n#{name}={default}\n"));
    }
    text
}
