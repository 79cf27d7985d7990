//! The console over a million notifications, while fifty people look: how long each page takes, and what their looking costs.

use std::error::Error;
use std::time::{Duration, Instant};

use recado_kernel::audit::Actor;
use recado_kernel::users::{self, Roles};
use recado_kernel::{sessions, sql, tls};
use reqwest::Client;
use reqwest::header::{ACCEPT_LANGUAGE, COOKIE};
use secrecy::ExposeSecret;
use sqlx::PgPool;
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::processes::processor_time;
use crate::servers::Servers;
use crate::stage::Stage;
use crate::{line, statements};

type Failure = Box<dyn Error + Send + Sync>;

/// They look at these pages, which follow what happens.
const VIEWERS: usize = 50;
const WATCHED: [&str; 5] = ["/admin/", "/admin/notifications/", "/admin/tasks/", "/admin/queues/", "/admin/workers/"];

/// Each page is asked so often, one request after the other.
const REQUESTS: usize = 100;

/// What docs/benchmarks.md promises for each page in its usual window, which is a day.
const P50_MS: f64 = 20.0;
const P99_MS: f64 = 150.0;

/// All thirty days, which the promise leaves out.
const WHOLE: &str = "window=all";

/// How long the cost of looking is counted.
const LOOKING: Duration = Duration::from_secs(10);

pub(crate) async fn measure(stage: &Stage, with_statements: bool) -> Result<(), Failure> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let url = format!("http://{}", listener.local_addr()?);
    let stop = CancellationToken::new();
    let serving = tokio::spawn(recado_api::serve(stage.context.clone(), vec![listener], stop.clone()));
    let browser = Browser { http: client()?, url, cookie: log_in(stage).await? };

    let servers = Servers::open().await?;
    for viewers in [1, VIEWERS] {
        let watching = browser.watch(viewers).await?;
        let before = (processor_time(std::process::id())?, servers.processor_time()?);
        tokio::time::sleep(LOOKING).await;
        let after = (processor_time(std::process::id())?, servers.processor_time()?);
        let share = |time: Duration| time.as_secs_f64() / LOOKING.as_secs_f64() * 100.0;
        let (ours, theirs) = (share(after.0.saturating_sub(before.0)), share(after.1.saturating_sub(before.1)));
        println!("{viewers} who look: {ours:.1} % of a processor for us, {theirs:.1} % for the servers");
        if viewers == VIEWERS {
            let pool = if with_statements { Some(PgPool::connect(&stage.url).await?) } else { None };
            if let Some(pool) = &pool {
                statements::reset(pool).await?;
            }
            time_pages(stage, &browser).await?;
            if let Some(pool) = &pool {
                statements::print(pool, "pages").await?;
            }
        }
        drop(watching);
    }
    stop.cancel();
    serving.await??;
    Ok(())
}

#[expect(clippy::disallowed_methods, reason = "it speaks to this program's own server on loopback")]
fn client() -> reqwest::Result<Client> {
    tls::http_client().no_proxy().redirect(reqwest::redirect::Policy::none()).build()
}

/// Prints how long each page takes, the slowest last, and which exceed the promise.
async fn time_pages(stage: &Stage, browser: &Browser) -> Result<(), Failure> {
    let mut timed = Vec::new();
    for path in paths(stage).await? {
        browser.get(&path).await?;
        let mut times = Vec::with_capacity(REQUESTS);
        for _ in 0..REQUESTS {
            let asked = Instant::now();
            browser.get(&path).await?;
            times.push(asked.elapsed().as_secs_f64() * 1_000.0);
        }
        times.sort_by(f64::total_cmp);
        timed.push((times[REQUESTS / 2], times[REQUESTS * 99 / 100], path, times));
    }
    timed.sort_by(|one, other| one.1.total_cmp(&other.1));
    let mut slow = Vec::new();
    for (p50, p99, path, times) in &timed {
        println!("{} p99 {p99:.1} ms", line(path, "ms", times));
        if (*p50 >= P50_MS || *p99 >= P99_MS) && !path.contains(WHOLE) {
            slow.push(path.as_str());
        }
    }
    let asked = timed.iter().filter(|(.., path, _)| !path.contains(WHOLE)).count();
    println!("{} of {asked} pages exceed p50 {P50_MS} ms or p99 {P99_MS} ms {}", slow.len(), slow.join(" "));
    Ok(())
}

