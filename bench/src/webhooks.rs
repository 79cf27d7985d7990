//! Signed webhooks: as fast as one worker delivers them to a partner, and beside a partner that hangs.

use std::collections::HashMap;
use std::error::Error;
use std::time::{Duration, Instant};

use recado_kernel::clock::Timestamp;
use recado_kernel::ids::Id;
use recado_kernel::sql;
use recado_sandbox::{Partner, PartnerFault, PartnerOptions, Webhook};
use recado_webhooks::deliveries::{self, Delivery};
use recado_webhooks::endpoints::{self, Endpoint, NewEndpoint, Sealer};
use recado_webhooks::signature::Secret;
use serde_json::json;
use sqlx::PgPool;

use crate::dispatch::{deliver_mails, forget, start_worker};
use crate::processes::processor_time;
use crate::servers::Servers;
use crate::stage::Stage;
use crate::{report, report_ratios, statements};

/// As many as mails.
const WEBHOOKS: usize = 5_000;

/// Written with one transaction.
const BATCH: usize = 500;

const PARTNERS: usize = 100;

/// Every 50 ms ten webhooks, to ten partners, for ten seconds.
const TICKS: usize = 200;
const PER_TICK: usize = 10;
const TICK: Duration = Duration::from_millis(50);

/// What the request to the partner that hangs may take, so that the run ends.
const TIMEOUT: Duration = Duration::from_secs(5);

const LIMIT: Duration = Duration::from_secs(300);

type Failure = Box<dyn Error + Send + Sync>;

