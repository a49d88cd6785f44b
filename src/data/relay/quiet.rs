//! How long a client has heard nothing, and when it is due a sign of life (contract.md §4.3). What counts is what the client got,
//! not what the upstream said: half a frame, or one without words, keeps nobody's watchdog quiet. Sans-io.

use crate::kernel::{limits::PING_AFTER, time::MonoUs};
use std::time::Duration;

/// The silence of one stream.
#[derive(Clone, Copy, Debug)]
pub struct Quiet {
    since: MonoUs,
}

impl Quiet {
    /// The client has just heard something, or the waiting begins.
    pub fn from(now: MonoUs) -> Self {
        Self { since: now }
    }

    /// The client has just been told something, or was found not to be due a word yet.
    pub fn broken(&mut self, now: MonoUs) {
        self.since = now;
    }

    /// For how long it may still be quiet. Zero: a ping is due.
    pub fn left(&self, now: MonoUs) -> Duration {
        PING_AFTER.saturating_sub(Duration::from_micros(now.since(self.since)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dialect::{bedrock::chunk, bridge::FramesToSse};
    use proptest::prelude::*;

    const PING: &str = "event: ping\n\n";

    /// A stream in virtual time: what arrives at which second, and what the client reads when.
    fn read_by_client(arrivals: &[(u64, Vec<u8>)], end: u64) -> Vec<(u64, String)> {
        let mut frames = FramesToSse::default();
        let (mut quiet, mut read) = (Quiet::from(MonoUs(0)), Vec::new());
        let at = |second: u64| MonoUs(second * 1_000_000);
        for second in 0..=end {
            for (_, bytes) in arrivals.iter().filter(|(when, _)| *when == second) {
                let mut out = Vec::new();
                frames.feed(bytes, &mut out).expect("frames");
                if !out.is_empty() {
                    read.push((second, String::from_utf8(out).expect("text")));
                    quiet.broken(at(second));
                }
            }
            if quiet.left(at(second)).is_zero() {
                if !read.is_empty() {
                    read.push((second, PING.to_owned()));
                }
                quiet.broken(at(second));
            }
        }
        read
    }

    fn frame(text: &str) -> Vec<u8> {
        let mut out = Vec::new();
        chunk::append(&mut out, format!("{{\"type\":\"x\",\"text\":\"{text}\"}}").as_bytes());
        out
    }

    #[test]
    fn a_ping_comes_early_or_late_or_inside_an_event() {
        let half = frame("halves");
        let (front, back) = half.split_at(40);
        let arrivals = [
            (3, frame("first")),
            (10, front.to_vec()),
            (20, back.to_vec()),
            (34, frame("just in time")),
            (36, b"".to_vec()),
        ];
        let read = read_by_client(&arrivals, 70);
        let told: Vec<(u64, bool)> = read.iter().map(|(when, text)| (*when, text == PING)).collect();
        // Half a frame at 10 is no word: the ping is due 15 s after the last one.
        assert_eq!(told, [(3, false), (18, true), (20, false), (34, false), (49, true), (64, true)]);
        // A frame without words is none either.
        let mut silent = Vec::new();
        chunk::append(&mut silent, b"{}");
        let arrivals: Vec<_> =
            [(1, frame("first"))].into_iter().chain((2..40).map(|at| (at, silent.clone()))).collect();
        let pings: Vec<u64> =
            read_by_client(&arrivals, 40).iter().filter(|(_, t)| t == PING).map(|(at, _)| *at).collect();
        assert_eq!(pings, [16, 31]);
        // Nothing before the first word: a ping would commit to an answer that has not begun.
        assert!(read_by_client(&[], 100).is_empty());
    }

    proptest! {
        /// From its first word on a client is never left alone for more than 15 s, never pinged sooner, and every ping stands
        /// between two whole events.
        #[test]
        fn nobody_is_left_alone_for_longer_than_stated(
            gaps in prop::collection::vec(0u64..40, 1..12),
            cuts in prop::collection::vec(0usize..120, 12),
        ) {
            let (mut when, mut arrivals) = (0, Vec::new());
            for (nth, (gap, cut)) in gaps.iter().zip(cuts).enumerate() {
                let whole = frame(&format!("event {nth}"));
                let (front, back) = whole.split_at(cut.min(whole.len()));
                arrivals.push((when, front.to_vec()));
                when += gap;
                arrivals.push((when, back.to_vec()));
            }
            let read = read_by_client(&arrivals, when + 40);
            for pair in read.windows(2) {
                let gap = pair[1].0 - pair[0].0;
                prop_assert!(gap <= 15, "{gap} s of silence");
                prop_assert!(pair[1].1 != PING || gap == 15, "a ping after {gap} s");
            }
            let whole: String = read.iter().map(|(_, text)| text.as_str()).collect();
            prop_assert!(whole.split("\n\n").all(|event| event.is_empty() || event.starts_with("event: ")));
            let events = read.iter().filter(|(_, text)| text != PING).map(|(_, text)| text.matches("event: x").count()).sum::<usize>();
            prop_assert_eq!(events, gaps.len());
        }
    }
}
