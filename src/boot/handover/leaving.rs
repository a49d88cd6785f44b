//! The predecessor's side: handing over, and taking everything back if the successor does not come to serve.

use super::{
    AccountName, Balance, Elders, Message, Taken, VERSION,
    coming::{connect, is_nobody},
    socket_path,
    talk::Talk,
};
use crate::{
    boot::{plane::Plane, sockets::Sockets},
    control::journal::Moves,
    kernel::{
        account::{Account, AccountId},
        limiter::{Measure, Second},
        money::Nanos,
        standing::Registry,
    },
    link::down::Phase,
    sys::{clock, passing},
};
use parking_lot::Mutex;
use std::{
    collections::HashMap,
    fs::{self, File, Permissions},
    io,
    os::{
        fd::{AsFd, AsRawFd, BorrowedFd},
        unix::{
            fs::PermissionsExt,
            net::{UnixListener, UnixStream},
        },
    },
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
    thread,
    time::{Duration, Instant},
};
use tokio::sync::Notify;

/// How long a successor may take for a word that it need not think about.
const ANSWER: Duration = Duration::from_secs(60);
/// How long it may take to read the journal and fetch its credentials.
const START: Duration = Duration::from_secs(1800);
/// How often budgets are looked at after they were handed over.
const REPORT: Duration = Duration::from_millis(10);
/// How long room that was granted is left for the request it was meant for.
const GRANTED: Duration = Duration::from_millis(200);
/// How often a lost successor is looked for.
const REJOIN: Duration = Duration::from_millis(200);
/// Nobody listens any more if so many tries in a row find nobody.
const REFUSED_OFTEN: u32 = 5;
/// How often the journal is tried to be taken back: the other process may be just ending.
const TAKE_BACK_TRIES: usize = 120;

/// What a running gateway can hand over.
pub(in crate::boot) struct Offer {
    /// The directory of the store.
    pub store: PathBuf,
    /// Copies of all listening sockets.
    pub sockets: Sockets,
    /// What is configured, and who changes it.
    pub plane: Arc<Plane>,
    /// The journal's writer.
    pub moves: Moves,
    /// Those before this one.
    pub elders: Arc<Elders>,
}

/// The gateway's readiness to be replaced.
#[derive(Clone, Default)]
pub(in crate::boot) struct Leaving {
    /// Told when another process serves.
    pub replaced: Arc<Notify>,
    ended: Arc<AtomicBool>,
    reported: Arc<AtomicBool>,
    linked: Arc<AtomicBool>,
    /// The process that has replaced this one is gone, and no other has come.
    alone: Arc<AtomicBool>,
}

impl Leaving {
    /// Lets other processes ask. Without this socket the gateway serves all the same.
    pub fn offer(&self, offer: Offer) -> io::Result<()> {
        self.listen(&Arc::new(offer), &Arc::new(Mutex::new(())))
    }

    fn listen(&self, offer: &Arc<Offer>, turn: &Arc<Mutex<()>>) -> io::Result<()> {
        let listener = listen(&socket_path(&offer.store))?;
        let (offer, leaving, turn) = (offer.clone(), self.clone(), turn.clone());
        let serve = move || {
            for stream in listener.incoming().flatten() {
                let (offer, leaving, turn) = (offer.clone(), leaving.clone(), turn.clone());
                let talk = move || {
                    if let Err(error) = converse(&offer, &leaving, &turn, stream) {
                        tracing::debug!(%error, "a conversation about a hand-over ended");
                    }
                };
                if let Err(error) = thread::Builder::new().name("weir-handover".to_owned()).spawn(talk) {
                    tracing::error!(%error, "cannot start a thread to hand over");
                }
            }
        };
        thread::Builder::new().name("weir-handover".to_owned()).spawn(serve).map(drop)
    }

    /// Everything has been settled: the successor is told for the last time, if there is one.
    pub fn finish(&self, store: &Path) {
        self.ended.store(true, SeqCst);
        if !self.linked.load(SeqCst) {
            // Nobody is here to ask any more. A socket that stays says the same, later.
            let _gone = fs::remove_file(socket_path(store));
        }
        let until = Instant::now() + ANSWER / 60;
        while self.linked.load(SeqCst) && !self.reported.load(SeqCst) && Instant::now() < until {
            thread::sleep(REPORT);
        }
    }
}