/// Mails and webhooks in turn, because only figures of one moment can be compared.
pub(crate) async fn measure(stage: &Stage, runs: usize, with_statements: bool) -> Result<(), Failure> {
    let counterpart = Counterpart::start().await?;
    let endpoint = &counterpart.endpoints(stage, 1).await?[0];
    let servers = Servers::open().await?;
    let (mut mails, mut webhooks, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for run in 1..=runs {
        let rate = deliver_mails(stage).await?;
        let statements = if with_statements && run == runs { Some(PgPool::connect(&stage.url).await?) } else { None };
        let delivered = deliver(stage, (&counterpart, endpoint), &servers, statements).await?;
        ratios.push(delivered.rate / rate);
        mails.push(rate);
        webhooks.push(delivered.rate);
        ours.push(delivered.our_time);
        theirs.push(delivered.servers_time);
    }
    report("mails delivered by one worker", "/s", mails);
    report("webhooks signed and delivered by one worker", "/s", webhooks);
    report_ratios("webhooks for each mail", ratios);
    report("webhooks: our and the partner's CPU per 1,000", "ms", ours);
    report("webhooks: servers' CPU per 1,000", "ms", theirs);
    measure_beside_one(stage, &counterpart).await
}

/// A partner that only takes what comes, as the mail server does: it shares the processors with what is measured, so it verifies
/// afterwards.
struct Counterpart {
    partner: Partner,
    secret: String,
}

impl Counterpart {
    async fn start() -> Result<Self, Failure> {
        let partner = Partner::start(PartnerOptions { verifies: false, ..PartnerOptions::default() }).await?;
        Ok(Self { secret: partner.make_secret(), partner })
    }

    fn is_signed(&self, webhook: &Webhook) -> bool {
        let verdict = webhook.verified_with(&self.secret);
        verdict.raw && verdict.rewritten && verdict.standard
    }

    /// Endpoints, each with a path of its own.
    async fn endpoints(&self, stage: &Stage, count: usize) -> Result<Vec<Endpoint>, Failure> {
        let key = stage.context.config.secret_key.as_ref().ok_or("the stage has a secret key")?;
        let now = stage.context.clock.now();
        let mut session = stage.context.db.begin().await?;
        let mut ids = Vec::new();
        for number in 0..count {
            let url = format!("{}{}", self.partner.url(), path(number));
            let id = Id::new(now);
            let secret = Secret::stated(&self.secret)?;
            let new = NewEndpoint {
                timeout: TIMEOUT,
                ..NewEndpoint::new(id, "partners", &format!("partner {number}"), &url, secret)
            };
            endpoints::insert(&mut session, Sealer(key), &new, now).await?;
            ids.push(id);
        }
        let mut made = endpoints::all(&mut session, &ids).await?;
        session.commit().await?;
        made.sort_by_key(|endpoint| ids.iter().position(|id| *id == endpoint.id));
        Ok(made)
    }
}

/// How webhooks were delivered.
struct Delivered {
    /// Per second.
    rate: f64,
    /// Processor time in milliseconds per 1,000 webhooks, until all are recorded: of this process, in which worker and partner are.
    our_time: f64,
    /// The same of PostgreSQL and Redis.
    servers_time: f64,
}

/// To one partner, with the usual settings. Counted from the worker's start to the last arrival.
async fn deliver(
    stage: &Stage,
    (counterpart, endpoint): (&Counterpart, &Endpoint),
    servers: &Servers,
    statements: Option<PgPool>,
) -> Result<Delivered, Failure> {
    counterpart.partner.clear();
    for first in (0..WEBHOOKS).step_by(BATCH) {
        let numbers = first..first + BATCH;
        send(stage, numbers.map(|number| webhook(endpoint, number, stage.context.clock.now())).collect()).await?;
    }
    if let Some(pool) = &statements {
        statements::reset(pool).await?;
    }
    let before = (processor_time(std::process::id())?, servers.processor_time()?);
    let started = Instant::now();
    let (stop, working) = start_worker(stage)?;
    let arrived = counterpart.partner.wait_for(WEBHOOKS, LIMIT).await;
    let took = started.elapsed();
    stop.cancel();
    working.await?;
    let after = (processor_time(std::process::id())?, servers.processor_time()?);
    if let Some(pool) = statements {
        statements::print(&pool, "webhooks").await?;
        pool.close().await;
    }
    if arrived.len() != WEBHOOKS || !arrived.iter().all(|one| counterpart.is_signed(one)) {
        return Err(format!("{} of {WEBHOOKS} webhooks arrived, or a signature was wrong", arrived.len()).into());
    }
    let delivered: Option<(i64,)> = sql!(
        one(i64,),
        &mut stage.context.db.read().await?,
        "select count(*) from webhook_deliveries where status = 'delivered'"
    )?;
    if delivered != Some((WEBHOOKS as i64,)) {
        return Err(format!("{delivered:?} of {WEBHOOKS} deliveries are recorded").into());
    }
    forget_webhooks(stage).await?;
    let per_thousand = |time: Duration| time.as_secs_f64() * 1_000_000.0 / WEBHOOKS as f64;
    Ok(Delivered {
        rate: WEBHOOKS as f64 / took.as_secs_f64(),
        our_time: per_thousand(after.0.saturating_sub(before.0)),
        servers_time: per_thousand(after.1.saturating_sub(before.1)),
    })
}

/// What the first of a hundred partners does while the others are looked at.
const BESIDE: [(&str, Option<PartnerFault>); 3] = [
    ("all of 100 partners answer", None),
    ("one of 100 partners hangs", Some(PartnerFault::Hang)),
    (
        "one of 100 partners takes 100 ms and has a backlog",
        Some(PartnerFault::Slow { delay: Duration::from_millis(100) }),
    ),
];

/// What waits for the slow one when the worker starts.
const BACKLOG: usize = 1_000;

/// The time from the commit to the arrival, of all partners but the first.
async fn measure_beside_one(stage: &Stage, counterpart: &Counterpart) -> Result<(), Failure> {
    let partner = &counterpart.partner;
    let endpoints = counterpart.endpoints(stage, PARTNERS).await?;
    for (what, fault) in BESIDE {
        partner.clear();
        let is_slow = matches!(fault, Some(PartnerFault::Slow { .. }));
        if let Some(fault) = fault {
            partner.misbehave_for(&path(0), fault);
        }
        if is_slow {
            let now = stage.context.clock.now();
            send(stage, (0..BACKLOG).map(|number| webhook(&endpoints[0], number, now)).collect()).await?;
        }
        let times = times_of_others(stage, partner, &endpoints).await?;
        let at = |part: usize| times[(times.len() - 1) * part / 100];
        println!("from the commit to the arrival at a partner, {what}: median {:.1} ms, p99 {:.1} ms", at(50), at(99));
        partner.behave();
        forget_webhooks(stage).await?;
    }
    Ok(())
}

/// In milliseconds, sorted.
async fn times_of_others(stage: &Stage, partner: &Partner, endpoints: &[Endpoint]) -> Result<Vec<f64>, Failure> {
    let (stop, working) = start_worker(stage)?;
    let mut made = HashMap::new();
    let mut ticks = tokio::time::interval(TICK);
    for tick in 0..TICKS {
        ticks.tick().await;
        let now = stage.context.clock.now();
        let numbers = tick * PER_TICK..(tick + 1) * PER_TICK;
        let batch: Vec<Delivery> = numbers.map(|number| webhook(&endpoints[number % PARTNERS], number, now)).collect();
        let ids: Vec<Id> = batch.iter().map(|delivery| delivery.id).collect();
        send(stage, batch).await?;
        made.extend(ids.into_iter().map(|id| (id.to_string(), stage.context.clock.now())));
    }
    let others = TICKS * PER_TICK * (PARTNERS - 1) / PARTNERS;
    let first = path(0);
    let deadline = Instant::now() + LIMIT;
    let arrived = loop {
        let mut arrived = partner.messages();
        arrived.retain(|webhook| webhook.path != first);
        if arrived.len() >= others || Instant::now() > deadline {
            break arrived;
        }
        tokio::time::sleep(TICK).await;
    };
    stop.cancel();
    working.await?;
    if arrived.len() != others {
        return Err(format!("{} of {others} webhooks arrived", arrived.len()).into());
    }
    let took = arrived.iter().filter_map(|webhook| {
        let committed: Timestamp = *made.get(webhook.header("webhook-id")?)?;
        Some(Timestamp::from(webhook.at).since(committed).as_secs_f64() * 1_000.0)
    });
    let mut times: Vec<f64> = took.collect();
    times.sort_by(f64::total_cmp);
    Ok(times)
}

fn path(number: usize) -> String {
    format!("/hooks/{number}")
}

/// The document's reservation.
fn webhook(endpoint: &Endpoint, number: usize, now: Timestamp) -> Delivery {
    let data = json!({
        "reservation_id": format!("RES-{number}"), "event_name": "Cena Corporativa TechCorp", "date": "2026-02-15",
        "time": "19:00", "guests": 50, "contact_name": "María García", "contact_phone": "0991234567",
        "contact_email": "maria@techcorp.com", "services_requested": ["dj", "decoracion", "fotografia"],
        "notes": "Celebración de aniversario",
    });
    let event = "event.reservation_confirmed";
    let payload =
        json!({"event_type": event, "timestamp": now, "source": "chuwue-grill", "version": "1.0", "data": data});
    Delivery::of_event(endpoint, event, &payload.to_string(), now).expect("the sample has a canonical form")
}

async fn send(stage: &Stage, batch: Vec<Delivery>) -> Result<(), Failure> {
    let mut session = stage.context.db.begin().await?;
    let rings = deliveries::send(&mut session, &batch, stage.context.clock.now()).await?;
    session.commit().await?;
    stage.context.ring(&rings).await;
    Ok(())
}

async fn forget_webhooks(stage: &Stage) -> Result<(), Failure> {
    let mut session = stage.context.db.begin().await?;
    sql!(run, &mut session, "truncate table webhook_attempts, webhook_deliveries")?;
    session.commit().await?;
    forget(stage).await
}
