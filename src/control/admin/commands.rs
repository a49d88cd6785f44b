//! Reload and drain.

use super::{
    AdminState,
    answer::{Refusal, now},
};
use crate::{
    control::{
        changes::{Actor, Change, kinds},
        config::ConfigError,
        journal::{NotRecorded, Receipt},
    },
    link::down::Phase,
};
use axum::{
    Extension, Json,
    extract::{Query, State},
    http::StatusCode,
};
use serde::Deserialize;
use serde_json::{Value, json};
use std::{fmt, sync::Arc};
use tokio::sync::{mpsc, oneshot};

/// Why the old configuration stays in force.
#[derive(Clone, Debug)]
pub enum ReloadError {
    /// Everything that is wrong with the new one.
    Invalid(Vec<String>),
    /// The audit has no entry of the change.
    NotRecorded(NotRecorded),
}

impl ReloadError {
    /// These errors.
    pub fn invalid(errors: Vec<ConfigError>) -> Self {
        Self::Invalid(errors.iter().map(ToString::to_string).collect())
    }
}

impl fmt::Display for ReloadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Invalid(errors) => f.write_str(&errors.join("; ")),
            Self::NotRecorded(error) => error.fmt(f),
        }
    }
}

/// What a reload gives: the version now published, or why there is none.
pub type ReloadReply = Result<u64, ReloadError>;

type Asked = (Actor, oneshot::Sender<ReloadReply>);

/// Asks for reloads: the admin API does, and whoever handles SIGHUP.
#[derive(Clone)]
pub struct ReloadSender(mpsc::Sender<Asked>);

/// Does reloads, one after the other.
pub struct ReloadReceiver(mpsc::Receiver<Asked>);

/// Makes both ends.
pub fn reloads() -> (ReloadSender, ReloadReceiver) {
    let (sender, receiver) = mpsc::channel(1);
    (ReloadSender(sender), ReloadReceiver(receiver))
}

impl ReloadSender {
    /// Reloads and waits for the result; `None` if nobody does reloads any more.
    pub async fn reload(&self, by: Actor) -> Option<ReloadReply> {
        let (reply, answer) = oneshot::channel();
        self.0.send((by, reply)).await.ok()?;
        answer.await.ok()
    }
}

impl ReloadReceiver {
    /// Serves reloads until all senders are gone. The hook reads files and resolves names, so it runs on a thread where it
    /// may block; a hook that panics loses its own reload only.
    pub async fn serve(mut self, hook: impl Fn(&Actor) -> ReloadReply + Send + Sync + 'static) {
        let hook = Arc::new(hook);
        while let Some((by, reply)) = self.0.recv().await {
            let hook = hook.clone();
            match tokio::task::spawn_blocking(move || hook(&by)).await {
                // Whoever asked may have gone away; the reload has happened all the same.
                Ok(result) => drop(reply.send(result)),
                Err(error) => tracing::error!(%error, "a reload failed"),
            }
        }
    }
}

/// Says what a reload would change, and changes nothing.
pub type Preview = Arc<dyn Fn() -> Result<Value, ReloadError> + Send + Sync>;

/// How a reload is asked for.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ReloadQuery {
    /// Only say what it would change.
    #[serde(default)]
    dry_run: bool,
}

pub(super) async fn reload(
    State(state): State<AdminState>,
    Extension(by): Extension<Actor>,
    Query(query): Query<ReloadQuery>,
) -> Result<Json<Value>, Refusal> {
    if query.dry_run {
        let preview = state.preview.clone();
        // It reads files.
        let told = tokio::task::spawn_blocking(move || preview()).await;
        return match told {
            Ok(Ok(told)) => Ok(Json(told)),
            Ok(Err(ReloadError::Invalid(errors))) => Err(invalid(errors)),
            Ok(Err(ReloadError::NotRecorded(_))) | Err(_) => {
                let message = "what a reload would change cannot be said now; see the log";
                Err(Refusal::new(StatusCode::SERVICE_UNAVAILABLE, "unavailable", message))
            }
        };
    }
    match state.reload.reload(by).await {
        Some(Ok(version)) => Ok(Json(json!({ "version": version }))),
        Some(Err(ReloadError::NotRecorded(error))) => {
            let message = format!("{error}; the old configuration stays in force");
            Err(Refusal::new(StatusCode::SERVICE_UNAVAILABLE, "unavailable", message))
        }
        Some(Err(ReloadError::Invalid(errors))) => Err(invalid(errors)),
        None => {
            let message = "the reload did not end; see the log. The old configuration stays in force";
            Err(Refusal::new(StatusCode::SERVICE_UNAVAILABLE, "unavailable", message))
        }
    }
}

fn invalid(errors: Vec<String>) -> Refusal {
    let message = format!("the configuration was not taken, the old one stays in force: {}", errors.join("; "));
    let refusal = Refusal::new(StatusCode::UNPROCESSABLE_ENTITY, "invalid_configuration", message);
    refusal.with_details(errors)
}

/// A drain does not wait for the disk: it begins, and the answer says whether the audit has it (`recorded`).
pub(super) async fn drain(
    State(state): State<AdminState>,
    Extension(by): Extension<Actor>,
) -> (StatusCode, Json<Value>) {
    tracing::info!("drain asked for over the admin API");
    let handed_in = state.changes.submit(&Change::new(kinds::DRAIN, &by, "", now()));
    state.door.enter(Phase::Draining);
    state.drain.notify_one();
    let recorded = tokio::task::spawn_blocking(move || handed_in.and_then(Receipt::wait)).await;
    let recorded = matches!(recorded, Ok(Ok(())));
    if !recorded {
        tracing::error!("the audit has no entry of this drain yet; it is written if the disk takes it before the end");
    }
    (StatusCode::ACCEPTED, Json(json!({ "draining": true, "recorded": recorded })))
}
