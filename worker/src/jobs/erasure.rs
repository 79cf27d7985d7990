//! A person who was erased is looked for in what other systems keep about people: bodies of webhooks both ways, itineraries,
//! appointments, presences. In small steps, so that nothing waits for it; one that was cut off goes on where it was.

use std::sync::Arc;

use recado_crm::erasure as crm;
use recado_kernel::clock::Timestamp;
use recado_kernel::db::{self, Session};
use recado_kernel::person::Person;
use recado_kernel::word_enum;
use recado_notifications::jobs::ForgetPerson;
use recado_notifications::searches;
use recado_partners::erasure as partners;
use recado_partners::rejected;
use recado_queue::context::Context;
use recado_queue::tasks::Claimed;
use recado_webhooks::deliveries;
use serde_json::json;

use crate::registry::{JobError, Outcome};

/// Rows per step. A body has a mebibyte at most, so this bounds what a step holds.
const BATCH: i64 = 100;

/// What is looked through, in this order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, strum::IntoStaticStr, strum::VariantArray)]
#[strum(serialize_all = "snake_case", const_into_str)]
enum Stage {
    Deliveries,
    Inbound,
    Rejected,
    Services,
    Appointments,
    Presences,
}

word_enum!(Stage, "a stage of a search");

impl Stage {
    fn next(self) -> Option<Self> {
        let place = Self::ALL.iter().position(|stage| *stage == self)?;
        Self::ALL.get(place + 1).copied()
    }

    async fn step(
        self,
        session: &mut Session,
        person: &Person,
        position: Option<&str>,
        now: Timestamp,
    ) -> db::Result<(Option<String>, u64)> {
        match self {
            Self::Deliveries => deliveries::forget(session, person, position, BATCH, now).await,
            Self::Inbound => partners::forget_inbound(session, person, position, BATCH).await,
            Self::Rejected => rejected::forget(session, person, position, BATCH).await,
            Self::Services => partners::forget_services(session, person, position, BATCH).await,
            Self::Appointments => crm::forget_appointments(session, person, position, BATCH).await,
            Self::Presences => crm::forget_presences(session, person, position, BATCH).await,
        }
    }
}

pub(crate) async fn run(context: Arc<Context>, task: Arc<Claimed>, _: ForgetPerson) -> Result<Outcome, JobError> {
    let key = context.config.secret_key.as_ref();
    loop {
        let now = context.clock.now();
        let mut session = context.db.begin().await?;
        let Some(mut search) = searches::take(&mut session, task.id).await? else {
            return Ok(Outcome::Done(json!({ "finished": true })));
        };
        let Some(person) = search.person(key) else {
            return Err(JobError::fail("whom to look for was sealed with another SECRET_KEY; erase the person again"));
        };
        let stage = search.stage.parse().unwrap_or(Stage::Deliveries);
        let (position, emptied) = stage.step(&mut session, &person, search.position.as_deref(), now).await?;
        search.emptied += emptied as i64;
        let next = if position.is_some() { Some(stage) } else { stage.next() };
        search.position = position;
        let Some(next) = next else {
            searches::finish(&mut session, &search, now).await?;
            session.commit().await?;
            return Ok(Outcome::Done(json!({ "finished": true, "emptied": search.emptied })));
        };
        next.as_str().clone_into(&mut search.stage);
        searches::save(&mut session, &search).await?;
        session.commit().await?;
    }
}
