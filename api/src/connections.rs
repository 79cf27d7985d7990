//! The connections of this process: how many there may be, and which one goes when there are too many.
//!
//! A new connection is always taken while another is silent: the one that has been silent longest goes, and one that never
//! asked anything goes before one that did. When all are busy, a few places are left in which only probes are answered.

use std::collections::{HashMap, VecDeque};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use recado_kernel::networks::Network;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::client::CallerAddress;

/// How long a head may take from its first byte on, and how long a new connection may be silent.
pub(crate) const HEAD_TIMEOUT: Duration = Duration::from_secs(10);

/// How long a connection waits for its next request. Load balancers keep connections for 60 s; a server that closes them
/// earlier turns a request that arrives at that moment into a 502.
pub(crate) const IDLE_TIMEOUT: Duration = Duration::from_secs(75);

/// The most connections that are kept unless a setting says otherwise. Each may hold 32 KiB of a head.
const USUAL_MAXIMUM: u64 = 4_096;

/// Places beyond the limit, for probes.
const PROBE_PLACES: usize = 16;

/// The oldest silent connections are looked for once for so many newcomers.
const CANDIDATES: usize = 64;

/// How many connections there may be.
#[derive(Debug)]
pub(crate) struct Limits {
    all: usize,
    per_address: usize,
    /// Proxies, behind which are many callers.
    unlimited: Vec<Network>,
}

impl Limits {
    /// `setting` 0: as many as the descriptors allow. A quarter of these is left to databases, providers and files.
    pub(crate) fn new(setting: u32, unlimited: Vec<Network>) -> Self {
        let allowed = descriptors() / 4 * 3;
        let wanted = if setting == 0 { USUAL_MAXIMUM } else { u64::from(setting) };
        if setting > 0 && wanted > allowed {
            tracing::warn!(
                "API_MAX_CONNECTIONS is {setting}, but the file descriptors allow {allowed} connections; raise `ulimit -n`"
            );
        }
        let all = usize::try_from(wanted.min(allowed)).unwrap_or(usize::MAX).max(1);
        Self { all, per_address: (all / 2).max(1), unlimited }
    }
}

/// How many files this process may open, after it has asked for as many as the system grants.
fn descriptors() -> u64 {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    if current != maximum {
        // Where it is refused, the limit stays as it is, which is asked below.
        let _ = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum });
    }
    getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX)
}

/// All connections, whichever listener took them.
pub(crate) struct Connections {
    limits: Limits,
    table: Mutex<Table>,
}

#[derive(Default)]
struct Table {
    last_id: u64,
    open: HashMap<u64, Arc<Connection>>,
    /// How many of an address are among them, without those that are for probes.
    of: HashMap<CallerAddress, usize>,
    for_probes: usize,
    /// Connections that were silent when they were last looked for, the oldest first, and among which it was looked.
    oldest: (Among, VecDeque<(u64, Instant)>),
}

/// Among which connections one is looked for that has to go.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Among {
    #[default]
    All,
    Of(CallerAddress),
    Probes,
}

/// One connection, until it is dropped by the last who serves it.
pub(crate) struct Connection {
    id: u64,
    address: CallerAddress,
    /// It has one of the last places: only probes are answered.
    pub(crate) is_for_probes: bool,
    /// It has to make room for another.
    pub(crate) leaves: CancellationToken,
    state: Mutex<State>,
}

#[derive(Clone, Copy, Debug)]
struct State {
    phase: Phase,
    /// When the phase began; while an answer is being written, when some of it last left.
    since: Instant,
    /// A request came through it already.
    has_asked: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// Nothing of a request has come.
    Waiting,
    /// Some of a head has come.
    Head,
    /// A request is being served.
    Serving,
}

impl Connections {
    pub(crate) fn new(limits: Limits) -> Self {
        Self { limits, table: Mutex::default() }
    }

