//! Sends one SSE answer, with its pauses, pings and scripted breaks.

use std::time::Duration;

use tokio::time::Instant;

use super::cloud;
use super::conn::Gone;
use super::message::Message;
use super::plan::{self, Plan};
use super::refusal;
use super::reply::error_json;
use super::script::{Cut, Script};
use super::writer::Writer;
use crate::loadtest::generator::live::unix_nanos;

/// Pieces sent back to back before other tasks get a turn.
const PIECES_PER_TURN: usize = 32;
/// Ping interval of `ping_at`, unless `pings` says.
const PING_EVERY_MS: u64 = 1000;

/// How an answer ended on the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ended {
    Whole,
    Gone,
    /// An error event, then a regular end.
    Error,
    Reset,
    Close,
}

impl From<Gone> for Ended {
    fn from(_: Gone) -> Self {
        Ended::Gone
    }
}

/// A stream under way.
pub(super) struct Stream<'a, 'c> {
    pub(super) writer: &'a mut Writer<'c>,
    pub(super) plan: &'a Plan,
    pub(super) script: &'a Script,
    pub(super) request_id: &'a str,
    /// Text deltas sent so far.
    pub(super) deltas_sent: u32,
    /// The message whose events go as frames; `None` for SSE.
    pub(super) frames_of: Option<&'a Message>,
}

impl Stream<'_, '_> {
    pub(super) async fn run(&mut self) -> Ended {
        match self.pieces().await {
            Ok(ended) => ended,
            Err(Gone) => Ended::Gone,
        }
    }

    async fn pieces(&mut self) -> Result<Ended, Gone> {
        let gap = Duration::from_millis(self.script.content.gap_ms);
        let cut = self.script.fault.cut;
        let (mut sent, mut due) = (0, Instant::now());
        for at in 0..self.plan.len() {
            let (bytes, counted, is_delta) = self.plan.piece(at);
            if let Some((cut, _)) = cut.filter(|(_, events)| *events == sent) {
                return self.cut(cut).await;
            }
            if is_delta && !gap.is_zero() {
                self.writer.flush().await?;
                due += gap;
                self.pause(due).await?;
            } else if at % PIECES_PER_TURN == PIECES_PER_TURN - 1 {
                tokio::task::yield_now().await;
                self.writer.conn().look()?;
            }
            let stamped = is_delta && self.script.content.stamp;
            let stamped = stamped.then(|| self.plan.stamped(&self.script.content, unix_nanos()));
            let bytes = stamped.as_deref().unwrap_or(bytes);
            match self.frames_of {
                Some(message) => self.writer.payload(&cloud::frames(bytes, message)).await?,
                None => self.writer.payload(bytes).await?,
            }
            sent += u32::from(counted);
            self.deltas_sent += u32::from(is_delta);
        }
        if let Some((cut, _)) = cut.filter(|(_, events)| *events == sent) {
            return self.cut(cut).await;
        }
        self.writer.finish().await?;
        Ok(Ended::Whole)
    }

    async fn pause(&mut self, until: Instant) -> Result<(), Gone> {
        let pings = self.script.content.pings.filter(|_| self.frames_of.is_none());
        if let Some(every) = pings.map(Duration::from_millis) {
            loop {
                let next = Instant::now() + every;
                if next >= until {
                    break;
                }
                self.ping_at(next).await?;
            }
        }
        self.writer.conn().watch_until(until).await
    }

    async fn ping_at(&mut self, at: Instant) -> Result<(), Gone> {
        self.writer.conn().watch_until(at).await?;
        self.writer.payload(&plan::ping(self.script.content.crlf)).await?;
        self.writer.settle().await
    }

    async fn cut(&mut self, cut: Cut) -> Result<Ended, Gone> {
        self.writer.settle().await?;
        match cut {
            Cut::Error if self.frames_of.is_some() => {
                self.writer.payload(&refusal::frame(&self.script.status)).await?;
                self.writer.finish().await?;
                Ok(Ended::Error)
            }
            Cut::Error => {
                let json = error_json(529, "Overloaded", None, self.request_id);
                self.writer.payload(&plan::error_event(&json, self.script.content.crlf)).await?;
                self.writer.finish().await?;
                Ok(Ended::Error)
            }
            Cut::Reset => Ok(Ended::Reset),
            Cut::Close => Ok(Ended::Close),
            Cut::Stall => Err(self.writer.conn().watch().await),
            Cut::PingOnly if self.frames_of.is_some() => Err(self.writer.conn().watch().await),
            Cut::PingOnly => {
                let every = Duration::from_millis(self.script.content.pings.unwrap_or(PING_EVERY_MS));
                loop {
                    self.ping_at(Instant::now() + every).await?;
                }
            }
        }
    }
}