/// Listens there in place of whoever did before; the socket is its user's alone before anybody can find it.
fn listen(path: &Path) -> io::Result<UnixListener> {
    let directory = File::open(path.parent().unwrap_or(Path::new(".")))?;
    let own = path.with_extension(format!("sock.{}", std::process::id()));
    let name = own.file_name().unwrap_or_default();
    match fs::remove_file(&own) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let listener = UnixListener::bind(Path::new(&format!("/proc/self/fd/{}", directory.as_raw_fd())).join(name))?;
    fs::set_permissions(&own, Permissions::from_mode(0o600))?;
    fs::rename(&own, path)?;
    Ok(listener)
}

fn converse(offer: &Arc<Offer>, leaving: &Leaving, turn: &Arc<Mutex<()>>, stream: UnixStream) -> io::Result<()> {
    let (user, process) = passing::peer(&stream)?;
    if user != passing::own_user() {
        tracing::warn!(user, process, "another user asks to replace this gateway; refused");
        return Ok(());
    }
    let mut talk = Talk::over(stream);
    let serving = offer.plane.door().phase() == Phase::Serving;
    match talk.hear_now(ANSWER)? {
        Message::Rejoin { version: VERSION, side } if serving => {
            offer.elders.follow(&side, talk);
            Ok(())
        }
        Message::Hello { version: VERSION } if serving || leaving.alone.load(SeqCst) => match turn.try_lock() {
            Some(_turn) if !serving => lend_sockets(offer, talk),
            Some(turn_taken) => {
                let Some(room) = hand_over(offer, &mut talk, process)? else { return Ok(()) };
                leaving.linked.store(true, SeqCst);
                offer.plane.door().enter(Phase::Retiring);
                leaving.replaced.notify_one();
                drop(turn_taken);
                report(offer, leaving, turn, talk, room);
                Ok(())
            }
            None => refuse(&mut talk, "another process is replacing it just now"),
        },
        Message::Hello { version: VERSION } => refuse(&mut talk, "it is draining, or has been replaced already"),
        _ => refuse(&mut talk, "it speaks another version of this conversation; stop it and start without --replace"),
    }
}

fn refuse(talk: &mut Talk, why: &str) -> io::Result<()> {
    talk.say(&Message::Refused { why: why.to_owned() }, ANSWER)
}

fn lend(offer: &Offer, talk: &mut Talk) -> io::Result<()> {
    let sockets = &offer.sockets;
    talk.say(&Message::Here { clients: sockets.clients.len() }, ANSWER)?;
    let lent: Vec<BorrowedFd<'_>> = sockets.clients.iter().chain([&sockets.admin]).map(AsFd::as_fd).collect();
    for part in lent.chunks(passing::PASSED_MAX) {
        passing::send_descriptors(talk.stream(), part)?;
    }
    Ok(())
}

/// For a successor of the successor that has died: it finds the store free, and this process as one before it.
fn lend_sockets(offer: &Offer, mut talk: Talk) -> io::Result<()> {
    lend(offer, &mut talk)?;
    let Message::Retire = talk.hear_now(ANSWER)? else { return Ok(()) };
    talk.say(&Message::Retired { side: String::new(), lock: false }, ANSWER)?;
    let Message::Ready = talk.hear_now(START)? else { return Ok(()) };
    talk.say(&Message::Settled { balances: Vec::new(), limits: Vec::new(), elders: Vec::new() }, ANSWER)?;
    talk.hear_now(ANSWER).map(drop)
}

/// Hands everything over; none if the successor did not come to serve.
fn hand_over(offer: &Offer, talk: &mut Talk, process: i32) -> io::Result<Option<Room>> {
    lend(offer, talk)?;
    let Message::Retire = talk.hear_now(ANSWER)? else { return Ok(None) };
    tracing::info!(process, "another process is taking over; serving on until it does");
    let registry = offer.plane.registry();
    offer.plane.freeze(true);
    let noted = spent_of(&registry);
    let retired = match offer.moves.retire() {
        Ok(retired) => retired,
        Err(error) => {
            offer.plane.freeze(false);
            tracing::error!(%error, "the journal cannot be handed over; serving on");
            refuse(talk, &format!("its journal cannot be handed over: {error}"))?;
            return Ok(None);
        }
    };
    let side = retired.side.clone();
    let told = talk
        .say(&Message::Retired { side: side.clone(), lock: true }, ANSWER)
        .and_then(|()| passing::send_descriptors(talk.stream(), &[retired.store.lock().as_fd()]));
    drop(retired);
    let mut room = Room { side, registry, base: noted, reported: HashMap::new(), granted: HashMap::new() };
    if let Err(error) = told.and_then(|()| settle(offer, talk, &mut room)) {
        tracing::error!(process, %error, "the process that was taking over has not come to serve; serving on");
        take_back(offer, &room);
        return Ok(None);
    }
    Ok(Some(room))
}

