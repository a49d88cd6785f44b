//! A simulated provider: plays the Anthropic Messages API on loopback, and those of Bedrock and Vertex by their paths, and keeps
//! its own books of what it would bill.
//!
//! Every request may carry a [`script`] that says how to answer it and what to break; without one the answer is a
//! plain, correct one. The same seed and request body give the same bytes, but for ids, dates and rate-limit resets.
//! Billing begins with the first byte of a 200 answer: the whole input, and output as far as it was sent.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::thread::JoinHandle;
use std::time::Duration;

use socket2::{Domain, Protocol, Socket, Type};
use tokio::sync::watch;

mod answer;
mod ask;
mod books;
mod clock;
mod cloud;
mod conn;
mod exchange;
mod federation;
mod http;
mod issuer;
mod kept;
mod message;
mod plan;
mod proof;
mod refusal;
mod reply;
pub mod script;
mod standing;
mod stream;
mod text;
mod writer;

#[cfg(test)]
mod tests;

pub use ask::fingerprint;
pub use books::{BilledUsage, Books, Entry, ModelTotals, Outcome, Totals};
pub use clock::set_ahead;
pub use proof::ProofOptions;

/// Entries kept unless said otherwise.
pub const KEEP_ENTRIES_DEFAULT: usize = 100_000;
/// Connections the kernel holds before they are accepted.
const BACKLOG: i32 = 4096;

/// How a provider is to run.
#[derive(Debug, Clone)]
pub struct ProviderOptions {
    /// Address to listen on; port 0 takes a free one.
    pub listen: SocketAddr,
    /// Threads, each with its own runtime and SO_REUSEPORT listener; at least one runs.
    pub threads: usize,
    /// Accepted keys, as `x-api-key`, `api-key` or bearer; empty accepts any and none, unless `proof` says otherwise.
    pub api_keys: Vec<String>,
    /// Accepted signatures and tokens.
    pub proof: ProofOptions,
    /// Seed of texts, ids and random failures.
    pub seed: u64,
    /// No line on stderr for refused requests.
    pub quiet: bool,
    /// Newest entries kept; totals are never dropped. 0 also skips the digests.
    pub keep_entries: usize,
    /// Keeps raw request bodies in the entries.
    pub keep_bodies: bool,
    /// Words that stand in front of every request's script: what this provider is like by itself.
    pub script: String,
}

impl Default for ProviderOptions {
    fn default() -> Self {
        ProviderOptions {
            listen: SocketAddr::from(([127, 0, 0, 1], 0)),
            threads: 1,
            api_keys: Vec::new(),
            proof: ProofOptions::default(),
            seed: 0,
            quiet: true,
            keep_entries: KEEP_ENTRIES_DEFAULT,
            keep_bodies: false,
            script: String::new(),
        }
    }
}

/// What the provider's connections share.
#[derive(Debug)]
struct State {
    options: ProviderOptions,
    ledger: books::Ledger,
    corpus: text::Corpus,
    rings: plan::Rings,
    standing: standing::Standing,
    kept: kept::Kept,
    requests: AtomicU64,
    proof: proof::Proof,
}

impl State {
    fn new(options: ProviderOptions) -> State {
        let standing = standing::Standing::default();
        standing.set(&options.script);
        State {
            standing,
            kept: kept::Kept::default(),
            ledger: books::Ledger::new(options.keep_entries),
            corpus: text::Corpus::new(options.seed),
            rings: plan::Rings::default(),
            requests: AtomicU64::new(0),
            proof: proof::Proof::new(options.api_keys.clone(), options.proof.clone()),
            options,
        }
    }
}

/// A provider bound to its address and not running yet: for callers that bring their own runtime.
#[derive(Debug)]
pub struct BoundProvider {
    state: Arc<State>,
    listeners: Vec<TcpListener>,
    addr: SocketAddr,
}

