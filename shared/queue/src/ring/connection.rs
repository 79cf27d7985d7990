//! A connection to Redis that is made again when it is of no use.
//!
//! A connection may work and yet be useless: its server was demoted to a replica, loads its data, has a full disk or memory,
//! wants a password, lost its cluster, or is not the one that the name leads to any more. Which of them it is does not matter.
//! Our commands are refused for such reasons alone, so every error ends the connection; the next one resolves the name again.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use redis::aio::MultiplexedConnection;
use redis::io::tcp::{TcpSettings, socket2::TcpKeepalive};
use redis::{
    AsyncConnectionConfig, Client, Cmd, FromRedisValue, IntoConnectionInfo, Pipeline, RedisResult, TlsCertificates,
    Value,
};
use secrecy::{ExposeSecret, SecretString};
use tokio::sync::Mutex;

/// For a connection and its greeting.
const CONNECT_WITHIN: Duration = Duration::from_secs(1);

/// Longer than a reader waits for a ring, which is a second.
const ANSWER_WITHIN: Duration = Duration::from_secs(2);

/// A connection is replaced at this age. A server that was replaced behind its name, and that still takes what it is told,
/// says nothing by which one could know.
const LONGEST_LIFE: Duration = Duration::from_secs(60);

/// A connection that says nothing for this long is asked by the kernel whether it is still there.
const KEEP_ALIVE_AFTER: Duration = Duration::from_secs(10);
const KEEP_ALIVE_EVERY: Duration = Duration::from_secs(5);

/// So long the other side may fail to acknowledge what was sent.
const UNACKNOWLEDGED_FOR: Duration = Duration::from_secs(10);

/// Cheap to clone; all clones are the same connection.
#[derive(Clone)]
pub(super) struct Connection {
    client: Client,
    kept: Arc<Mutex<Option<Kept>>>,
    /// Counts connections. One that is not the latest was given up.
    latest: Arc<AtomicU64>,
}

#[derive(Clone)]
struct Kept {
    connection: MultiplexedConnection,
    number: u64,
    since: Instant,
}

impl Connection {
    /// Does not wait for the server: the connection is made when it is needed. The server's certificate must be signed by one of
    /// `authorities` (PEM), or else by one of the system's.
    pub(super) fn to(url: &SecretString, authorities: Option<&[u8]>) -> RedisResult<Self> {
        let alive = TcpKeepalive::new().with_time(KEEP_ALIVE_AFTER).with_interval(KEEP_ALIVE_EVERY);
        let settings =
            TcpSettings::default().set_nodelay(true).set_keepalive(alive).set_user_timeout(UNACKNOWLEDGED_FOR);
        let server = url.expose_secret().into_connection_info()?.set_tcp_settings(settings);
        let client = match authorities {
            Some(pem) => {
                let certificates = TlsCertificates { client_tls: None, root_cert: Some(pem.to_vec()) };
                Client::build_with_tls(server, certificates)?
            }
            None => Client::open(server)?,
        };
        Ok(Self { client, kept: Arc::default(), latest: Arc::default() })
    }

    /// One of its own to the same server, for a reader, whose waiting would hold every other command up.
    pub(super) fn another(&self) -> Self {
        Self { client: self.client.clone(), kept: Arc::default(), latest: Arc::default() }
    }

    /// The next question has a new connection made.
    pub(super) fn forget(&self) {
        self.latest.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) async fn ask_one<T: FromRedisValue>(&self, command: Cmd) -> RedisResult<T> {
        let mut pipeline = Pipeline::with_capacity(1);
        pipeline.add_command(command);
        let (answer,) = self.ask(&pipeline).await?;
        Ok(answer)
    }

    /// The answers of all commands; the first refusal is an error.
    pub(super) async fn ask<T: FromRedisValue>(&self, commands: &Pipeline) -> RedisResult<T> {
        match self.try_to_ask(commands).await {
            // A new connection may lead to another server, or to the same one, which has started again.
            Err(error) if !error.is_timeout() => self.try_to_ask(commands).await,
            answer => answer,
        }
    }

    /// The answer of each command by itself.
    pub(super) async fn ask_each(&self, commands: &Pipeline) -> RedisResult<Vec<RedisResult<Value>>> {
        let mut commands = commands.clone();
        let answers: Vec<RedisResult<Value>> = self.try_to_ask(commands.ignore_errors()).await?;
        if answers.iter().any(Result::is_err) {
            self.forget();
        }
        Ok(answers)
    }

    async fn try_to_ask<T: FromRedisValue>(&self, commands: &Pipeline) -> RedisResult<T> {
        let Kept { mut connection, number, .. } = self.current().await?;
        let answer = commands.query_async(&mut connection).await;
        if answer.is_err() {
            // Unless another question has found that out before.
            let _ = self.latest.compare_exchange(number, number + 1, Ordering::Relaxed, Ordering::Relaxed);
        }
        answer
    }

    /// The connection, made now where there is none. It is made to the end even when the caller waits no longer: a server that is
    /// slow to greet would otherwise never be reached by those who are in a hurry.
    async fn current(&self) -> RedisResult<Kept> {
        let mut kept = self.kept.clone().lock_owned().await;
        let is_current =
            |kept: &&Kept| kept.number == self.latest.load(Ordering::Relaxed) && kept.since.elapsed() < LONGEST_LIFE;
        if let Some(kept) = kept.as_ref().filter(is_current) {
            return Ok(kept.clone());
        }
        let (client, number) = (self.client.clone(), self.latest.load(Ordering::Relaxed));
        let connecting = tokio::spawn(async move {
            let connection = connect(&client).await?;
            Ok(kept.insert(Kept { connection, number, since: Instant::now() }).clone())
        });
        connecting.await.unwrap_or_else(|error| Err(std::io::Error::other(error).into()))
    }
}

async fn connect(client: &Client) -> RedisResult<MultiplexedConnection> {
    let config = AsyncConnectionConfig::new()
        .set_connection_timeout(Some(CONNECT_WITHIN))
        .set_response_timeout(Some(ANSWER_WITHIN));
    client.get_multiplexed_async_connection_with_config(&config).await
}
