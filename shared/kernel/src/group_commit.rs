//! Group commit: requests that arrive while a batch is under way share the next one.
//!
//! There is no timer. A lone request is served at once; under load the batches grow by themselves, and one statement does
//! the work of hundreds.

use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use futures::FutureExt;
use tokio::sync::{mpsc, oneshot};

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
        Serving: Future<Output = Vec<Answer>> + Send,
    {
        let (sender, mut receiver) = mpsc::channel::<(Request, oneshot::Sender<Answer>)>(largest);
        tokio::spawn(async move {
            let mut waiting = Vec::with_capacity(largest);
            while receiver.recv_many(&mut waiting, largest).await > 0 {
                // A caller that no longer waits has hung up, or was told that it took too long: its work is not begun.
                waiting.retain(|(_, replier)| !replier.is_closed());
                if waiting.is_empty() {
                    continue;
                }
                let (requests, repliers): (Vec<_>, Vec<_>) = waiting.drain(..).unzip();
                // A panic costs its own batch and not the service of all that follow.
                let answers = AssertUnwindSafe(serve(Arc::new(requests))).catch_unwind().await.unwrap_or_default();
                for (replier, answer) in repliers.into_iter().zip(answers) {
                    // A caller that hangs up now does so too late.
                    let _ = replier.send(answer);
                }
            }
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
    async fn what_nobody_waits_for_any_more_is_not_begun() {
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
}