/// From the successor's `Ready` to its `Serving`: accepts nothing more, and decides nothing more.
fn settle(offer: &Offer, talk: &mut Talk, room: &mut Room) -> io::Result<()> {
    let Message::Ready = talk.hear_now(START)? else { return Err(io::ErrorKind::InvalidData.into()) };
    let door = offer.plane.door();
    door.accept(false);
    let elders = offer.elders.hand_on();
    room.registry.handed_over.store(true, SeqCst);
    let limits = taken_of(&room.registry);
    talk.say(&Message::Settled { balances: room.settled(), limits, elders }, ANSWER)?;
    match talk.hear_now(ANSWER)? {
        Message::Serving => Ok(()),
        _ => Err(io::ErrorKind::InvalidData.into()),
    }
}

/// Nothing has happened: everything is decided and written here again.
fn take_back(offer: &Offer, room: &Room) {
    room.registry.handed_over.store(false, SeqCst);
    room.registry.accounts.for_each(|_, account| account.take_back());
    offer.elders.take_back();
    offer.plane.door().accept(true);
    for attempt in 1..=TAKE_BACK_TRIES {
        match offer.moves.come_back() {
            Ok(()) => break,
            Err(error) if attempt == TAKE_BACK_TRIES => {
                tracing::error!(
                    %error,
                    "the journal cannot be taken back; what this process writes comes into it at the next start or replacement"
                );
            }
            Err(_) => thread::sleep(REJOIN),
        }
    }
    offer.plane.freeze(false);
}

/// Says what is spent and asks for what is needed, until this process ends.
fn report(offer: &Arc<Offer>, leaving: &Leaving, turn: &Arc<Mutex<()>>, talk: Talk, mut room: Room) {
    let (mut link, mut refused) = (Some(talk), 0);
    loop {
        let ending = leaving.ended.load(SeqCst);
        let kept = link.take().map(|mut talk| room.exchange(&mut talk).map(|()| talk));
        link = match kept {
            Some(Ok(talk)) => Some(talk),
            Some(Err(error)) => {
                tracing::info!(%error, "the process that has replaced this one is gone; looking for the next");
                None
            }
            None => {
                thread::sleep(REJOIN);
                let found = rejoin(offer, &mut room);
                refused = if found.as_ref().is_err_and(is_nobody) { refused + 1 } else { 0 };
                if refused == REFUSED_OFTEN && !leaving.alone.swap(true, SeqCst) {
                    tracing::warn!(
                        "no process serves any more; whoever comes with --replace gets the sockets from here"
                    );
                    if let Err(error) = leaving.listen(offer, turn) {
                        tracing::error!(%error, "handover.sock cannot be opened");
                    }
                }
                found.ok()
            }
        };
        leaving.alone.fetch_and(link.is_none(), SeqCst);
        if ending {
            leaving.reported.store(true, SeqCst);
            return;
        }
    }
}

fn rejoin(offer: &Offer, room: &mut Room) -> io::Result<Talk> {
    let stream = connect(&socket_path(&offer.store))?;
    if passing::peer(&stream)?.1 == std::process::id() as i32 {
        return Err(io::ErrorKind::AddrInUse.into());
    }
    let mut talk = Talk::over(stream);
    talk.say(&Message::Rejoin { version: VERSION, side: room.side.clone() }, ANSWER)?;
    room.begin_anew();
    Ok(talk)
}

/// Budgets that have been handed over.
struct Room {
    /// Where this process writes.
    side: String,
    registry: Arc<Registry>,
    /// What had been spent when the successor knew it by the journal.
    base: HashMap<AccountId, i64>,
    /// What was reported last: pool and spent.
    reported: HashMap<AccountId, (i64, i64)>,
    granted: HashMap<AccountId, (i64, Instant)>,
}

