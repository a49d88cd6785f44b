//! The thread that keeps the book.

use super::{
    book::{Addresses, Book, Settings},
    lookup::Servers,
    order,
};
use crate::sys::clock;
use parking_lot::Mutex;
use std::{io, net::IpAddr, sync::Arc, thread, time::Duration};
use tokio::{
    sync::{Notify, mpsc},
    task::JoinSet,
};

/// How long whoever wants new names waits for their first answers. The thread goes on after that.
const FIRST_ANSWERS: Duration = Duration::from_secs(5);
/// The longest sleep between two looks at the book.
const SLEEP_MAX: Duration = Duration::from_secs(3600);

/// Names to follow, and whom to tell that each has been asked for.
struct Want {
    names: Vec<String>,
    settings: Settings,
    done: std::sync::mpsc::SyncSender<()>,
}

/// The way to the thread, and to what it has found.
#[derive(Clone)]
pub struct Resolver {
    wants: mpsc::UnboundedSender<Want>,
    book: Arc<Mutex<Book>>,
    changed: Arc<Notify>,
}

impl Resolver {
    /// Starts the thread.
    pub fn start() -> io::Result<Self> {
        let (wants, wanted) = mpsc::unbounded_channel();
        let book = Arc::new(Mutex::new(Book::new(Settings::default())));
        let changed = Arc::new(Notify::new());
        let keeper = Keeper { book: book.clone(), changed: changed.clone(), waiting: Vec::new() };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        thread::Builder::new().name("weir-resolver".to_owned()).spawn(move || runtime.block_on(keeper.keep(wanted)))?;
        Ok(Self { wants, book, changed })
    }

    /// Follows these hosts and no others. Waits until those that are new have been asked for once, some seconds at most; not
    /// for the control plane's own thread, unless it has time for that.
    pub fn follow(&self, hosts: &[&str], settings: &Settings) {
        let names = hosts.iter().filter(|host| host.parse::<IpAddr>().is_err()).map(|host| (*host).to_owned());
        let (done, asked) = std::sync::mpsc::sync_channel(1);
        let want = Want { names: names.collect(), settings: settings.clone(), done };
        if self.wants.send(want).is_err() || asked.recv_timeout(FIRST_ANSWERS).is_err() {
            tracing::warn!("the name service is slow; upstreams without addresses get no traffic until it answers");
        }
    }

    /// The addresses of a host, in the order in which they are dialled.
    pub fn addresses(&self, host: &str) -> Addresses {
        match host.parse::<IpAddr>() {
            Ok(address) => Addresses { now: vec![address], before: Vec::new() },
            Err(_) => {
                let Addresses { now, before } = self.book.lock().addresses(host);
                Addresses { now: order::ordered(&now), before }
            }
        }
    }

    /// Waits until some host has other addresses than before.
    pub async fn changed(&self) {
        self.changed.notified().await;
    }
}

struct Keeper {
    book: Arc<Mutex<Book>>,
    changed: Arc<Notify>,
    /// Whoever waits for first answers.
    waiting: Vec<std::sync::mpsc::SyncSender<()>>,
}

impl Keeper {
    async fn keep(mut self, mut wanted: mpsc::UnboundedReceiver<Want>) {
        loop {
            let next = self.book.lock().next();
            let pause = next.map_or(SLEEP_MAX, |at| Duration::from_micros(at.since(clock::mono())).min(SLEEP_MAX));
            tokio::select! {
                want = wanted.recv() => match want {
                    Some(want) => self.follow(want),
                    None => return,
                },
                () = tokio::time::sleep(pause) => {}
            }
            self.ask().await;
        }
    }

    fn follow(&mut self, want: Want) {
        self.book.lock().follow(&want.names, &want.settings, clock::mono());
        self.waiting.push(want.done);
    }

    /// Asks for all names that are due, side by side.
    async fn ask(&mut self) {
        let now = clock::mono();
        let (due, settings, mut changed) = {
            let mut book = self.book.lock();
            let changed = book.tidy(now);
            (book.due(now), book.settings().clone(), changed)
        };
        if !due.is_empty() {
            let (servers, mut asking) = (Arc::new(Servers::new(&settings)), JoinSet::new());
            for name in due {
                let servers = servers.clone();
                asking.spawn(async move {
                    let told = servers.ask(&name).await;
                    (name, told)
                });
            }
            while let Some(told) = asking.join_next().await {
                if let Ok((name, told)) = told {
                    changed |= self.note(&name, told);
                }
            }
        }
        if self.book.lock().is_complete() {
            for done in self.waiting.drain(..) {
                // Whoever has given up waiting is not there any more.
                let _gone = done.try_send(());
            }
        }
        if changed {
            self.changed.notify_one();
        }
    }

    fn note(&self, host: &str, told: Result<super::book::Found, String>) -> bool {
        let (now, chance) = (clock::mono(), clock::unix().0);
        let mut book = self.book.lock();
        if let Err(error) = &told {
            let kept = book.addresses(host).now.len();
            tracing::warn!(host, %error, kept_addresses = kept, "a host does not resolve; what it had last counts");
        }
        let changed = book.told(host, told.ok(), now, chance);
        if changed {
            let Addresses { now, before } = book.addresses(host);
            tracing::info!(host, ?now, ?before, "a host has new addresses");
        }
        changed
    }
}
