//! A million notifications: how long people wait for figures about them, and how PostgreSQL finds its way.

use std::error::Error;
use std::time::{Duration, Instant};

use recado_kernel::{sql, tls};
use reqwest::Client;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::report;
use crate::stage::Stage;

/// Asked one after the other in each run.
const REQUESTS: usize = 20;

pub(crate) async fn measure(stage: &Stage, runs: usize) -> Result<(), Box<dyn Error + Send + Sync>> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let url = format!("http://{}/api/v1", listener.local_addr()?);
    let stop = CancellationToken::new();
    let serving = tokio::spawn(recado_api::serve(stage.context.clone(), vec![listener], stop.clone()));
    #[expect(clippy::disallowed_methods, reason = "it speaks to this program's own server on loopback")]
    let client = tls::http_client().no_proxy().build()?;

    let first = ask(&client, &format!("{url}/analytics/summary/?days=30")).await?;
    println!("the first summary, which counts the days that are over: {:.0} ms", first.as_secs_f64() * 1_000.0);
    for (name, path) in QUESTIONS {
        let mut figures = Vec::with_capacity(runs * REQUESTS);
        for _ in 0..runs * REQUESTS {
            figures.push(ask(&client, &format!("{url}/{path}")).await?.as_secs_f64() * 1_000.0);
        }
        report(name, "ms", figures);
    }
    stop.cancel();
    serving.await??;
    explain(stage).await
}

const QUESTIONS: [(&str, &str); 5] = [
    ("summary of 30 days, 1,000,000 notifications", "analytics/summary/?days=30"),
    ("the 100 newest", "analytics/recent/?limit=100"),
    ("the 100 newest of a channel and a rare status", "analytics/recent/?limit=100&channel=push&status=bounced"),
    ("health of the channels, 24 hours", "analytics/health/"),
    ("notifications of one customer", "notifications/?customer_id=customer-0007"),
];

async fn ask(client: &Client, url: &str) -> Result<Duration, Box<dyn Error + Send + Sync>> {
    let asked = Instant::now();
    let answer = client.get(url).send().await?.error_for_status()?;
    answer.bytes().await?;
    Ok(asked.elapsed())
}

/// The statements that every day needs, as the code sends them, and the index that each must be found by.
const HOT: [(&str, &str); 7] = [
    (
        "a chain, by its task",
        "select * from notifications where task_id = any(array[bench_id(14, 'task')]) order by task_id, fallback_order",
    ),
    (
        "a receipt, by the provider's id",
        "select * from attempts where provider_message_id = any(array['3EB0C767D097B7C7C4D3'])",
    ),
    ("an event, by its correlation", "select * from notifications where correlation_id = md5('event7')::uuid"),
    (
        "a customer's messages",
        "select * from notifications where customer_id = 'customer-0007' order by created_at desc limit 20",
    ),
    (
        "the newest messages",
        "select * from notifications where status not in ('pending', 'cancelled') or fallback_order = 0 order by created_at desc, id desc limit 100",
    ),
    (
        "the newest that came back",
        "select * from notifications where status = 'bounced' and closed_at is not null order by created_at desc, id desc limit 100",
    ),
    (
        "today, counted",
        "select channel, status, event_type, count(*) from notifications where created_at >= now() - interval '1 day' and (status not in ('pending', 'cancelled') or fallback_order = 0) group by 1, 2, 3",
    ),
];

/// Prints the plans, and refuses one that reads the whole table.
async fn explain(stage: &Stage) -> Result<(), Box<dyn Error + Send + Sync>> {
    let mut session = stage.context.db.read().await?;
    for (name, statement) in HOT {
        let text: &'static str =
            Box::leak(format!("explain (analyze, costs off, summary on) {statement}").into_boxed_str());
        let plan: Vec<(String,)> = sql!(all(String,), &mut session, (text))?;
        println!("\n{name}");
        for (line,) in &plan {
            println!("  {line}");
        }
        let scans_all = plan.iter().any(|(line,)| line.contains("Seq Scan on notifications"));
        if scans_all {
            return Err(format!("{name}: no index fits").into());
        }
    }
    Ok(())
}
