//! What one caller does, and what the provider is told to do to it.

use crate::fleet::{ALICE_KEY, Ask, BOB_KEY, HAIKU, SONNET};
use crate::swarm::Leave;

/// One request. Its session is unique in the test, and so is its script: these are how both books are searched.
#[derive(Debug)]
pub struct Plan {
    pub session: String,
    pub sim: String,
    pub stream: bool,
    pub alice: bool,
    pub leave: Leave,
}

impl Plan {
    /// The nth request of a round.
    pub fn draw(random: &mut fastrand::Rng, round: u64, n: usize) -> Plan {
        // No two requests ask for the same count, so the script names its request.
        let input = round * 1000 + n as u64;
        let output = random.u32(1..900);
        let pace = format!("events={} gap_ms={} first_ms={}", random.u32(4..24), random.u32(..12), random.u32(..120));
        let end = match random.u32(..100) {
            0..52 => String::new(),
            52..58 => "status=429 retry_after=1".into(),
            58..64 => "status=529".into(),
            64..70 => format!("reset_at={}", random.u32(..4)),
            70..76 => format!("close_at={}", random.u32(..4)),
            76..82 => format!("error_at={}", random.u32(1..4)),
            82..86 => "reset_before=1".into(),
            86..92 => format!("stall_at={}", random.u32(..4)),
            92..94 => "silent=1".into(),
            94..97 => "after=reset".into(),
            _ => "after=close".into(),
        };
        let leave = match random.u32(..100) {
            0..5 => Leave::AtOnce,
            5..8 => Leave::InsideTheBody,
            8..16 => Leave::After(random.usize(1..2500)),
            16..24 => Leave::ResetAfter(random.usize(1..2500)),
            _ => Leave::AtTheEnd,
        };
        Plan {
            session: format!("round-{round}-request-{n}"),
            sim: format!(
                "input_tokens={input} cache_read={} output_tokens={output} event_bytes=60 {pace} {end}",
                n * 10
            )
            .trim_end()
            .to_owned(),
            stream: random.u32(..3) > 0,
            alice: random.bool(),
            leave,
        }
    }

    pub fn ask(&self) -> Ask<'_> {
        let (key, model) = if self.alice { (ALICE_KEY, SONNET) } else { (BOB_KEY, HAIKU) };
        Ask { key, model, sim: &self.sim, session: &self.session, stream: self.stream, ..Ask::default() }
    }
}
