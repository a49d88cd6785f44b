//! What the results of a batch used (contract.md §1.4, §7.2): lines of JSON, in any order, of which only those that succeeded
//! are billed, each at the batch rates of its own model. The walk is fed as the bytes pass and keeps the line being read.

use super::usage::UsageTally;
use crate::kernel::{
    limits::{BATCH_MODELS_MAX, RESULT_LINE_BYTES_MAX},
    money::Nanos,
    pricing::Rates,
    usage::Usage,
};
use memchr::memchr;
use serde::Deserialize;
use serde_json::value::RawValue;

/// What has been read of the results of a batch.
#[derive(Debug, Default)]
pub struct ResultsTally {
    line: Vec<u8>,
    too_long: bool,
    usage: Usage,
    cost: Nanos,
    lines: u64,
    succeeded: u64,
    odd: bool,
    /// The model that cost most, and how much.
    models: Vec<(String, Nanos)>,
}

#[derive(Deserialize)]
struct Line<'a> {
    #[serde(borrow)]
    result: Outcome<'a>,
}

#[derive(Deserialize)]
struct Outcome<'a> {
    #[serde(rename = "type")]
    kind: String,
    #[serde(borrow)]
    message: Option<Message<'a>>,
}

#[derive(Deserialize)]
struct Message<'a> {
    model: Option<String>,
    #[serde(borrow)]
    usage: Option<&'a RawValue>,
}

impl ResultsTally {
    /// Takes the next bytes. `quote` finds the rates of a model.
    pub fn feed(&mut self, mut bytes: &[u8], quote: impl Fn(&str) -> Rates) {
        while let Some(end) = memchr(b'\n', bytes) {
            self.keep(&bytes[..end]);
            self.line_ended(&quote);
            bytes = &bytes[end + 1..];
        }
        self.keep(bytes);
    }

    /// The answer has come to its end.
    pub fn finish(&mut self, quote: impl Fn(&str) -> Rates) {
        self.line_ended(&quote);
    }

    fn keep(&mut self, bytes: &[u8]) {
        if self.line.len() + bytes.len() > RESULT_LINE_BYTES_MAX {
            self.too_long = true;
            self.line = Vec::new();
        }
        if !self.too_long {
            self.line.extend_from_slice(bytes);
        }
    }

    fn line_ended(&mut self, quote: &impl Fn(&str) -> Rates) {
        if std::mem::take(&mut self.too_long) {
            self.odd = true;
            return;
        }
        let mut line = std::mem::take(&mut self.line);
        if !line.trim_ascii().is_empty() {
            self.lines += 1;
            self.odd |= self.read(&line, quote).is_none();
        }
        line.clear();
        self.line = line;
    }

    /// None if a line that is billed cannot be read.
    fn read(&mut self, line: &[u8], quote: &impl Fn(&str) -> Rates) -> Option<()> {
        let told: Line<'_> = serde_json::from_slice(line).ok()?;
        if told.result.kind != "succeeded" {
            return Some(());
        }
        let message = told.result.message?;
        let model = message.model?;
        let mut tally = UsageTally::default();
        if !tally.whole(message.usage?.get().as_bytes()) {
            return None;
        }
        // Whatever the tier says: it ran in a batch.
        let used = Usage { batch: true, ..tally.usage() };
        let billed = tally.bill(&used, &quote(&model), quote);
        self.usage = Usage { batch: true, ..self.usage.plus(&billed.usage) };
        self.cost += billed.cost;
        self.succeeded += 1;
        if let Some((_, cost)) = self.models.iter_mut().find(|(known, _)| *known == model) {
            *cost += billed.cost;
        } else if self.models.len() < BATCH_MODELS_MAX {
            self.models.push((model, billed.cost));
        }
        Some(())
    }

    /// All that succeeded together.
    pub fn usage(&self) -> Usage {
        self.usage
    }

    /// What it costs: each line rounded once, as the request that it was.
    pub fn cost(&self) -> Nanos {
        self.cost
    }

    /// Lines, and those of them that are billed.
    pub fn lines(&self) -> (u64, u64) {
        (self.lines, self.succeeded)
    }

    /// Something could not be read, so that the sums are not all.
    pub fn is_odd(&self) -> bool {
        self.odd
    }

    /// The model that most of it was spent on.
    pub fn model(&self) -> Option<&str> {
        self.models.iter().max_by_key(|(_, cost)| *cost).map(|(model, _)| model.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::pricing::PriceBook;

    const LINES: &str = concat!(
        r#"{"custom_id":"a\n","result":{"type":"succeeded","message":{"content":[{"text":"{\"usage\":{\"output_tokens\":9}}"}],"model":"claude-sonnet-4-6","usage":{"input_tokens":100,"output_tokens":50,"service_tier":"batch"}}}}"#,
        "\n",
        r#"{"custom_id":"b","result":{"type":"errored","error":{"type":"error"}}}"#,
        "\r\n",
        r#"{"custom_id":"c","result":{"type":"expired"}}"#,
        "\n\n",
        r#"{"result":{"message":{"usage":{"input_tokens":7,"output_tokens":1},"model":"claude-opus-4-6"},"type":"succeeded"},"custom_id":"d"}"#,
    );

    fn read(text: &str, cut: usize) -> ResultsTally {
        let book = PriceBook::built_in();
        let quote = |model: &str| book.rates("", model, model);
        let mut tally = ResultsTally::default();
        tally.feed(&text.as_bytes()[..cut], quote);
        tally.feed(&text.as_bytes()[cut..], quote);
        tally.finish(quote);
        tally
    }

    #[test]
    fn a_line_is_billed_twice_not_at_all_or_at_the_full_price() {
        let book = PriceBook::built_in();
        let cost = |model: &str, input, output| {
            book.rates("", model, model).cost(&Usage { input, output, batch: true, ..Usage::default() })
        };
        let want = cost("claude-sonnet-4-6", 100, 50).plus(cost("claude-opus-4-6", 7, 1));
        for cut in 0..=LINES.len() {
            let tally = read(LINES, cut);
            assert_eq!((tally.lines(), tally.is_odd(), tally.cost()), ((4, 2), false, want), "cut at {cut}");
            assert_eq!((tally.usage().input, tally.usage().output, tally.usage().batch), (107, 51, true));
            assert_eq!(tally.model(), Some("claude-sonnet-4-6"));
        }
    }

    #[test]
    fn what_cannot_be_read_is_taken_for_nothing() {
        for odd in [
            "{",
            r#"{"result":{"type":"succeeded"}}"#,
            r#"{"result":{"type":"succeeded","message":{"model":"m"}}}"#,
            r#"{"result":{"type":"succeeded","message":{"usage":{}}}}"#,
        ] {
            assert!(read(odd, 0).is_odd(), "{odd}");
        }
        let long = format!("{}\n{LINES}", "x".repeat(RESULT_LINE_BYTES_MAX + 1));
        let tally = read(&long, 100);
        assert!(tally.is_odd() && tally.lines() == (4, 2) && tally.line.capacity() < RESULT_LINE_BYTES_MAX);
    }
}
