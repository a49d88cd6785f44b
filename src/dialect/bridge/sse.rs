//! An SSE stream for a client of Bedrock: each event in a frame (contract.md §6.3). Pings have no frame; Bedrock sends none.

use super::{Unreadable, errors};
use crate::{
    dialect::bedrock::chunk,
    kernel::{limits::BRIDGED_EVENT_BYTES_MAX, usage::Usage},
    wire::sse::EventClass,
};

/// Turns events into frames.
#[derive(Default)]
pub struct SseToFrames {
    /// The line that goes on.
    line: Vec<u8>,
    /// The data of the event that goes on.
    data: Vec<u8>,
    has_data: bool,
    after_cr: bool,
}

impl SseToFrames {
    /// Takes the next bytes, and appends the frames of the events that are whole by now. `usage`: what the stream has used,
    /// asked for when it says that it stops.
    ///
    /// # Errors
    /// [`Unreadable`] where an event is larger than weir keeps.
    pub fn feed(&mut self, bytes: &[u8], usage: impl Fn() -> Usage, out: &mut Vec<u8>) -> Result<(), Unreadable> {
        let mut rest = bytes;
        if self.after_cr && !rest.is_empty() {
            self.after_cr = false;
            rest = rest.strip_prefix(b"\n").unwrap_or(rest);
        }
        while let Some(len) = memchr::memchr2(b'\n', b'\r', rest) {
            self.line.extend_from_slice(rest.get(..len).unwrap_or_default());
            let (end, tail) = rest.split_at_checked(len + 1).unwrap_or((rest, &[]));
            rest = tail;
            if end.ends_with(b"\r") {
                self.after_cr = rest.is_empty();
                rest = rest.strip_prefix(b"\n").unwrap_or(rest);
            }
            self.end_line(&usage, out)?;
        }
        self.line.extend_from_slice(rest);
        self.fits()
    }

    /// Between two events: the stream may end here.
    pub fn at_boundary(&self) -> bool {
        self.line.is_empty() && !self.has_data
    }

    fn fits(&self) -> Result<(), Unreadable> {
        let kept = self.line.len() + self.data.len();
        if kept > BRIDGED_EVENT_BYTES_MAX { Err(Unreadable) } else { Ok(()) }
    }

    fn end_line(&mut self, usage: &impl Fn() -> Usage, out: &mut Vec<u8>) -> Result<(), Unreadable> {
        self.fits()?;
        if self.line.is_empty() {
            if std::mem::take(&mut self.has_data) {
                write(&self.data, usage, out);
            }
            self.data.clear();
            return Ok(());
        }
        let line = self.line.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&self.line);
        if let Some(value) = line.strip_prefix(b"data:") {
            if self.has_data {
                self.data.push(b'\n');
            }
            self.data.extend_from_slice(value.strip_prefix(b" ").unwrap_or(value));
            self.has_data = true;
        }
        self.line.clear();
        Ok(())
    }
}

fn write(data: &[u8], usage: &impl Fn() -> Usage, out: &mut Vec<u8>) {
    match EventClass::of_data(data) {
        EventClass::Ping => {}
        EventClass::Error => out.extend_from_slice(&errors::frame_of_event(data)),
        EventClass::MessageStop => chunk::append(out, &stop(data, &usage())),
        _ => chunk::append(out, data),
    }
}

/// The last event with Bedrock's own counts, as its clients know them. The latencies are not known here, and left out.
fn stop(data: &[u8], usage: &Usage) -> Vec<u8> {
    let Some(open) = data.trim_ascii_end().strip_suffix(b"}") else { return data.to_vec() };
    let metrics = serde_json::json!({
        "inputTokenCount": usage.input, "outputTokenCount": usage.output,
        "cacheReadInputTokenCount": usage.cache_read,
        "cacheWriteInputTokenCount": usage.cache_write_5m.saturating_add(usage.cache_write_1h),
    });
    [open, b",\"amazon-bedrock-invocationMetrics\":", metrics.to_string().as_bytes(), b"}"].concat()
}
