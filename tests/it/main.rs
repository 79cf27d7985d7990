//! Stories through the front door: what callers, customers and operators see, over HTTP and at the providers.
//!
//! Every story is told twice, on PostgreSQL with Redis and on the embedded pair ([`harness::pair::story`]), because two
//! implementations that are not held to the same stories drift apart. A story's comment names the lines of the contract
//! that it proves.

mod harness;

/// The front door itself: who may enter, what it answers to whatever comes, and the pages that document it.
mod api {
    mod access;
    mod connections;
    mod contract;
    mod docs;
    mod health;
    mod hostile;
    mod long_texts;
    mod rate_limit;
    mod repeats;
    mod schema;
}

/// What becomes of an event, and what staff keep for it.
mod notifications {
    mod analytics;
    mod bulk;
    mod catalogue;
    mod control;
    mod customers;
    mod delivery;
    mod dispatch;
    mod dry_run;
    mod erasure;
    mod failover;
    mod fallback;
    #[expect(clippy::module_inception, reason = "a noun keeps its name in every room")]
    mod notifications;
    mod orchestration;
    mod push;
    mod quiet_hours;
    mod reachability;
    mod receipts;
    mod reminders;
    mod seed;
    mod suppressions;
    mod sync;
    mod template_versions;
    mod templates;
    mod throttle;
    mod unsubscribe;
    mod vehicles;
    mod workshops;
}

/// Who our partners are, and what becomes of them.
mod partners {
    mod clients;
    mod events;
    mod exchange;
    mod inbound;
    mod integrations;
    mod kyc;
    mod outbound;
    mod registration;
    mod registry;
}

/// Webhooks to partners, no matter who sends them.
mod webhooks {
    mod deliveries;
    mod documentation;
    mod endpoints;
    mod notices;
    mod portal;
    mod verify;
}

/// Appointments that become presences, at either end.
mod crm {
    mod appointments;
    mod presences;
}

/// A tour operator's WhatsApp.
mod conversations {
    mod chats;
    mod codes;
    mod erasure;
    mod evolution;
    mod notices;
    mod operators;
    mod outages;
    mod requests;
    mod sending;
    mod sessions;
    mod sync;
    mod webhooks;
}

/// The pages of operators and staff.
mod console {
    mod access;
    mod browser;
    mod browser_stories;
    mod codes;
    mod crm;
    mod customers;
    mod deliveries;
    mod dry_run;
    mod failures;
    mod inbox;
    mod logs;
    mod matrix;
    mod notifications;
    mod partners;
    mod queues;
    mod reminders;
    mod schedules;
    mod search;
    mod settings;
    mod signatures;
    mod suppressions;
    mod tasks;
    mod templates;
    mod today;
    mod vehicles;
    mod whatsapp;
    mod words;
    mod workers;
    mod workshops;
}

/// What operators look at and do over the API and from the command line, as in the console.
mod operations {
    mod audit;
    mod customers;
    mod messages;
    mod providers;
    mod suppressions;
    mod templates;
    mod users;
    mod workers;
}

/// Tasks, schedules, workers, and the programs in which they run.
mod queue {
    mod bulk;
    mod database_outages;
    mod diagnosis;
    mod fleet;
    mod ledger;
    mod operators;
    mod outages;
    mod pooler;
    mod queues;
    mod recovery;
    mod samples;
    mod schedules;
    mod start;
    mod tasks;
}
