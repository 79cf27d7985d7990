//! Pages that follow what happens: one stream for each visible tab, and one sampler for all of them.
//!
//! A page watches topics. While anybody watches, the sampler asks for each topic every 2 s, once for all viewers, and where the
//! answer is another than before it is sent to those who watch, drawn in their language. So fifty viewers cost what one does.
//! With each round it looks whose session has ended, and their streams end before anything more is sent. When the last viewer
//! leaves, the sampler ends.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::http::header::{CONTENT_TYPE, HeaderName};
use axum::response::{IntoResponse, Response};
use futures::future::BoxFuture;
use futures::stream;
use recado_kernel::errors::explain;
use recado_kernel::ids::Id;
use recado_kernel::{db, sessions};
use recado_queue::context::Context;
use serde_json::Value;
use std::convert::Infallible;
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::page::Page;

/// How often a topic is asked for.
const EVERY: Duration = Duration::from_secs(2);

/// A silent stream says so often that it lives.
const ALIVE_EVERY: Duration = Duration::from_secs(15);

/// Then the browser asks again, and is asked who it is.
const LONGEST: Duration = Duration::from_secs(300);

/// Topics of one page, and of all pages.
const MOST_OF_ONE: usize = 8;
const MOST: usize = 500;

/// What can be watched. A page names one as `name:argument`.
pub(crate) struct Topic {
    pub(crate) name: &'static str,
    /// Asks for what it shows now, as plain data without a language.
    pub(crate) sample: for<'a> fn(&'a Context, &'a str) -> BoxFuture<'a, db::Result<Value>>,
    /// Draws it: for each part of the page that it fills, the id and what stands in it.
    pub(crate) draw: fn(&Value, &Page) -> Vec<(String, String)>,
}

/// Which topics there are.
pub(crate) type Topics = &'static [Topic];

pub(crate) struct Live {
    context: Context,
    stop: CancellationToken,
    watched: Mutex<Watched>,
    /// Counts rounds of the sampler.
    rounds: watch::Sender<u64>,
}

#[derive(Default)]
struct Watched {
    topics: HashMap<String, Sampled>,
    /// The sessions of those who watch, with the number of their streams. One that has ended is taken out.
    sessions: HashMap<Id, usize>,
    is_sampling: bool,
}

struct Sampled {
    topic: &'static Topic,
    watchers: usize,
    /// Counts changes.
    version: u64,
    value: Option<Arc<Value>>,
}

impl Live {
    pub(crate) fn new(context: Context, stop: CancellationToken) -> Arc<Self> {
        Arc::new(Self { context, stop, watched: Mutex::default(), rounds: watch::Sender::new(0) })
    }

    fn watched(&self) -> MutexGuard<'_, Watched> {
        self.watched.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The stream of a page. It begins with all that it watches, so that a page which was away has missed nothing.
    pub(crate) fn stream(self: &Arc<Self>, topics: Topics, wanted: Vec<String>, page: Page) -> Response {
        let watching = Watching::begin(self, topics, wanted, page.visit.session);
        let viewer = Viewer { rounds: self.rounds.subscribe(), watching, page, began: Instant::now() };
        let body = Body::from_stream(stream::unfold(viewer, async |mut viewer| {
            let said = viewer.next().await?;
            Some((Ok::<_, Infallible>(said), viewer))
        }));
        let headers = [
            (CONTENT_TYPE, "text/event-stream"),
            // Or nginx collects the stream and sends it when it ends.
            (HeaderName::from_static("x-accel-buffering"), "no"),
        ];
        (headers, body).into_response()
    }

