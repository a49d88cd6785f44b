//! Reload and drain.

use super::{AdminState, answer::Refusal};
use crate::link::down::Phase;
use axum::{Json, extract::State, http::StatusCode};
use serde_json::{Value, json};
use std::sync::Arc;
use tokio::sync::{mpsc, oneshot};

/// What a reload gives: the version now published, or everything that is wrong with the file.
pub type ReloadReply = Result<u64, Vec<String>>;

/// Asks for reloads: the admin API does, and whoever handles SIGHUP.
#[derive(Clone)]
pub struct ReloadSender(mpsc::Sender<oneshot::Sender<ReloadReply>>);

/// Does reloads, one after the other.
pub struct ReloadReceiver(mpsc::Receiver<oneshot::Sender<ReloadReply>>);

/// Makes both ends.
pub fn reloads() -> (ReloadSender, ReloadReceiver) {
    let (sender, receiver) = mpsc::channel(1);
    (ReloadSender(sender), ReloadReceiver(receiver))
}

impl ReloadSender {
    /// Reloads and waits for the result; `None` if nobody does reloads any more.
    pub async fn reload(&self) -> Option<ReloadReply> {
        let (reply, answer) = oneshot::channel();
        self.0.send(reply).await.ok()?;
        answer.await.ok()
    }
}

impl ReloadReceiver {
    /// Serves reloads until all senders are gone. The hook reads files and resolves names, so it runs on a thread where it
    /// may block; a hook that panics loses its own reload only.
    pub async fn serve(mut self, hook: impl Fn() -> ReloadReply + Send + Sync + 'static) {
        let hook = Arc::new(hook);
        while let Some(reply) = self.0.recv().await {
            let hook = hook.clone();
            match tokio::task::spawn_blocking(move || hook()).await {
                // Whoever asked may have gone away; the reload has happened all the same.
                Ok(result) => drop(reply.send(result)),
                Err(error) => tracing::error!(%error, "a reload failed"),
            }
        }
    }
}

pub(super) async fn reload(State(state): State<AdminState>) -> Result<Json<Value>, Refusal> {
    match state.reload.reload().await {
        Some(Ok(version)) => Ok(Json(json!({ "version": version }))),
        Some(Err(errors)) => {
            let message = format!("the configuration was not taken, the old one stays in force: {}", errors.join("; "));
            let refusal = Refusal::new(StatusCode::UNPROCESSABLE_ENTITY, "invalid_configuration", message);
            Err(refusal.with_details(errors))
        }
        None => {
            let message = "the reload did not end; see the log. The old configuration stays in force";
            Err(Refusal::new(StatusCode::SERVICE_UNAVAILABLE, "unavailable", message))
        }
    }
}

pub(super) async fn drain(State(state): State<AdminState>) -> (StatusCode, Json<Value>) {
    tracing::info!("drain asked for over the admin API");
    state.door.enter(Phase::Draining);
    state.drain.notify_one();
    (StatusCode::ACCEPTED, Json(json!({ "draining": true })))
}