impl Room {
    /// Hands over all accounts, and says how those stand that the journal alone does not tell.
    fn settled(&mut self) -> Vec<Balance> {
        let mut accounts = Vec::new();
        self.registry.accounts.for_each(|_, account| {
            account.hand_over();
            accounts.push(account.clone());
        });
        let tells = |account: &Arc<Account>| {
            let (pool, spent) = account.balance();
            let known = self.base.get(&account.id) == Some(&spent.0);
            (pool.0 != 0 || !known).then_some((account.clone(), pool.0, spent.0))
        };
        let telling: Vec<_> = accounts.iter().filter_map(tells).collect();
        telling.into_iter().map(|(account, pool, spent)| self.balance(&account, pool, spent)).collect()
    }

    fn balance(&mut self, account: &Account, pool: i64, spent: i64) -> Balance {
        let base = *self.base.entry(account.id).or_insert(spent);
        self.reported.insert(account.id, (pool, spent));
        let granted = self.granted.get(&account.id).map_or(0, |(amount, _)| *amount);
        Balance { account: AccountName::of(account), spent, pool, base, granted }
    }

    /// One round over the link.
    fn exchange(&mut self, talk: &mut Talk) -> io::Result<()> {
        while let Some(message) = talk.hear(REPORT)? {
            let Message::Grant { account, amount } = message else { return Err(io::ErrorKind::InvalidData.into()) };
            let Some(account) = account.key().and_then(|key| self.registry.accounts.find(&key)) else { continue };
            let granted = self.granted.entry(account.id).or_insert((0, Instant::now()));
            *granted = (granted.0 + amount, Instant::now());
            account.grant(Nanos(amount));
        }
        let (mut changed, mut wants) = (Vec::new(), Vec::new());
        let mut accounts = Vec::new();
        self.registry.accounts.for_each(|_, account| accounts.push(account.clone()));
        for account in accounts {
            if self.granted.get(&account.id).is_none_or(|(_, at)| at.elapsed() >= GRANTED) {
                account.hand_over();
            }
            let (pool, spent) = account.balance();
            let wanted = account.wanted();
            let known = self.reported.get(&account.id);
            // What was neither held nor spent since the successor knew of it need not be told.
            let unchanged = known.map_or_else(
                || pool.0 == 0 && self.base.get(&account.id) == Some(&spent.0) && wanted.0 == 0,
                |known| *known == (pool.0, spent.0),
            );
            if !unchanged {
                changed.push(self.balance(&account, pool.0, spent.0));
            }
            if wanted.0 > 0 {
                wants.push(Message::Want { account: AccountName::of(&account), amount: wanted.0 });
            }
        }
        if !changed.is_empty() {
            talk.say(&Message::Balances { balances: changed }, ANSWER)?;
        }
        wants.iter().try_for_each(|want| talk.say(want, ANSWER))
    }

    /// For another successor: it knows from the journal what has been spent up to now, and is told everything.
    fn begin_anew(&mut self) {
        self.granted.clear();
        for (id, (_, spent)) in self.reported.drain() {
            self.base.insert(id, spent);
        }
        // Told anew even if it is as before.
        self.registry.accounts.for_each(|_, account| {
            if account.balance().0.0 != 0 {
                self.base.remove(&account.id);
            }
        });
    }
}

fn spent_of(registry: &Registry) -> HashMap<AccountId, i64> {
    let mut spent = HashMap::new();
    registry.accounts.for_each(|_, account| {
        spent.insert(account.id, account.spent_about().0);
    });
    spent
}

fn taken_of(registry: &Registry) -> Vec<Taken> {
    let now = Second::of(clock::mono());
    let mut all = Vec::new();
    registry.limiters.for_each(|(scope, measure), limiter| {
        let mut taken = limiter.taken(now);
        if *measure == Measure::Concurrent {
            // What shards hold for later is not running.
            taken = vec![(0, taken.iter().map(|(_, amount)| amount).sum::<i64>() - limiter.lent())];
        }
        taken.retain(|(_, amount)| *amount > 0);
        if !taken.is_empty() {
            all.push(Taken { scope: scope.to_string(), measure: measure.as_str().to_owned(), taken });
        }
    });
    all
}
