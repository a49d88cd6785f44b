//! The successor's side: asking the running gateway for what it has.

use super::{Elders, Inherited, Message, VERSION, socket_path, talk::Talk};
use crate::{
    boot::{BootError, other, sockets::Sockets},
    control::journal::{Store, somebody_retires},
    sys::passing,
};
use std::{
    fs::File,
    io,
    net::{SocketAddr, TcpListener},
    os::{fd::AsRawFd, unix::net::UnixStream},
    path::Path,
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

/// How long the running gateway may take for an answer. It writes what is waiting before it gives the journal away.
const ANSWER: Duration = Duration::from_secs(60);

/// How long a process that has lost its successor may take to offer its sockets again.
const OFFERED_AGAIN: Duration = Duration::from_secs(10);
/// How often it is asked for.
const ASK_AGAIN: Duration = Duration::from_millis(100);

/// What `--replace` found.
pub(in crate::boot) enum Arrival {
    /// Nobody serves from this store: a start like any other.
    Alone,
    /// Somebody does, and lends these sockets.
    Beside(Coming, Sockets),
}

/// A conversation with the gateway that is to be replaced.
pub(in crate::boot) struct Coming {
    talk: Talk,
    side: String,
}

/// Nobody listens on a socket.
pub(super) fn is_nobody(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused)
}

/// Connects to a socket however long its path is: a path for a socket has 107 bytes.
pub(super) fn connect(path: &Path) -> io::Result<UnixStream> {
    let directory = File::open(path.parent().unwrap_or(Path::new(".")))?;
    let name = path.file_name().unwrap_or_default();
    UnixStream::connect(Path::new(&format!("/proc/self/fd/{}", directory.as_raw_fd())).join(name))
}

impl Arrival {
    /// Asks whoever serves from this store for its sockets. Nothing has happened to it so far.
    pub fn knock(store: &Path) -> Result<Self, BootError> {
        let began = Instant::now();
        let stream = loop {
            let connected = connect(&socket_path(store));
            let nobody = connected.as_ref().is_err_and(is_nobody);
            // One that has lost its successor needs a moment to see it, and has the sockets.
            if !nobody || began.elapsed() >= OFFERED_AGAIN || !somebody_retires(store) {
                break connected;
            }
            thread::sleep(ASK_AGAIN);
        };
        let stream = match stream {
            Ok(stream) => stream,
            Err(error) if is_nobody(&error) => {
                tracing::info!(store = %store.display(), "--replace: no gateway runs with this store; starting as usual");
                return Ok(Self::Alone);
            }
            Err(error) => return Err(other("cannot ask the running gateway to hand over", error)),
        };
        let (user, _) = passing::peer(&stream).map_err(lost)?;
        if user != passing::own_user() {
            let text = format!("the gateway with this store runs as user {user}; run --replace as the same user");
            return Err(BootError::Other(text));
        }
        let mut talk = Talk::over(stream);
        talk.say(&Message::Hello { version: VERSION }, ANSWER).map_err(lost)?;
        let clients = match talk.hear_now(ANSWER).map_err(lost)? {
            Message::Here { clients } => clients,
            refused => return Err(refusal(refused)),
        };
        let mut sockets = Vec::with_capacity(clients + 1);
        while sockets.len() <= clients {
            let more = passing::receive_descriptors(talk.stream()).map_err(lost)?;
            sockets.extend(more.into_iter().map(TcpListener::from));
        }
        let Some(admin) = sockets.pop() else { return Err(lost(io::ErrorKind::UnexpectedEof.into())) };
        Ok(Self::Beside(Coming { talk, side: String::new() }, Sockets { clients: sockets, admin }))
    }
}

/// The addresses of a configuration must be those of the sockets: whoever is connected there must not be refused.
pub(in crate::boot) fn same_addresses(
    sockets: &Sockets,
    clients: SocketAddr,
    admin: SocketAddr,
) -> Result<(), BootError> {
    let (has_clients, has_admin) = sockets.addresses()?;
    for (key, want, has) in [("clients", clients, has_clients), ("admin", admin, has_admin)] {
        if want.ip() != has.ip() || (want.port() != 0 && want.port() != has.port()) {
            return Err(BootError::Other(format!(
                "listen.{key} = {want}, but the running gateway listens on {has}: --replace takes its sockets as they are. \
                 Write {has}, or stop the running gateway and start without --replace"
            )));
        }
    }
    Ok(())
}

impl Coming {
    /// Has the running gateway give the journal away. From here on an end of this process makes it take the journal back.
    pub fn retire(&mut self, store: &Path) -> Result<Inherited, BootError> {
        self.talk.say(&Message::Retire, ANSWER).map_err(lost)?;
        let side = match self.talk.hear_now(ANSWER).map_err(lost)? {
            Message::Retired { side, lock: true } => side,
            Message::Retired { side, lock: false } => return Ok(Inherited { store: None, side }),
            refused => return Err(refusal(refused)),
        };
        let lock = passing::receive_descriptors(self.talk.stream()).map_err(lost)?.pop();
        let lock = lock.ok_or_else(|| lost(io::ErrorKind::UnexpectedEof.into()))?;
        self.side.clone_from(&side);
        Ok(Inherited { store: Some(Store::take_over(store, File::from(lock))), side })
    }

    /// Everything is prepared here: the running gateway stops accepting and deciding, and says how it stands.
    pub fn settle(&mut self, elders: &Elders) -> Result<(), BootError> {
        self.talk.say(&Message::Ready, ANSWER).map_err(lost)?;
        match self.talk.hear_now(ANSWER).map_err(lost)? {
            Message::Settled { balances, limits, elders: older } => {
                elders.settle(&self.side, &balances, &limits, &older);
                Ok(())
            }
            refused => Err(refusal(refused)),
        }
    }

    /// This process serves now. The other one is followed until it ends.
    pub fn serving(mut self, elders: Arc<Elders>) -> Result<(), BootError> {
        self.talk.say(&Message::Serving, ANSWER).map_err(lost)?;
        let follow = move || elders.follow(&self.side, self.talk);
        let thread = thread::Builder::new().name("weir-elder".to_owned()).spawn(follow);
        thread.map(drop).map_err(|error| other("cannot start a thread", error))
    }
}

fn lost(error: io::Error) -> BootError {
    other("the running gateway serves on, since the conversation with it broke off", error)
}

fn refusal(message: Message) -> BootError {
    match message {
        Message::Refused { why } => BootError::Other(format!("the running gateway does not hand over: {why}")),
        _ => BootError::Other("the running gateway speaks another version of this conversation".to_owned()),
    }
}
