//! Events: through intake, and on to the SMTP server.

use std::error::Error;
use std::time::{Duration, Instant};

use futures::StreamExt;
use futures::stream;
use recado_kernel::config::UnknownCustomer;
use recado_notifications::dispatch::{Event, Intake, Request};
use recado_notifications::system::Notifications;
use recado_worker::{Options, Worker};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use crate::report;
use crate::stage::{Stage, customer_id};

const EVENTS: usize = 20_000;
const MAILS: usize = 5_000;

/// Callers that wait for their answer at the same time.
const CALLERS: usize = 128;

/// The sample event of the documents, for one of the customers.
pub(crate) fn event(number: usize) -> Value {
    json!({
        "event_type": "appointment_scheduled",
        "service_type_id": "mantenimiento-preventivo",
        "phase_id": "phase-schedule",
        "customer_id": customer_id(number),
        "target": "clients",
        "context": {
            "nombre": "Carlos Mendoza", "placa": "ABC123", "vehiculo": "Haval H6 2024",
            "fecha": "20 de Enero, 2026", "hora": "14:30",
        },
    })
}

fn request(number: usize) -> Request {
    let event: Event = serde_json::from_value(event(number)).expect("the sample event is one");
    Request {
        event,
        idempotency: None,
        unique_key: None,
        unknown_customer: UnknownCustomer::Reject,
        only: Vec::new(),
        by: None,
    }
}

async fn accept(intake: &Intake, events: usize) -> f64 {
    let started = Instant::now();
    let accepted = stream::iter(0..events)
        .map(|number| intake.accept(request(number)))
        .buffer_unordered(CALLERS)
        .filter(|answer| std::future::ready(answer.is_ok()))
        .count()
        .await;
    assert_eq!(accepted, events, "every event of the benchmark is a good one");
    events as f64 / started.elapsed().as_secs_f64()
}

pub(crate) async fn measure_intake(stage: &Stage, runs: usize) -> Result<(), Box<dyn Error + Send + Sync>> {
    let intake = Intake::open(Notifications::new(stage.context.clone()));
    let mut figures = Vec::new();
    for _ in 0..runs {
        figures.push(accept(&intake, EVENTS).await);
        forget(stage).await?;
    }
    report("events accepted at intake, 128 callers", "/s", figures);
    Ok(())
}

pub(crate) async fn measure_latency(stage: &Stage) -> Result<(), Box<dyn Error + Send + Sync>> {
    let (stop, working) = start_worker(stage)?;
    let intake = Intake::open(Notifications::new(stage.context.clone()));
    let mut figures = Vec::new();
    for number in 0..100 {
        stage.sandbox.smtp.clear();
        intake.accept(request(number)).await.map_err(|rejection| rejection.to_string())?;
        let accepted = Instant::now();
        stage.sandbox.smtp.wait_for(1, Duration::from_secs(10)).await;
        figures.push(accepted.elapsed().as_secs_f64() * 1_000.0);
    }
    stop.cancel();
    working.await?;
    figures.sort_by(f64::total_cmp);
    println!("from the answer to the mail, idle machine: median {:.1} ms, p99 {:.1} ms", figures[50], figures[98]);
    forget(stage).await
}

pub(crate) async fn measure_delivery(stage: &Stage, runs: usize) -> Result<(), Box<dyn Error + Send + Sync>> {
    let mut figures = Vec::new();
    for _ in 0..runs {
        figures.push(deliver_mails(stage).await?);
    }
    report("mails delivered by one worker", "/s", figures);
    Ok(())
}

/// From the worker's start to the last mail, per second.
pub(crate) async fn deliver_mails(stage: &Stage) -> Result<f64, Box<dyn Error + Send + Sync>> {
    stage.sandbox.smtp.clear();
    let intake = Intake::open(Notifications::new(stage.context.clone()));
    accept(&intake, MAILS).await;
    let started = Instant::now();
    let (stop, working) = start_worker(stage)?;
    let mails = stage.sandbox.smtp.wait_for(MAILS, Duration::from_secs(120)).await.len();
    assert_eq!(mails, MAILS, "every accepted event becomes a mail");
    let figure = MAILS as f64 / started.elapsed().as_secs_f64();
    stop.cancel();
    working.await?;
    forget(stage).await?;
    Ok(figure)
}

pub(crate) type Working = tokio::task::JoinHandle<()>;

pub(crate) fn start_worker(stage: &Stage) -> Result<(CancellationToken, Working), Box<dyn Error + Send + Sync>> {
    let stop = CancellationToken::new();
    let worker = Worker::new(stage.context.clone(), Options::from(&stage.context))?;
    Ok((stop.clone(), tokio::spawn(worker.run(stop))))
}

/// Empties the ledger and the rings, so that every run begins alike.
pub(crate) async fn forget(stage: &Stage) -> Result<(), Box<dyn Error + Send + Sync>> {
    let mut session = stage.context.db.begin().await?;
    recado_kernel::sql!(run, &mut session, "truncate table tasks")?;
    recado_kernel::sql!(run, &mut session, "truncate table attempts, notifications, journal")?;
    session.commit().await?;
    Ok(())
}
