//! The `usage` object of nearly every answer, read in one walk: counts, words and nulls, and two objects of counts. Whatever is
//! written otherwise (a list, an escape, a fraction, a member twice) is left to the parser that reads all of JSON; a test holds
//! both to the same answers.

use super::wire::{TOKENS_MAX, WireCacheCreation, WireServerTools, WireUsage, Word};
use crate::wire::json::plain_text;

/// Digits of a number that always fits 64 bits.
const DIGITS_MAX: usize = 18;
/// Objects inside each other that are passed over.
const DEPTH_MAX: u8 = 4;

/// Reads the object. `None`: it is not written as simply as that.
pub(super) fn quick(raw: &[u8]) -> Option<WireUsage> {
    let mut usage = WireUsage::default();
    let mut walk = Walk { rest: raw, seen: 0 };
    walk.object(|walk, key| {
        match key {
            b"input_tokens" => usage.input_tokens = walk.count(0)?,
            b"output_tokens" => usage.output_tokens = walk.count(1)?,
            b"cache_read_input_tokens" => usage.cache_read_input_tokens = walk.count(2)?,
            b"cache_creation_input_tokens" => usage.cache_creation_input_tokens = walk.count(3)?,
            b"cache_creation" => usage.cache_creation = walk.cache_creation()?,
            b"server_tool_use" => usage.server_tool_use = walk.server_tools()?,
            b"service_tier" => usage.service_tier = walk.word(9)?,
            b"inference_geo" => usage.inference_geo = walk.word(10)?,
            b"speed" => usage.speed = walk.word(11)?,
            b"iterations" => walk.only_null(12)?,
            b"fallback_credit" => walk.only_null(13)?,
            _ => walk.skip(0)?,
        }
        Some(())
    })?;
    walk.first().is_none().then_some(usage)
}

fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\r' | b'\n')
}

struct Walk<'a> {
    rest: &'a [u8],
    /// Members that have been read, as bits: the same one again is for the other parser to refuse.
    seen: u16,
}

impl<'a> Walk<'a> {
    /// The next byte that is no white space, taken.
    #[inline]
    fn byte(&mut self) -> Option<u8> {
        let byte = self.first()?;
        self.rest = self.rest.get(1..)?;
        Some(byte)
    }

    /// The next byte that is no white space, not taken.
    #[inline]
    fn first(&mut self) -> Option<u8> {
        // Rarely there is any.
        if self.rest.first().is_some_and(|byte| *byte <= b' ') {
            self.rest = self.rest.get(self.rest.iter().take_while(|byte| is_space(**byte)).count()..)?;
        }
        self.rest.first().copied()
    }

    fn eat(&mut self, wanted: u8) -> Option<()> {
        (self.byte()? == wanted).then_some(())
    }

    fn once(&mut self, member: u8) -> Option<()> {
        let bit = 1 << member;
        let new = self.seen & bit == 0;
        self.seen |= bit;
        new.then_some(())
    }

    /// Walks over the members; each is to be taken by `member`, behind its colon.
    fn object(&mut self, mut member: impl FnMut(&mut Self, &'a [u8]) -> Option<()>) -> Option<()> {
        self.eat(b'{')?;
        if self.first()? == b'}' {
            return self.eat(b'}');
        }
        loop {
            let key = self.text()?;
            self.eat(b':')?;
            member(self, key)?;
            match self.byte()? {
                b',' => {}
                b'}' => return Some(()),
                _ => return None,
            }
        }
    }

    /// A string of plain ASCII.
    fn text(&mut self) -> Option<&'a [u8]> {
        self.eat(b'"')?;
        let text = plain_text(self.rest)?;
        self.rest = self.rest.get(text.len() + 1..)?;
        Some(text)
    }

    fn number(&mut self) -> Option<u64> {
        let first = self.first()?;
        let (mut number, mut len) = (0, 0);
        while let Some(digit @ b'0'..=b'9') = self.rest.get(len).filter(|_| len <= DIGITS_MAX) {
            number = number * 10 + u64::from(digit - b'0');
            len += 1;
        }
        if len == 0 || len > DIGITS_MAX || (len > 1 && first == b'0') {
            return None;
        }
        // What ends with its digits may have gone on.
        self.rest = self.rest.get(len..).filter(|rest| !rest.is_empty())?;
        Some(number)
    }

    fn literal(&mut self, text: &[u8]) -> Option<()> {
        self.first()?;
        self.rest = self.rest.strip_prefix(text)?;
        Some(())
    }

    fn count(&mut self, member: u8) -> Option<Option<u64>> {
        self.once(member)?;
        match self.first()? {
            b'n' => self.literal(b"null").map(|()| None),
            _ => self.number().map(|count| Some(count.min(TOKENS_MAX))),
        }
    }

    fn word(&mut self, member: u8) -> Option<Option<Word>> {
        self.once(member)?;
        match self.first()? {
            b'n' => self.literal(b"null").map(|()| None),
            _ => Some(Some(Word::of(self.text()?))),
        }
    }

    fn only_null(&mut self, member: u8) -> Option<()> {
        self.once(member)?;
        self.literal(b"null")
    }

