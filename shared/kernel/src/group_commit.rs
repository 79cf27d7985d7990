//! Group commit: requests that arrive while a batch is under way share the next one.
//!
//! There is no timer. A lone request is served at once; under load the batches grow by themselves, and one statement does
//! the work of hundreds.

use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use futures::FutureExt;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;

/// So many batches are under way at the same time, of large ones.
const MAX_CONCURRENT_BATCHES: usize = 3;

/// A task that serves requests in batches.
pub struct Group<Request, Answer> {
    sender: mpsc::Sender<(Request, oneshot::Sender<Answer>)>,
}

impl<Request, Answer> Clone for Group<Request, Answer> {
    fn clone(&self) -> Self {
        Self { sender: self.sender.clone() }
    }
}

/// The batch that held the request ended without an answer: the serving code panicked, or the process is stopping.
#[derive(Debug, thiserror::Error)]
#[error("the batch that held this request ended without an answer")]
pub struct Unanswered;

impl<Request, Answer> Group<Request, Answer>
where
    Request: Send + Sync + 'static,
    Answer: Send + 'static,
{
    /// Serves batches of at most `largest` requests with `serve`, which answers each in its place. The task ends when the
    /// last handle is gone.
    ///
    /// One batch at a time: two would be half as large each, and cost more than their overlap wins (docs/benchmarks.md).
    pub fn spawn<Serve, Serving>(largest: usize, serve: Serve) -> Self
    where
        Serve: Fn(Arc<Vec<Request>>) -> Serving + Send + Sync + 'static,
        Serving: Future<Output = Vec<Answer>> + Send + 'static,
    {
        Self::spawn_overlapping(largest, usize::MAX, serve)
    }

    /// The same, where a batch of `large` requests and more does not wait for the one before: the database works on one while this
    /// process works on the other. What waits is shared among the batches that may be under way: callers that are all answered at once
    /// all ask again at once, and meanwhile the database has nothing to do.
    pub fn spawn_overlapping<Serve, Serving>(largest: usize, large: usize, serve: Serve) -> Self
    where
        Serve: Fn(Arc<Vec<Request>>) -> Serving + Send + Sync + 'static,
        Serving: Future<Output = Vec<Answer>> + Send + 'static,
    {
        let (sender, mut receiver) = mpsc::channel::<(Request, oneshot::Sender<Answer>)>(largest);
        tokio::spawn(async move {
            let mut waiting = Vec::with_capacity(largest);
            let mut under_way = JoinSet::new();
            loop {
                wait_for_turn(&mut under_way, &mut receiver, &mut waiting, (largest, large)).await;
                if gather(&mut receiver, &mut waiting, largest).await == 0 {
                    break;
                }
                // A caller that no longer waits has hung up, or was told that it took too long: its work is not begun.
                waiting.retain(|(_, replier)| !replier.is_closed());
                if waiting.is_empty() {
                    continue;
                }
                let count = share(waiting.len(), under_way.len(), large);
                let (requests, repliers): (Vec<_>, Vec<_>) = waiting.drain(..count).unzip();
                under_way.spawn(answer(serve(Arc::new(requests)), repliers));
            }
            // What has begun is done, though its callers are gone.
            under_way.join_all().await;
        });
        Self { sender }
    }

    /// Joins the next batch and waits for its answer.
    pub async fn call(&self, request: Request) -> Result<Answer, Unanswered> {
        let (replier, answer) = oneshot::channel();
        self.sender.send((request, replier)).await.map_err(|_| Unanswered)?;
        answer.await.map_err(|_| Unanswered)
    }
}

/// How many of those that wait make the next batch: an equal share for each that may still begin, but none is smaller than `large`.
fn share(waiting: usize, under_way: usize, large: usize) -> usize {
    waiting.div_ceil(MAX_CONCURRENT_BATCHES.saturating_sub(under_way).max(1)).max(large).min(waiting)
}

async fn answer<Answer>(serving: impl Future<Output = Vec<Answer>>, repliers: Vec<oneshot::Sender<Answer>>) {
    // A panic costs its own batch and not the service of all that follow.
    let answers = AssertUnwindSafe(serving).catch_unwind().await.unwrap_or_default();
    for (replier, answer) in repliers.into_iter().zip(answers) {
        // A caller that hangs up now does so too late.
        let _ = replier.send(answer);
    }
}

/// Until no batch is under way, or one is and `large` requests wait.
async fn wait_for_turn<T>(
    under_way: &mut JoinSet<()>,
    receiver: &mut mpsc::Receiver<T>,
    waiting: &mut Vec<T>,
    (largest, large): (usize, usize),
) {
    while under_way.try_join_next().is_some() {}
    while under_way.len() >= MAX_CONCURRENT_BATCHES || (large > largest && !under_way.is_empty()) {
        under_way.join_next().await;
    }
    while !under_way.is_empty() && waiting.len() < large {
        let room = largest - waiting.len();
        // Both keep what they have when the other is ready first: nothing is taken out and dropped.
        tokio::select! {
            _ = under_way.join_next() => {}
            received = receiver.recv_many(waiting, room) => if received == 0 { return },
        }
    }
}