impl BoundProvider {
    /// Binds the listeners of all threads.
    ///
    /// # Errors
    /// Whatever the sockets report.
    pub fn bind(options: ProviderOptions) -> io::Result<BoundProvider> {
        let first = bind_reuseport(options.listen)?;
        let addr = first.local_addr()?;
        let mut listeners = vec![first];
        for _ in 1..options.threads {
            listeners.push(bind_reuseport(addr)?);
        }
        Ok(BoundProvider { state: Arc::new(State::new(options)), listeners, addr })
    }

    /// The bound address.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// A snapshot of the books.
    pub fn books(&self) -> Books {
        self.state.ledger.since(0)
    }

    /// Serves the first listener on the current tokio runtime, until that runtime ends.
    ///
    /// # Errors
    /// When the listener cannot be registered.
    pub fn spawn_here(&mut self) -> io::Result<()> {
        if let Some(listener) = self.listeners.pop() {
            let listener = tokio::net::TcpListener::from_std(listener)?;
            tokio::spawn(accept(listener, Arc::clone(&self.state)));
        }
        Ok(())
    }
}

/// A running provider; stops when dropped.
#[derive(Debug)]
pub struct ProviderHandle {
    state: Arc<State>,
    addr: SocketAddr,
    stop: watch::Sender<()>,
    threads: Vec<JoinHandle<()>>,
}

impl ProviderHandle {
    /// The bound address.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// A snapshot of the books.
    pub fn books(&self) -> Books {
        self.state.ledger.since(0)
    }

    /// Replaces the words that stand in front of every request's script.
    pub fn set_script(&self, words: &str) {
        self.state.standing.set(words);
    }

    /// A snapshot of the entries whose index is above `since`, and the sums.
    pub fn books_since(&self, since: u64) -> Books {
        self.state.ledger.since(since)
    }

    /// The books as soon as `enough` holds of their totals, or `None` after `deadline`.
    ///
    /// An exchange enters the books just after its last byte left, so a client that has read that byte may be early.
    pub fn books_when(&self, deadline: Duration, enough: impl Fn(&Totals) -> bool) -> Option<Books> {
        self.state.ledger.when(deadline, enough)
    }

    /// Ends all connections and threads; exchanges still open are left out of the books.
    pub fn stop(mut self) {
        self.end();
    }

    fn end(&mut self) {
        // A thread that is gone already has no use for the message.
        let _ = self.stop.send(());
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

impl Drop for ProviderHandle {
    fn drop(&mut self) {
        self.end();
    }
}

/// Starts a provider on threads of its own.
///
/// # Errors
/// When the address cannot be bound or a thread or runtime cannot be made.
pub fn start(options: ProviderOptions) -> io::Result<ProviderHandle> {
    let bound = BoundProvider::bind(options)?;
    let (stop, _) = watch::channel(());
    let mut handle = ProviderHandle { state: bound.state, addr: bound.addr, stop, threads: Vec::new() };
    for (index, listener) in bound.listeners.into_iter().enumerate() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let (state, mut stopped) = (Arc::clone(&handle.state), handle.stop.subscribe());
        let thread = std::thread::Builder::new().name(format!("provider-{index}")).spawn(move || {
            runtime.block_on(async move {
                match tokio::net::TcpListener::from_std(listener) {
                    Ok(listener) => {
                        tokio::spawn(accept(listener, state));
                        // An error means that the handle is gone, which is the same wish.
                        let _ = stopped.changed().await;
                    }
                    Err(error) => eprintln!("provider: cannot use the listener: {error}"),
                }
            });
        })?;
        handle.threads.push(thread);
    }
    Ok(handle)
}

fn bind_reuseport(addr: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(addr), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&addr.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

async fn accept(listener: tokio::net::TcpListener, state: Arc<State>) {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                // Without the option answers still arrive, only later.
                let _ = stream.set_nodelay(true);
                tokio::spawn(exchange::serve(stream, Arc::clone(&state)));
            }
            Err(error) => {
                // Out of descriptors, mostly: they come back as connections end.
                eprintln!("provider: accept: {error}");
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        }
    }
}