    fn cache_creation(&mut self) -> Option<Option<WireCacheCreation>> {
        self.once(4)?;
        if self.first()? == b'n' {
            return self.literal(b"null").map(|()| None);
        }
        let mut created = WireCacheCreation::default();
        self.object(|walk, key| {
            match key {
                b"ephemeral_5m_input_tokens" => created.ephemeral_5m_input_tokens = walk.count(5)?,
                b"ephemeral_1h_input_tokens" => created.ephemeral_1h_input_tokens = walk.count(6)?,
                _ => walk.skip(1)?,
            }
            Some(())
        })?;
        Some(Some(created))
    }

    fn server_tools(&mut self) -> Option<Option<WireServerTools>> {
        self.once(7)?;
        if self.first()? == b'n' {
            return self.literal(b"null").map(|()| None);
        }
        let mut tools = WireServerTools::default();
        self.object(|walk, key| {
            match key {
                b"web_search_requests" => tools.web_search_requests = walk.count(8)?,
                _ => walk.skip(1)?,
            }
            Some(())
        })?;
        Some(Some(tools))
    }

    fn skip(&mut self, depth: u8) -> Option<()> {
        match self.first()? {
            b'"' => self.text().map(|_| ()),
            b't' => self.literal(b"true"),
            b'f' => self.literal(b"false"),
            b'n' => self.literal(b"null"),
            b'{' if depth < DEPTH_MAX => self.object(|walk, _| walk.skip(depth + 1)),
            _ => self.number().map(|_| ()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn slowly(raw: &[u8]) -> Option<String> {
        simd_json::serde::from_slice::<WireUsage>(&mut raw.to_vec()).ok().map(|usage| format!("{usage:?}"))
    }

    #[test]
    fn the_usage_of_a_usual_answer_needs_the_parser_of_all_json() {
        let usual =
            br#"{"input_tokens":3,"cache_creation_input_tokens":0,"cache_read_input_tokens":2048,"cache_creation":
            {"ephemeral_5m_input_tokens":0,"ephemeral_1h_input_tokens":7},"output_tokens":503,"service_tier":"standard",
            "inference_geo":"not_available","server_tool_use":{"web_search_requests":0,"web_fetch_requests":1},
            "output_tokens_details":{"thinking_tokens":0},"iterations":null,"speed":null}"#;
        let quickly = quick(usual).map(|usage| format!("{usage:?}"));
        assert!(quickly.is_some());
        assert_eq!(quickly, slowly(usual));
    }

    fn value() -> impl Strategy<Value = String> {
        prop_oneof![
            any::<u64>().prop_map(|n| n.to_string()),
            (0_u64..5000).prop_map(|n| n.to_string()),
            Just("null".to_owned()),
            Just("true".to_owned()),
            Just("-1".to_owned()),
            Just("01".to_owned()),
            Just("1.5".to_owned()),
            Just("1e3".to_owned()),
            Just("[]".to_owned()),
            Just("{}".to_owned()),
            Just("\"fast\"".to_owned()),
            Just("\"batch\"".to_owned()),
            Just("\"us\"".to_owned()),
            Just("\"a word of more than sixteen bytes\"".to_owned()),
            Just("9999999999999999999".to_owned()),
            Just("999999999999999999".to_owned()),
            Just("\"b\\u0061tch\"".to_owned()),
            Just("\"\u{e9}\"".to_owned()),
            Just("{\"ephemeral_1h_input_tokens\":4, \"web_search_requests\" : 2}".to_owned()),
            Just("{\"ephemeral_5m_input_tokens\":1,\"ephemeral_5m_input_tokens\":2}".to_owned()),
        ]
    }

    fn member() -> impl Strategy<Value = String> {
        let key = prop_oneof![
            Just("input_tokens"),
            Just("output_tokens"),
            Just("cache_read_input_tokens"),
            Just("cache_creation_input_tokens"),
            Just("cache_creation"),
            Just("server_tool_use"),
            Just("service_tier"),
            Just("inference_geo"),
            Just("speed"),
            Just("iterations"),
            Just("fallback_credit"),
            Just("else"),
        ];
        let between = prop_oneof![Just(":"), Just(" : "), Just("\n:\t"), Just(" ")];
        (key, between, value()).prop_map(|(key, between, value)| format!("\"{key}\"{between}{value}"))
    }

    proptest! {
        #[test]
        fn an_object_read_quickly_says_otherwise_than_the_parser_of_all_json(
            members in proptest::collection::vec(member(), 0..6),
            (open, comma, close) in (prop_oneof![Just("{"), Just(" {\n")], prop_oneof![Just(","), Just(" , ")],
                prop_oneof![Just("}"), Just("}\n"), Just(""), Just("}}"), Just(",}")]),
        ) {
            let raw = format!("{open}{}{close}", members.join(comma));
            if let Some(usage) = quick(raw.as_bytes()) {
                prop_assert_eq!(Some(format!("{usage:?}")), slowly(raw.as_bytes()), "{}", raw);
            }
        }
    }
}
