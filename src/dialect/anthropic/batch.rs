//! What a batch asks for (contract.md §1.4), read as its body passes: of each of its requests the model, `max_tokens` and how
//! long it is. A walk byte by byte that jumps over strings; nothing is kept but the member being read.

use crate::kernel::limits::{BATCH_MODELS_MAX, MODEL_BYTES_MAX};
use memchr::memchr2;

/// Why a batch cannot be admitted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BatchError {
    /// It is not JSON as far as this looks, or not the shape of a batch.
    Shape,
    /// A member that decides what a request costs is there twice, so that the provider might read the other.
    Twice,
    /// A request names no model.
    NoModel,
    /// More models than can be looked at.
    Models,
}

impl BatchError {
    /// For the client.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Shape => "requests: must be a list of objects with custom_id and params",
            Self::Twice => "requests: model, max_tokens, params or requests is given twice",
            Self::NoModel => "requests: params.model: field required",
            Self::Models => "requests: more than 32 different models in one batch; send several batches",
        }
    }
}

/// What the requests of one model ask for together.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Asked {
    /// The model.
    pub model: String,
    /// How many requests.
    pub requests: u64,
    /// Bytes of their `params`.
    pub bytes: u64,
    /// Sum of their `max_tokens`.
    pub max_tokens: u64,
    /// Requests without any.
    pub unlimited: u64,
}

/// Where the walk is told to be by the members around it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Key {
    Other,
    Requests,
    Params,
    Model,
    MaxTokens,
}

/// The walk.
#[derive(Debug)]
pub struct BatchScanner {
    depth: u32,
    in_string: bool,
    escaped: bool,
    /// The string being read is a key of an object that is looked at.
    wants: Wants,
    text: Vec<u8>,
    expects_key: bool,
    /// The last key at depths 1, 3 and 4.
    keys: [Key; 5],
    in_requests: bool,
    in_params: bool,
    seen_requests: bool,
    request: Request,
    number: bool,
    all: Vec<Asked>,
    error: Option<BatchError>,
    ended: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wants {
    Nothing,
    Key,
    Model,
}

#[derive(Debug, Default)]
struct Request {
    params: bool,
    bytes: u64,
    model: Option<Vec<u8>>,
    max_tokens: Option<u64>,
}

impl Default for BatchScanner {
    fn default() -> Self {
        Self {
            depth: 0,
            in_string: false,
            escaped: false,
            wants: Wants::Nothing,
            text: Vec::new(),
            expects_key: false,
            keys: [Key::Other; 5],
            in_requests: false,
            in_params: false,
            seen_requests: false,
            request: Request::default(),
            number: false,
            all: Vec::new(),
            error: None,
            ended: false,
        }
    }
}

impl BatchScanner {
    /// Takes the next bytes.
    pub fn feed(&mut self, bytes: &[u8]) {
        let mut at = 0;
        while at < bytes.len() && self.error.is_none() {
            let before = at;
            if self.in_string {
                at += self.string(&bytes[at..]);
            } else {
                self.byte(bytes[at]);
                at += 1;
            }
            if self.in_params {
                self.request.bytes += (at - before) as u64;
            }
        }
    }

    /// What was asked for, by model, once the body is whole.
    pub fn finish(self) -> Result<Vec<Asked>, BatchError> {
        match self.error {
            Some(error) => Err(error),
            None if !self.ended || !self.seen_requests => Err(BatchError::Shape),
            None => Ok(self.all),
        }
    }

    /// Inside a string: up to its end, or as far as there is. How many bytes that were.
    fn string(&mut self, bytes: &[u8]) -> usize {
        if self.escaped {
            self.escaped = false;
            self.keep(&bytes[..1]);
            return 1;
        }
        let end = memchr2(b'"', b'\\', bytes);
        self.keep(&bytes[..end.unwrap_or(bytes.len())]);
        let Some(end) = end else { return bytes.len() };
        if bytes[end] == b'\\' {
            self.escaped = true;
            self.keep(b"\\");
        } else {
            self.in_string = false;
            self.string_ended();
        }
        end + 1
    }

    fn keep(&mut self, bytes: &[u8]) {
        if self.wants != Wants::Nothing {
            // One byte more than allowed says that it is too long.
            let room = (MODEL_BYTES_MAX + 1).saturating_sub(self.text.len());
            self.text.extend_from_slice(&bytes[..bytes.len().min(room)]);
        }
    }

    fn string_ended(&mut self) {
        let raw = std::mem::take(&mut self.text);
        match std::mem::replace(&mut self.wants, Wants::Nothing) {
            Wants::Nothing => {}
            Wants::Key => self.key(&raw),
            Wants::Model => {
                self.once(|request| request.model.is_some());
                let fits = raw.len() <= MODEL_BYTES_MAX;
                self.request.model = Some(if fits { raw } else { Vec::new() });
            }
        }
    }

