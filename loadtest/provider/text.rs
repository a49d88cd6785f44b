//! Deterministic prose for answers, already escaped for JSON.

/// Bytes of prose before it repeats.
const CORPUS_BYTES: usize = 16 << 10;

/// Escapes, multi-byte characters and things that look like framing; what follows it is plain ASCII words.
pub(super) const SPICE: &str = r#"na\u00efve caf\u00e9 \"quoted\"\n\ndata: {}\tünïcödé 日本 🙂 </s> "#;

const WORDS: [&str; 24] = [
    "weir ",
    "river ",
    "measure ",
    "stream ",
    "function ",
    "return ",
    "the ",
    "of ",
    "and ",
    "error ",
    "branch ",
    "commit ",
    "because ",
    "therefore ",
    "test ",
    "fails ",
    "line ",
    "42 ",
    "cache ",
    "token ",
    "budget, ",
    "answer. ",
    "model ",
    "request ",
];

/// Plain prose that may be cut anywhere.
#[derive(Debug)]
pub(super) struct Corpus(Vec<u8>);

impl Corpus {
    pub(super) fn new(seed: u64) -> Corpus {
        let mut random = fastrand::Rng::with_seed(seed ^ 0x7765_6972);
        let mut bytes = Vec::with_capacity(CORPUS_BYTES + 16);
        while bytes.len() < CORPUS_BYTES {
            bytes.extend_from_slice(WORDS[random.usize(..WORDS.len())].as_bytes());
        }
        Corpus(bytes)
    }

    /// Appends `bytes` of prose, starting anywhere in it.
    pub(super) fn append(&self, out: &mut Vec<u8>, start: usize, bytes: usize) {
        let mut at = start % self.0.len();
        let mut rest = bytes;
        while rest > 0 {
            let part = rest.min(self.0.len() - at);
            out.extend_from_slice(&self.0[at..at + part]);
            rest -= part;
            at = 0;
        }
    }

    /// Appends exactly `bytes`, beginning with a mark and, if there is room, with [`SPICE`].
    pub(super) fn append_marked(&self, out: &mut Vec<u8>, mark: u64, bytes: usize) {
        let end = out.len() + bytes;
        let head = format!("{mark:016x} ");
        out.extend_from_slice(&head.as_bytes()[..head.len().min(bytes)]);
        if end - out.len() >= SPICE.len() {
            out.extend_from_slice(SPICE.as_bytes());
        }
        self.append(out, mark as usize, end - out.len());
    }
}