    async fn sample(self: Arc<Self>) {
        let mut turns = tokio::time::interval(EVERY);
        turns.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut wakes = self.rounds.subscribe();
        loop {
            let mut asked: Vec<(String, &'static Topic)> = Vec::new();
            let session_ids: Vec<Id>;
            {
                let mut watched = self.watched();
                watched.topics.retain(|_, sampled| sampled.watchers > 0);
                if watched.topics.is_empty() || self.stop.is_cancelled() {
                    watched.is_sampling = false;
                    return;
                }
                asked.extend(watched.topics.iter().map(|(name, sampled)| (name.clone(), sampled.topic)));
                session_ids = watched.sessions.keys().copied().collect();
            }
            if let Err(error) = self.see_who_is_out(&session_ids).await {
                tracing::debug!("the console cannot see whose session has ended: {}", explain(&error));
            }
            for (name, topic) in asked {
                let argument = name.split_once(':').map_or("", |(_, argument)| argument);
                match (topic.sample)(&self.context, argument).await {
                    Ok(value) => self.keep(&name, value),
                    Err(error) => tracing::debug!("a topic of the console cannot be asked for: {}", explain(&error)),
                }
            }
            self.rounds.send_modify(|round| *round += 1);
            wakes.mark_unchanged();
            tokio::select! {
                _ = turns.tick() => {}
                // Somebody came who watches something new.
                _ = wakes.changed() => {}
                () = self.stop.cancelled() => {}
            }
        }
    }

    /// One statement for all viewers.
    async fn see_who_is_out(&self, session_ids: &[Id]) -> db::Result<()> {
        if session_ids.is_empty() {
            return Ok(());
        }
        let now = self.context.clock.now();
        let in_force = sessions::in_force(&mut self.context.db.read().await?, session_ids, now).await?;
        let mut watched = self.watched();
        for session_id in session_ids {
            if !in_force.contains(session_id) {
                watched.sessions.remove(session_id);
            }
        }
        Ok(())
    }

    fn keep(&self, name: &str, value: Value) {
        if let Some(sampled) = self.watched().topics.get_mut(name)
            && sampled.value.as_deref() != Some(&value)
        {
            sampled.version += 1;
            sampled.value = Some(Arc::new(value));
        }
    }
}

/// The topics that one page watches. When it is dropped they are watched by one less.
struct Watching {
    live: Arc<Live>,
    /// With the version that was sent last.
    topics: Vec<(String, u64)>,
    /// `None`: of somebody who needs no login, or whom a proxy names.
    session: Option<Id>,
}

impl Watching {
    fn begin(live: &Arc<Live>, known: Topics, wanted: Vec<String>, session: Option<Id>) -> Self {
        let mut topics = Vec::new();
        let mut watched = live.watched();
        if let Some(session) = session {
            *watched.sessions.entry(session).or_default() += 1;
        }
        for name in wanted.into_iter().take(MOST_OF_ONE) {
            let kind = name.split(':').next().unwrap_or_default();
            let Some(topic) = known.iter().find(|topic| topic.name == kind) else { continue };
            let is_full = watched.topics.len() >= MOST && !watched.topics.contains_key(&name);
            if is_full || name.len() > 2_000 || topics.iter().any(|(had, _)| *had == name) {
                continue;
            }
            let new = Sampled { topic, watchers: 0, version: 0, value: None };
            watched.topics.entry(name.clone()).or_insert(new).watchers += 1;
            topics.push((name, 0));
        }
        if !watched.is_sampling && !topics.is_empty() {
            watched.is_sampling = true;
            tokio::spawn(live.clone().sample());
        }
        drop(watched);
        live.rounds.send_modify(|round| *round += 1);
        Self { live: live.clone(), topics, session }
    }

    fn is_out(&self) -> bool {
        self.session.is_some_and(|session| !self.live.watched().sessions.contains_key(&session))
    }

    /// What has changed since it was last asked.
    fn news(&mut self) -> Vec<(&'static Topic, Arc<Value>)> {
        let watched = self.live.watched();
        let mut news = Vec::new();
        for (name, sent) in &mut self.topics {
            if let Some(sampled) = watched.topics.get(name)
                && sampled.version > *sent
                && let Some(value) = &sampled.value
            {
                *sent = sampled.version;
                news.push((sampled.topic, value.clone()));
            }
        }
        news
    }
}

impl Drop for Watching {
    fn drop(&mut self) {
        let mut watched = self.live.watched();
        for (name, _) in &self.topics {
            if let Some(sampled) = watched.topics.get_mut(name) {
                sampled.watchers -= 1;
            }
        }
        if let Some(session) = self.session
            && let Some(streams) = watched.sessions.get_mut(&session)
        {
            *streams -= 1;
            if *streams == 0 {
                watched.sessions.remove(&session);
            }
        }
    }
}

/// One stream.
struct Viewer {
    rounds: watch::Receiver<u64>,
    watching: Watching,
    page: Page,
    began: Instant,
}

impl Viewer {
    /// What is said next; `None` when the stream ends.
    async fn next(&mut self) -> Option<Bytes> {
        let (stop, ends) = (self.watching.live.stop.clone(), self.began + LONGEST);
        loop {
            if self.watching.is_out() {
                return None;
            }
            let parts: Vec<(String, String)> =
                self.watching.news().iter().flat_map(|(topic, value)| (topic.draw)(value, &self.page)).collect();
            if !parts.is_empty() {
                return Some(message(&parts));
            }
            tokio::select! {
                changed = self.rounds.changed() => changed.ok()?,
                () = tokio::time::sleep(ALIVE_EVERY) => return Some(Bytes::from_static(b": alive\n\n")),
                () = tokio::time::sleep_until(ends) => return None,
                () = stop.cancelled() => return None,
            }
        }
    }
}

/// One message in the words of the event stream (HTML Living Standard, 9.2), with a part for each place that it fills. What a
/// person is typing, and where the focus is, stays: only what differs is changed ("morph").
fn message(parts: &[(String, String)]) -> Bytes {
    let mut text = String::new();
    for (id, html) in parts {
        text.push_str(&format!("<hx-partial hx-target=\"#{id}\" hx-swap=\"innerMorph\">{html}</hx-partial>\n"));
    }
    let mut said = String::with_capacity(text.len() + 64);
    for line in text.lines() {
        said.push_str("data: ");
        said.push_str(line);
        said.push('\n');
    }
    said.push('\n');
    Bytes::from(said)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_has_a_line_of_data_for_each_line() {
        let said = message(&[("counts".to_owned(), "<b>1</b>\n<i>2</i>".to_owned())]);
        let said = String::from_utf8(said.to_vec()).expect("UTF-8");
        assert!(said.starts_with("data: <hx-partial hx-target=\"#counts\"") && said.ends_with("\n\n"), "{said}");
        assert!(said.trim_end().lines().all(|line| line.starts_with("data: ")), "{said}");
    }
}