/// Waits for the first where none waits yet, and lets all those join that are ready to: they would otherwise make a second batch
/// while the first is under way. Returns how many there are; none when the last sender is gone.
pub async fn gather<T>(receiver: &mut mpsc::Receiver<T>, waiting: &mut Vec<T>, largest: usize) -> usize {
    let mut had = 0;
    if waiting.is_empty() {
        receiver.recv_many(waiting, largest).await;
    }
    while had < waiting.len() && waiting.len() < largest {
        had = waiting.len();
        tokio::task::yield_now().await;
        while waiting.len() < largest
            && let Ok(one) = receiver.try_recv()
        {
            waiting.push(one);
        }
    }
    waiting.len()
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use tokio::sync::Semaphore;

    use super::*;

    #[tokio::test]
    async fn requests_that_arrive_during_a_batch_share_the_next() {
        let batches = Arc::new(AtomicUsize::new(0));
        let gate = Arc::new(Semaphore::new(0));
        let group = Group::spawn(100, {
            let (batches, gate) = (batches.clone(), gate.clone());
            move |requests: Arc<Vec<usize>>| {
                let (batches, gate) = (batches.clone(), gate.clone());
                async move {
                    batches.fetch_add(1, Ordering::SeqCst);
                    gate.acquire().await.expect("the gate stays").forget();
                    requests.iter().map(|request| request * 2).collect()
                }
            }
        });
        let first = tokio::spawn({
            let group = group.clone();
            async move { group.call(1).await.expect("answered") }
        });
        while batches.load(Ordering::SeqCst) == 0 {
            tokio::task::yield_now().await;
        }
        let mut rest: Vec<_> = (2..50)
            .map(|request| {
                let group = group.clone();
                tokio::spawn(async move { group.call(request).await.expect("answered") })
            })
            .collect();
        // On one thread, a yield lets all of them join the queue before the gate opens.
        tokio::task::yield_now().await;
        gate.add_permits(2);
        assert_eq!(first.await.expect("no panic"), 2);
        for (request, answer) in (2..50).zip(rest.drain(..)) {
            assert_eq!(answer.await.expect("no panic"), request * 2);
        }
        assert_eq!(batches.load(Ordering::SeqCst), 2);
    }

    /// What a caller was told is refused is not done later: it was told so by the time limit of its request, which drops the call.
    #[tokio::test]
    async fn what_is_not_waited_for_any_more_is_not_begun() {
        let (served, gate) = (Arc::new(AtomicUsize::new(0)), Arc::new(Semaphore::new(0)));
        let group = Group::spawn(100, {
            let (served, gate) = (served.clone(), gate.clone());
            move |requests: Arc<Vec<usize>>| {
                let (served, gate) = (served.clone(), gate.clone());
                async move {
                    served.fetch_add(requests.len(), Ordering::SeqCst);
                    gate.acquire().await.expect("the gate stays").forget();
                    requests.to_vec()
                }
            }
        });
        let mut first = Box::pin(group.call(1));
        let mut second = Box::pin(group.call(2));
        assert!(futures::poll!(&mut first).is_pending());
        while served.load(Ordering::SeqCst) == 0 {
            tokio::task::yield_now().await;
        }
        assert!(futures::poll!(&mut second).is_pending(), "it waits for the first batch");
        drop(second);
        gate.add_permits(2);
        assert_eq!(first.await.expect("answered"), 1);
        assert_eq!(group.call(3).await.expect("answered"), 3);
        assert_eq!(served.load(Ordering::SeqCst), 2);
    }

    #[test]
    fn a_large_batch_is_shared_and_a_small_one_is_not() {
        for ((waiting, under_way, large), expected) in [
            ((1, 0, 20), 1),
            ((39, 0, 20), 20),
            ((60, 0, 20), 20),
            ((128, 0, 20), 43),
            ((85, 1, 20), 43),
            ((42, 2, 20), 42),
            ((500, 0, usize::MAX), 500),
        ] {
            assert_eq!(share(waiting, under_way, large), expected, "{waiting} wait, {under_way} under way");
        }
    }

    /// Small batches wait for the one before, and a large one does not.
    #[tokio::test]
    async fn a_large_batch_does_not_wait() {
        let (sizes, gate) = (Arc::new(std::sync::Mutex::new(Vec::new())), Arc::new(Semaphore::new(0)));
        let group = Group::spawn_overlapping(100, 10, {
            let (sizes, gate) = (sizes.clone(), gate.clone());
            move |requests: Arc<Vec<usize>>| {
                let (sizes, gate) = (sizes.clone(), gate.clone());
                async move {
                    sizes.lock().expect("no panic").push(requests.len());
                    gate.acquire().await.expect("the gate stays").forget();
                    requests.to_vec()
                }
            }
        });
        let begun = || sizes.lock().expect("no panic").clone();
        let mut calls = JoinSet::new();
        let mut call = |number: usize| {
            let group = group.clone();
            calls.spawn(async move { group.call(number).await.expect("answered") });
        };
        let settled = async || {
            for _ in 0..50 {
                tokio::task::yield_now().await;
            }
        };
        call(0);
        settled().await;
        (1..10).for_each(&mut call);
        settled().await;
        assert_eq!(begun(), [1], "nine are not many");
        call(10);
        settled().await;
        assert_eq!(begun(), [1, 10]);
        (11..40).for_each(&mut call);
        settled().await;
        assert_eq!(begun(), [1, 10, 29]);
        (40..60).for_each(&mut call);
        settled().await;
        assert_eq!(begun(), [1, 10, 29], "and three are enough");
        gate.add_permits(60);
        let mut answers = calls.join_all().await;
        answers.sort_unstable();
        assert_eq!(answers, (0..60).collect::<Vec<_>>());
        assert_eq!(begun()[3..].iter().sum::<usize>(), 20);
    }
}