    /// A place for a new connection, for which another may have to leave. `None`: there is no place left.
    pub(crate) fn admit(self: &Arc<Self>, peer: IpAddr) -> Option<Admitted> {
        let address = CallerAddress::of(peer);
        let is_limited = !self.limits.unlimited.iter().any(|network| network.contains(peer));
        let mut table = self.lock();
        let own = table.of.get(&address).copied().unwrap_or_default();
        let has_place = if is_limited && own >= self.limits.per_address {
            table.make_room(Among::Of(address))
        } else {
            table.open.len() - table.for_probes < self.limits.all || table.make_room(Among::All)
        };
        if !has_place && table.for_probes >= PROBE_PLACES && !table.make_room(Among::Probes) {
            return None;
        }
        let connection = table.insert(address, !has_place);
        drop(table);
        Some(Admitted { connection, connections: self.clone() })
    }

    fn lock(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Table {
    fn insert(&mut self, address: CallerAddress, is_for_probes: bool) -> Arc<Connection> {
        self.last_id += 1;
        let connection = Arc::new(Connection {
            id: self.last_id,
            address,
            is_for_probes,
            leaves: CancellationToken::new(),
            state: Mutex::new(State { phase: Phase::Waiting, since: Instant::now(), has_asked: false }),
        });
        if is_for_probes {
            self.for_probes += 1;
        } else {
            *self.of.entry(address).or_default() += 1;
        }
        self.open.insert(connection.id, connection.clone());
        connection
    }

    fn remove(&mut self, id: u64) {
        let Some(connection) = self.open.remove(&id) else { return };
        if connection.is_for_probes {
            self.for_probes -= 1;
        } else if let Some(count) = self.of.get_mut(&connection.address) {
            *count -= 1;
            if *count == 0 {
                self.of.remove(&connection.address);
            }
        }
    }

    /// Sends the oldest silent connection away. False when all are busy.
    fn make_room(&mut self, among: Among) -> bool {
        loop {
            let is_new_search = self.oldest.0 != among || self.oldest.1.is_empty();
            if is_new_search {
                self.oldest = (among, self.silent(among));
            }
            while let Some((id, since)) = self.oldest.1.pop_front() {
                let Some(connection) = self.open.get(&id) else { continue };
                let state = connection.state();
                if state.phase != Phase::Serving && state.since == since {
                    connection.leaves.cancel();
                    self.remove(id);
                    metrics::counter!("recado_http_connections_shed_total").increment(1);
                    return true;
                }
            }
            if is_new_search {
                return false;
            }
        }
    }

    fn silent(&self, among: Among) -> VecDeque<(u64, Instant)> {
        let is_among = |connection: &&Arc<Connection>| match among {
            Among::All => !connection.is_for_probes,
            Among::Of(address) => connection.address == address && !connection.is_for_probes,
            Among::Probes => connection.is_for_probes,
        };
        let mut silent: Vec<(bool, Instant, u64)> = self
            .open
            .values()
            .filter(is_among)
            .map(|connection| (connection.state(), connection.id))
            .filter(|(state, _)| state.phase != Phase::Serving)
            .map(|(state, id)| (state.has_asked, state.since, id))
            .collect();
        silent.sort_unstable();
        silent.truncate(CANDIDATES);
        // Newer ones that never asked come before those that did, so these are looked for again when the others are gone.
        if let Some(first) = silent.first().copied() {
            silent.retain(|(has_asked, ..)| *has_asked == first.0);
        }
        silent.into_iter().map(|(_, since, id)| (id, since)).collect()
    }
}

/// A connection that has a place, which is free again when this is dropped.
pub(crate) struct Admitted {
    pub(crate) connection: Arc<Connection>,
    connections: Arc<Connections>,
}

impl Drop for Admitted {
    fn drop(&mut self) {
        self.connections.lock().remove(self.connection.id);
    }
}

impl Connection {
    /// Bytes came: where none were awaited, a request begins.
    pub(crate) fn heard(&self) {
        let mut state = self.lock();
        if state.phase == Phase::Waiting {
            (state.phase, state.since) = (Phase::Head, Instant::now());
        }
    }

    /// Some of an answer left: the other side is listening.
    pub(crate) fn told(&self) {
        let mut state = self.lock();
        if state.phase == Phase::Waiting {
            state.since = Instant::now();
        }
    }

    /// A request has come, and its answer is being made.
    pub(crate) fn begins_serving(&self) {
        *self.lock() = State { phase: Phase::Serving, since: Instant::now(), has_asked: true };
    }

    /// The answer is there; what remains is to write it, and to wait for the next request.
    pub(crate) fn ends_serving(&self) {
        *self.lock() = State { phase: Phase::Waiting, since: Instant::now(), has_asked: true };
    }

    /// When its silence has lasted too long; `None` while a request is being served.
    pub(crate) fn due(&self) -> Option<Instant> {
        let State { phase, since, has_asked } = self.state();
        match phase {
            Phase::Waiting if has_asked => Some(since + IDLE_TIMEOUT),
            Phase::Waiting | Phase::Head => Some(since + HEAD_TIMEOUT),
            Phase::Serving => None,
        }
    }

    fn state(&self) -> State {
        *self.lock()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn connections(all: usize) -> Arc<Connections> {
        let limits = Limits { all, per_address: all.div_ceil(2), unlimited: vec!["127.0.0.0/8".parse().unwrap()] };
        Arc::new(Connections::new(limits))
    }

    fn admit(connections: &Arc<Connections>, peer: &str) -> Option<Admitted> {
        connections.admit(peer.parse().unwrap())
    }

    fn leaves(admitted: &Admitted) -> bool {
        admitted.connection.leaves.is_cancelled()
    }

    /// The oldest goes, but one that asked something stays longer than one that never did.
    #[tokio::test(start_paused = true)]
    async fn the_oldest_silent_connection_makes_room() {
        let connections = connections(3);
        let mut open = Vec::new();
        for _ in 0..3 {
            open.push(admit(&connections, "127.0.0.1").expect("a place"));
            tokio::time::advance(Duration::from_secs(1)).await;
        }
        open[0].connection.begins_serving();
        open[0].connection.ends_serving();
        open[1].connection.heard();
        tokio::time::advance(Duration::from_secs(1)).await;
        for expected in [[false, false, true], [false, true, true], [false, true, true]] {
            open.push(admit(&connections, "127.0.0.1").expect("a place"));
            assert_eq!(open[..3].iter().map(leaves).collect::<Vec<_>>(), expected, "{}", open.len());
            tokio::time::advance(Duration::from_millis(10)).await;
        }
        assert!(leaves(&open[3]), "the newer ones never asked anything");
        assert!(!open.last().unwrap().connection.is_for_probes);
    }

    /// When all are busy a probe still gets in, and the places for probes are no way in for others.
    #[tokio::test(start_paused = true)]
    async fn the_last_places_are_for_probes() {
        let connections = connections(2);
        let busy: Vec<Admitted> = (0..2).map(|_| admit(&connections, "127.0.0.1").expect("a place")).collect();
        busy.iter().for_each(|admitted| admitted.connection.begins_serving());
        let probes: Vec<Admitted> = (0..PROBE_PLACES).map(|_| admit(&connections, "127.0.0.1").unwrap()).collect();
        assert!(probes.iter().all(|admitted| admitted.connection.is_for_probes));
        let next = admit(&connections, "127.0.0.1").expect("a silent one made room");
        assert!(leaves(&probes[0]) && next.connection.is_for_probes && !busy.iter().any(leaves));
        probes.iter().chain([&next]).for_each(|admitted| admitted.connection.begins_serving());
        assert!(admit(&connections, "127.0.0.1").is_none());
        drop(busy);
        assert!(!admit(&connections, "127.0.0.1").expect("a place is free").connection.is_for_probes);
    }

    #[tokio::test(start_paused = true)]
    async fn one_address_has_half_of_them() {
        let connections = connections(4);
        let open: Vec<Admitted> = (0..3).map(|_| admit(&connections, "203.0.113.1").expect("a place")).collect();
        assert_eq!(open.iter().map(leaves).collect::<Vec<_>>(), [true, false, false]);
        let other = admit(&connections, "203.0.113.2").expect("a place");
        let v6: Vec<Admitted> = ["2001:db8::1", "2001:db8::2", "2001:db8::3"]
            .map(|peer| admit(&connections, peer).expect("a place"))
            .into_iter()
            .collect();
        assert!(leaves(&v6[0]) || leaves(&open[1]), "hosts of one /64 are one address");
        assert!(!leaves(&v6[2]));
        drop((open, other, v6));
        assert!(connections.lock().of.is_empty() && connections.lock().open.is_empty());
    }
}
