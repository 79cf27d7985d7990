//! A TCP proxy between the product and a server of the tests. What a network does to connections, it does on demand: they
//! vanish without a word, they end, the name leads to another server.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio_util::task::AbortOnDropHandle;
use url::Url;

/// Passes connections on to a server, until it is told otherwise or dropped.
pub(crate) struct Proxy {
    url: Url,
    network: watch::Sender<Network>,
    _accepting: AbortOnDropHandle<()>,
}

/// What the network does at the moment. Connections are numbered as they come.
#[derive(Clone, Debug)]
struct Network {
    server: SocketAddr,
    /// How many connections were made so far.
    accepted: u64,
    /// Connections below this number lose every byte, in both directions, and neither end hears of it.
    silent_below: u64,
    /// Connections below this number are over.
    closed_below: u64,
    /// What becomes of new ones.
    newcomers: Newcomers,
    /// A connection ends when PostgreSQL has answered its `commit`, and the answer is lost.
    loses_commits: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Newcomers {
    Served,
    /// Accepted, and then never a word: a server that hangs, a firewall that swallows.
    Silent,
    /// Closed at once: nothing listens.
    Refused,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    PassesOn,
    Silent,
    Closed,
}

impl Network {
    fn fate(&self, number: u64) -> Fate {
        if number < self.closed_below {
            Fate::Closed
        } else if number < self.silent_below || self.newcomers == Newcomers::Silent {
            Fate::Silent
        } else {
            Fate::PassesOn
        }
    }
}

impl Proxy {
    /// In front of the server that this URL names.
    pub(crate) async fn before(url: &Url) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let mut own = url.clone();
        own.set_host(Some("127.0.0.1")).expect("the URL has a host");
        own.set_port(Some(listener.local_addr().expect("it is bound").port())).expect("the URL has a port");
        let (network, _) = watch::channel(Network {
            server: address(url),
            accepted: 0,
            silent_below: 0,
            closed_below: 0,
            newcomers: Newcomers::Served,
            loses_commits: false,
        });
        let accepting = AbortOnDropHandle::new(tokio::spawn(accept(listener, network.clone())));
        Self { url: own, network, _accepting: accepting }
    }

    /// The server's URL, with the proxy's address in it.
    pub(crate) fn url(&self) -> &Url {
        &self.url
    }

    /// Connections that stand lose every byte from now on and neither side hears of it, as when a host dies or a firewall
    /// forgets. New ones work.
    pub(crate) fn vanish(&self) {
        self.network.send_modify(|network| network.silent_below = network.accepted);
    }

    /// Connections that stand are closed. New ones work.
    pub(crate) fn cut(&self) {
        self.network.send_modify(|network| network.closed_below = network.accepted);
    }

    /// The server hangs: new connections are accepted, and nothing passes on any of them.
    pub(crate) fn hang(&self) {
        self.network.send_modify(|network| network.newcomers = Newcomers::Silent);
    }

    /// The server is gone: connections that stand are closed, and new ones as soon as they are made.
    pub(crate) fn refuse(&self) {
        self.network.send_modify(|network| {
            network.closed_below = network.accepted;
            network.newcomers = Newcomers::Refused;
        });
    }

    /// What PostgreSQL is told to commit it commits, and its answer is lost with the connection; or no longer.
    pub(crate) fn lose_commits(&self, loses: bool) {
        self.network.send_modify(|network| network.loses_commits = loses);
    }

    /// New connections work again. What was swallowed meanwhile stays lost, and its connections silent.
    pub(crate) fn recover(&self) {
        self.network.send_modify(|network| {
            if network.newcomers == Newcomers::Silent {
                network.silent_below = network.accepted;
            }
            network.newcomers = Newcomers::Served;
        });
    }

    /// The name leads to another server: a failover. Connections that stand stay where they are.
    pub(crate) fn lead_to(&self, url: &Url) {
        let server = address(url);
        self.network.send_modify(|network| network.server = server);
    }

    /// How many connections were made so far.
    pub(crate) fn accepted(&self) -> u64 {
        self.network.borrow().accepted
    }
}

/// Servers of tests are named by address.
fn address(url: &Url) -> SocketAddr {
    let host = url.host_str().and_then(|host| host.parse().ok()).expect("the URL names an address");
    SocketAddr::new(host, url.port().expect("the URL has a port"))
}

async fn accept(listener: TcpListener, network: watch::Sender<Network>) {
    while let Ok((client, _)) = listener.accept().await {
        let mut number = 0;
        network.send_modify(|network| {
            number = network.accepted;
            network.accepted += 1;
        });
        tokio::spawn(serve(client, number, network.subscribe()));
    }
}