/// Every page that needs no name in its path, the stories of things that are there, and lists with a filter, among them such as
/// find little.
async fn paths(stage: &Stage) -> Result<Vec<String>, Failure> {
    let pages = recado_console::entries().into_iter().filter(|entry| entry.sort == recado_console::Sort::Page);
    let mut paths: Vec<String> =
        pages.map(|entry| entry.path).filter(|path| !path.contains('{')).map(|path| format!("{path}/")).collect();
    // Without a sandbox there is no inbox.
    paths.retain(|path| !path.starts_with("/admin/inbox") && !path.starts_with("/admin/login"));
    let one: Option<(String, String, String)> = sql!(
        one(String, String, String),
        &mut stage.context.db.read().await?,
        "select bench_message(200)::text, md5('event100')::uuid::text, bench_id(200, 'task')::text"
    )?;
    let (notification, event, task) = one.ok_or("the benchmark's functions are there")?;
    paths.extend([
        format!("/admin/notifications/{notification}/"),
        format!("/admin/events/{event}/"),
        format!("/admin/tasks/{task}/"),
        format!("/admin/search/?q={task}"),
    ]);
    paths.extend(LISTS.map(str::to_owned));
    Ok(paths)
}

const LISTS: [&str; 22] = [
    "/admin/customers/card-100000/",
    "/admin/customers/customer-0007/",
    "/admin/customers/?search=zambrano",
    "/admin/customers/?search=nadie+se+llama",
    "/admin/notifications/?window=all",
    "/admin/notifications/?window=all&status=bounced",
    "/admin/notifications/?window=all&status=cancelled",
    "/admin/notifications/?window=all&channel=push&status=failed",
    "/admin/notifications/?window=all&customer_id=customer-0007",
    "/admin/notifications/?window=all&error_code=WHATSAPP_SEND_FAILED",
    "/admin/notifications/count/?window=all",
    "/admin/failures/?window=all",
    "/admin/failures/email:env:EMAIL_SEND_FAILED/",
    "/admin/tasks/?window=all",
    "/admin/tasks/?window=all&state=dead",
    "/admin/tasks/?window=all&state=cancelled",
    "/admin/tasks/?window=all&kind=ping",
    "/admin/tasks/?window=all&error=not+there",
    "/admin/search/?q=zambrano",
    "/admin/search/?q=%2B593900100000",
    "/admin/search/?q=person.777@example.com",
    "/admin/search/?q=nadie",
];

/// A person with all rights, logged in.
async fn log_in(stage: &Stage) -> Result<String, Failure> {
    let now = stage.context.clock.now();
    let mut session = stage.context.db.begin().await?;
    let admin = Roles::from("viewer operator editor admin".to_owned());
    let id = users::create(&mut session, "bench", &admin, &Actor::command("bench"), now).await?;
    let id = id.ok_or("the benchmark's user is there already")?;
    let (_, token) = sessions::begin(&mut session, id, "recado-bench", "127.0.0.1", now).await?;
    session.commit().await?;
    Ok(format!("recado_session={}", token.expose_secret()))
}

struct Browser {
    http: Client,
    url: String,
    cookie: String,
}

impl Browser {
    /// The page; a redirect is one.
    async fn get(&self, path: &str) -> Result<String, Failure> {
        let answer = self.request(path).send().await?;
        if answer.status().is_client_error() || answer.status().is_server_error() {
            return Err(format!("{path} answers {}", answer.status()).into());
        }
        Ok(answer.text().await?)
    }

    fn request(&self, path: &str) -> reqwest::RequestBuilder {
        let request = self.http.get(format!("{}{path}", self.url));
        request.header(COOKIE, &self.cookie).header(ACCEPT_LANGUAGE, "es")
    }

    /// So many follow the streams of the pages, until the set is dropped.
    async fn watch(&self, viewers: usize) -> Result<JoinSet<()>, Failure> {
        let mut watching = JoinSet::new();
        for path in WATCHED.into_iter().cycle().take(viewers) {
            let page = self.get(path).await?;
            let stream = page.split("hx-sse:connect=\"").nth(1).and_then(|rest| rest.split('"').next());
            let stream =
                stream.ok_or_else(|| format!("{path} follows nothing"))?.replace("&#38;", "&").replace("&amp;", "&");
            let mut answer = self.request(&stream).send().await?.error_for_status()?;
            watching.spawn(async move { while matches!(answer.chunk().await, Ok(Some(_))) {} });
        }
        Ok(watching)
    }
}