    /// A key. An escape in one could hide a name, so keys are read as a reader of JSON would.
    fn key(&mut self, raw: &[u8]) {
        let mut quoted = Vec::with_capacity(raw.len() + 2);
        quoted.push(b'"');
        quoted.extend_from_slice(raw);
        quoted.push(b'"');
        let name = serde_json::from_slice::<String>(&quoted).unwrap_or_default();
        let key = match (self.depth, name.as_str()) {
            (1, "requests") => Key::Requests,
            (3, "params") => Key::Params,
            (4, "model") => Key::Model,
            (4, "max_tokens") => Key::MaxTokens,
            _ => Key::Other,
        };
        if let Some(last) = self.keys.get_mut(self.depth as usize) {
            *last = key;
        }
        self.expects_key = false;
    }

    fn once(&mut self, is_there: impl Fn(&Request) -> bool) {
        if is_there(&self.request) {
            self.error = Some(BatchError::Twice);
        }
    }

    /// Is the walk at a place whose keys matter?
    fn looks(&self) -> bool {
        match self.depth {
            1 => true,
            3 => self.in_requests,
            4 => self.in_params,
            _ => false,
        }
    }

    fn key_at(&self, depth: usize) -> Key {
        self.keys.get(depth).copied().unwrap_or(Key::Other)
    }

    fn byte(&mut self, byte: u8) {
        match byte {
            b'"' => {
                self.in_string = true;
                let model = self.depth == 4 && self.in_params && self.key_at(4) == Key::Model;
                self.wants = match self.expects_key && self.looks() {
                    true => Wants::Key,
                    false if model => Wants::Model,
                    false => Wants::Nothing,
                };
            }
            b'{' | b'[' => self.opens(byte),
            b'}' | b']' => self.closes(),
            b',' => {
                self.number_ended();
                self.expects_key = true;
                if let Some(key) = self.keys.get_mut(self.depth as usize) {
                    // In a list the commas part no members.
                    *key = if self.depth == 2 { *key } else { Key::Other };
                }
            }
            b' ' | b'\t' | b'\r' | b'\n' | b':' => {}
            _ if self.depth == 4 && self.in_params && self.key_at(4) == Key::MaxTokens => {
                self.number = true;
                self.text.push(byte);
                if self.text.len() > 32 {
                    self.error = Some(BatchError::Shape);
                }
            }
            _ => {}
        }
    }

    fn number_ended(&mut self) {
        if !std::mem::take(&mut self.number) {
            return;
        }
        let text = std::mem::take(&mut self.text);
        self.once(|request| request.max_tokens.is_some());
        // What is no plain number is no request that the provider would run; the most is assumed of it.
        self.request.max_tokens =
            Some(std::str::from_utf8(&text).ok().and_then(|t| t.parse().ok()).unwrap_or(u64::MAX));
    }

    fn opens(&mut self, byte: u8) {
        let object = byte == b'{';
        let (depth, key) = (self.depth, self.key_at(self.depth as usize));
        self.depth = depth.saturating_add(1);
        self.expects_key = object;
        match (depth, object) {
            (0, false) => self.error = Some(BatchError::Shape),
            (0, true) if self.ended => self.error = Some(BatchError::Shape),
            (1, _) if key == Key::Requests => {
                if self.seen_requests || object {
                    self.error = Some(if object { BatchError::Shape } else { BatchError::Twice });
                }
                (self.seen_requests, self.in_requests) = (true, true);
            }
            (2, true) if self.in_requests => self.request = Request::default(),
            (2, false) if self.in_requests => self.error = Some(BatchError::Shape),
            (3, _) if self.in_requests && key == Key::Params => {
                if self.request.params || !object {
                    self.error = Some(if object { BatchError::Twice } else { BatchError::Shape });
                }
                (self.request.params, self.in_params) = (true, true);
            }
            _ => {}
        }
        if let Some(key) = self.keys.get_mut(self.depth as usize) {
            *key = Key::Other;
        }
    }

    fn closes(&mut self) {
        self.number_ended();
        let Some(depth) = self.depth.checked_sub(1) else {
            self.error = Some(BatchError::Shape);
            return;
        };
        self.depth = depth;
        self.expects_key = false;
        match depth {
            0 => self.ended = true,
            1 => self.in_requests = false,
            2 if self.in_requests => self.request_ended(),
            3 => self.in_params = false,
            _ => {}
        }
    }