async fn serve(mut client: TcpStream, number: u64, mut network: watch::Receiver<Network>) {
    let (server, newcomers) = {
        let network = network.borrow();
        (network.server, network.newcomers)
    };
    if newcomers == Newcomers::Refused {
        return;
    }
    let Ok(mut server) = TcpStream::connect(server).await else { return };
    let _ = (client.set_nodelay(true), server.set_nodelay(true));
    let (mut from_client, mut to_client) = client.split();
    let (mut from_server, mut to_server) = server.split();
    let commits = AtomicBool::new(false);
    tokio::select! {
        () = pump(&mut from_client, &mut to_server, number, network.clone(), Direction::ToServer(&commits)) => {}
        () = pump(&mut from_server, &mut to_client, number, network.clone(), Direction::ToClient(&commits)) => {}
    }
    // Of a connection that vanished neither end hears anything, not even that the other one has closed it.
    while network.borrow_and_update().fate(number) == Fate::Silent && network.changed().await.is_ok() {}
}

/// Where bytes go, and whether the connection is in the middle of a commit whose answer is to be lost.
#[derive(Clone, Copy)]
enum Direction<'a> {
    ToServer(&'a AtomicBool),
    ToClient(&'a AtomicBool),
}

/// A statement of one word, as PostgreSQL's protocol sends it.
const COMMIT: &[u8] = b"commit\0";

/// Passes bytes on in one direction, until either side ends or the network says so.
async fn pump(
    from: &mut (impl AsyncRead + Unpin),
    to: &mut (impl AsyncWrite + Unpin),
    number: u64,
    mut network: watch::Receiver<Network>,
    direction: Direction<'_>,
) {
    let mut buffer = vec![0; 64 * 1024];
    loop {
        if network.borrow_and_update().fate(number) == Fate::Closed {
            return;
        }
        tokio::select! {
            changed = network.changed() => if changed.is_err() { return },
            read = from.read(&mut buffer) => {
                let Ok(read @ 1..) = read else { return };
                let passes_on = network.borrow().fate(number) == Fate::PassesOn;
                match direction {
                    Direction::ToServer(commits) => {
                        let asks = buffer[..read].windows(COMMIT.len()).any(|window| window == COMMIT);
                        commits.store(asks && network.borrow().loses_commits, Ordering::Relaxed);
                    }
                    // It was committed.
                    Direction::ToClient(commits) if commits.load(Ordering::Relaxed) => return,
                    Direction::ToClient(_) => {}
                }
                if passes_on && to.write_all(&buffer[..read]).await.is_err() {
                    return;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    /// A server that greets with its name and says everything back.
    async fn echo(name: &'static [u8]) -> Url {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let url = format!("tcp://{}", listener.local_addr().expect("it is bound"));
        tokio::spawn(async move {
            while let Ok((mut client, _)) = listener.accept().await {
                tokio::spawn(async move {
                    client.write_all(name).await.expect("it is greeted");
                    let (mut from, mut to) = client.split();
                    let _ = tokio::io::copy(&mut from, &mut to).await;
                });
            }
        });
        url.parse().expect("a URL")
    }

    async fn connect(proxy: &Proxy) -> TcpStream {
        TcpStream::connect(address(proxy.url())).await.expect("the proxy listens")
    }

    async fn reads(client: &mut TcpStream) -> Option<u8> {
        client.read_u8().await.ok()
    }

    async fn is_silent(client: &mut TcpStream) -> bool {
        tokio::time::timeout(Duration::from_millis(100), client.read_u8()).await.is_err()
    }

    #[tokio::test]
    async fn connections_vanish_and_end_and_lead_elsewhere() {
        let proxy = Proxy::before(&echo(b"a").await).await;
        let mut first = connect(&proxy).await;
        assert_eq!(reads(&mut first).await, Some(b'a'));
        first.write_u8(b'1').await.expect("it is written");
        assert_eq!(reads(&mut first).await, Some(b'1'));

        proxy.vanish();
        first.write_u8(b'2').await.expect("the writer does not notice");
        assert!(is_silent(&mut first).await);

        proxy.lead_to(&echo(b"b").await);
        let mut second = connect(&proxy).await;
        assert_eq!(reads(&mut second).await, Some(b'b'), "new ones work, and meet the new server");
        proxy.cut();
        assert_eq!((reads(&mut first).await, reads(&mut second).await), (None, None));

        proxy.hang();
        let mut third = connect(&proxy).await;
        assert!(is_silent(&mut third).await);
        proxy.recover();
        let mut fourth = connect(&proxy).await;
        assert_eq!(reads(&mut fourth).await, Some(b'b'));
        third.write_u8(b'3').await.expect("the writer does not notice");
        assert!(is_silent(&mut third).await, "what vanished stays silent");

        proxy.refuse();
        let mut fifth = connect(&proxy).await;
        assert_eq!((reads(&mut fourth).await, reads(&mut fifth).await), (None, None));
        assert_eq!(proxy.accepted(), 5);
    }
}
