//! The portal: pages on which a partner sees its own webhooks, sends them again, rotates its secret and tests its signature.
//!
//! There is no login: a link that staff made is the permission ([`recado_webhooks::portal`]). Its token stays in the address bar
//! for one page, which puts it into a cookie and goes on. Pages work without scripts, and load nothing from elsewhere. Everything
//! is asked for by the partner of the pass; the id of something else's is an id of nothing.

mod deliveries;
mod form;
mod links;
mod overview;
mod signature;
mod times;
mod visitor;
mod words;

use recado_console::any_handler::{get, post};

use self::deliveries::{replay_delivery, show_delivery};
pub(crate) use self::links::links;
use self::overview::{overview, replay_many, resume, rotate_secret, send_test};
use self::signature::{signature_form, test_signature};
use self::visitor::{enter, leave, style};
use crate::state::Routes;

/// The pages.
pub(crate) fn pages() -> Routes {
    Routes::new()
        .route("/", get(overview))
        .route("/enter/{token}", get(enter))
        .route("/leave", post(leave))
        .route("/deliveries/{id}", get(show_delivery))
        .route("/deliveries/{id}/replay", post(replay_delivery))
        .route("/replays", post(replay_many))
        .route("/test", post(send_test))
        .route("/resume", post(resume))
        .route("/secret", post(rotate_secret))
        .route("/signature", get(signature_form).merge(post(test_signature)))
        .route("/style.css", get(style))
}