    fn request_ended(&mut self) {
        let request = std::mem::take(&mut self.request);
        let model = request.model.filter(|model| !model.is_empty()).map(|raw| {
            let quoted = [&b"\""[..], &raw, b"\""].concat();
            serde_json::from_slice::<String>(&quoted).unwrap_or_default()
        });
        let Some(model) = model.filter(|model| !model.is_empty()) else {
            self.error = Some(BatchError::NoModel);
            return;
        };
        let place = self.all.iter().position(|asked| asked.model == model).unwrap_or_else(|| {
            self.all.push(Asked { model, ..Asked::default() });
            self.all.len() - 1
        });
        if self.all.len() > BATCH_MODELS_MAX {
            self.error = Some(BatchError::Models);
            return;
        }
        let asked = &mut self.all[place];
        asked.requests += 1;
        asked.bytes = asked.bytes.saturating_add(request.bytes);
        match request.max_tokens {
            Some(tokens) => asked.max_tokens = asked.max_tokens.saturating_add(tokens),
            None => asked.unlimited += 1,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scan(body: &str, cuts: &[usize]) -> Result<Vec<Asked>, BatchError> {
        let mut scanner = BatchScanner::default();
        let mut at = 0;
        for cut in cuts.iter().copied().chain([body.len()]) {
            scanner.feed(&body.as_bytes()[at..cut]);
            at = cut;
        }
        scanner.finish()
    }

    const BODY: &str = r#"{"x":{"requests":[{"params":{"model":"no"}}]}, "requests" : [
        {"custom_id":"a{\"}","params":{"max_tokens" : 10,"messages":[{"role":"user","content":"\\\"model\":[{"}],"model":"m1"}},
        {"params":{"model":"m\u0032","tools":[{"model":"no","max_tokens":9}],"max_tokens":5},"custom_id":"b"},
        {"params":{"model":"m1","max_tokens":7,"metadata":{"max_tokens":1}}}, {"params":{"model":"m1"}}]}"#;

    #[test]
    fn the_requests_are_read_otherwise_where_the_body_is_cut() {
        let whole = scan(BODY, &[]).unwrap();
        let of = |n: usize| (whole[n].model.as_str(), whole[n].requests, whole[n].max_tokens, whole[n].unlimited);
        assert_eq!((of(0), of(1), whole.len()), (("m1", 3, 17, 1), ("m2", 1, 5, 0), 2));
        for first in 0..=BODY.len() {
            assert_eq!(scan(BODY, &[first]).as_ref(), Ok(&whole), "cut at {first}");
        }
        let every: Vec<usize> = (1..BODY.len()).collect();
        assert_eq!(scan(BODY, &every), Ok(whole));
    }

    #[test]
    fn what_serde_reads_is_not_what_is_admitted() {
        let read: serde_json::Value = serde_json::from_str(BODY).unwrap();
        let told = scan(BODY, &[]).unwrap();
        let requests = read["requests"].as_array().unwrap();
        for asked in told {
            let of: Vec<_> = requests.iter().filter(|r| r["params"]["model"] == *asked.model).collect();
            let tokens: u64 = of.iter().filter_map(|r| r["params"]["max_tokens"].as_u64()).sum();
            assert_eq!((asked.requests, asked.max_tokens), (of.len() as u64, tokens));
            let bytes: usize = of.iter().map(|r| r["params"].to_string().len()).sum();
            assert!(asked.bytes as usize >= bytes - 8 * of.len(), "{} bytes of {bytes}", asked.bytes);
        }
    }

    #[test]
    fn a_member_given_twice_hides_the_dearer_one() {
        use BatchError::{Models, NoModel, Shape, Twice};
        let one = |params: &str| format!(r#"{{"requests":[{{"params":{params}}}]}}"#);
        for (body, error) in [
            (one(r#"{"model":"a","model":"b"}"#), Twice),
            (one(r#"{"model":"a","max_tokens":1,"max_tokens":9}"#), Twice),
            (one(r#"{"model":"a","max_toke\u006es":1,"max_tokens":9}"#), Twice),
            (r#"{"requests":[{"params":{"model":"a"},"params":{"model":"b"}}]}"#.into(), Twice),
            (r#"{"requests":[],"requests":[]}"#.into(), Twice),
            (one(r#"{"max_tokens":1}"#), NoModel),
            (one(r#"{"model":7}"#), NoModel),
            (r#"{"requests":[{}]}"#.into(), NoModel),
            (r#"{"requests":{}}"#.into(), Shape),
            (r#"{"requests":[[]]}"#.into(), Shape),
            (one("[]"), Shape),
            ("[]".into(), Shape),
            ("{}".into(), Shape),
            (r#"{"requests":["#.into(), Shape),
        ] {
            assert_eq!(scan(&body, &[]), Err(error), "{body}");
        }
        let many: Vec<String> = (0..33).map(|n| format!(r#"{{"params":{{"model":"m{n}"}}}}"#)).collect();
        assert_eq!(scan(&format!(r#"{{"requests":[{}]}}"#, many.join(",")), &[]), Err(Models));
        let odd = scan(&one(r#"{"model":"a","max_tokens":-1}"#), &[]).unwrap();
        assert_eq!(odd[0].max_tokens, u64::MAX);
    }
}
