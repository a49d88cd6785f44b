//! Peers that never sleep: provider and generator on one thread that never blocks.
//!
//! A sleeping peer must be woken by the gateway's own send, and on loopback that wake-up is charged to the gateway. With
//! real clients behind a network card it is not, so figures taken with awake peers are closer to the truth.

/// Keeps the current runtime's thread from ever blocking, until this is dropped.
#[must_use = "the thread sleeps again as soon as this is dropped"]
pub struct Awake(tokio::task::JoinHandle<()>);

/// Begins.
pub fn keep_awake() -> Awake {
    Awake(tokio::spawn(async {
        loop {
            tokio::task::yield_now().await;
        }
    }))
}

impl Drop for Awake {
    fn drop(&mut self) {
        self.0.abort();
    }
}
