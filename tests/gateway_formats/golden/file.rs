//! The golden files: a head of lines, an empty line, a body. Streams of frames stand as text, one frame a line, in what an
//! upstream sends; what a client of Bedrock reads is there as it is.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};

use base64::{Engine, engine::general_purpose::STANDARD};
use weir::dialect::bridge::Edit;

pub const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/bridges");
/// With this set to `1`, what is found is written instead of compared.
const WRITE: &str = "WEIR_GOLDEN_WRITE";

/// One message, as a file has it.
#[derive(Clone, Debug)]
pub struct Golden {
    pub feature: String,
    pub head: Vec<String>,
    pub body: Vec<u8>,
}

fn parse(feature: &str, bytes: &[u8]) -> Golden {
    let end = bytes.windows(2).position(|two| two == b"\n\n").unwrap_or_else(|| panic!("{feature} has no body"));
    let head = String::from_utf8(bytes[..end].to_vec()).expect("a head in UTF-8");
    Golden {
        feature: feature.to_owned(),
        head: head.lines().map(str::to_owned).collect(),
        body: bytes[end + 2..].to_vec(),
    }
}

fn open(path: &Path, feature: &str) -> Golden {
    let bytes = fs::read(path).unwrap_or_else(|error| panic!("{}: {error}; {WRITE}=1 writes it", path.display()));
    parse(feature, &bytes)
}

/// A file of those that are the source of the others.
pub fn read(format: &str, file: &str) -> Golden {
    let (feature, _) = file.rsplit_once('.').expect("a kind");
    open(&Path::new(ROOT).join("from").join(format).join(file), feature)
}

/// All of a format and kind, in the order of their names.
pub fn read_all(format: &str, kind: &str) -> Vec<Golden> {
    let folder = fs::read_dir(Path::new(ROOT).join("from").join(format)).expect("the folder of the format");
    let names = folder.map(|entry| entry.expect("an entry").file_name().into_string().expect("a name"));
    let mut names: Vec<String> = names.filter(|name| name.ends_with(&format!(".{kind}"))).collect();
    names.sort();
    names.iter().map(|name| read(format, name)).collect()
}

fn path_of(folder: &str, feature: &str, kind: &str) -> PathBuf {
    Path::new(ROOT).join(folder).join(format!("{feature}.{kind}"))
}

/// What has to come out.
pub fn expected(folder: &str, feature: &str, kind: &str) -> Golden {
    open(&path_of(folder, feature, kind), feature)
}

impl Golden {
    pub fn for_model(&self, model: &str) -> Golden {
        let head = self.head.iter().map(|line| line.replace("{MODEL}", model)).collect();
        let text = String::from_utf8(self.body.clone()).expect("requests are UTF-8");
        Golden { feature: self.feature.clone(), head, body: text.replace("{MODEL}", model).into_bytes() }
    }

    /// A request's path and headers.
    pub fn asked(&self) -> (&str, Vec<(&str, &str)>) {
        let path = self.head[0].strip_prefix("POST ").expect("a request line");
        (path, self.headers().collect())
    }

    fn headers(&self) -> impl Iterator<Item = (&str, &str)> {
        self.head[1..].iter().map(|line| line.split_once(": ").expect("a header"))
    }

    fn header(&self, name: &str) -> Option<&str> {
        self.headers().find(|(known, _)| *known == name).map(|(_, value)| value)
    }

    fn content_type(&self) -> &str {
        self.header("content-type").unwrap_or_default()
    }

    pub fn is_stream(&self) -> bool {
        self.content_type().contains("stream")
    }

    /// The upstream goes away in the middle of it.
    pub fn ends_early(&self) -> bool {
        self.header("golden-ends") == Some("early")
    }

    /// An answer's body as the upstream sends it.
    pub fn payload(&self) -> Vec<u8> {
        match self.content_type() {
            "application/vnd.amazon.eventstream" => {
                std::str::from_utf8(&self.body).expect("frames as text").lines().flat_map(frame).collect()
            }
            _ => self.body.clone(),
        }
    }

    /// An answer as the upstream sends it.
    pub fn on_the_wire(&self) -> Vec<u8> {
        let status = self.head[0].strip_prefix("HTTP/1.1 ").and_then(|status| status.parse().ok()).expect("a status");
        let headers: Vec<_> = self.headers().filter(|(name, _)| *name != "golden-ends").collect();
        let mut bytes = wire(status, &headers, &self.payload(), self.is_stream());
        if self.ends_early() {
            bytes.truncate(bytes.len() - b"0\r\n\r\n".len());
        }
        bytes
    }
}

/// An answer of HTTP.
pub fn wire(status: u16, headers: &[(&str, &str)], body: &[u8], chunked: bool) -> Vec<u8> {
    let mut out = format!("HTTP/1.1 {status} Golden\r\n").into_bytes();
    for (name, value) in headers {
        out.extend(format!("{name}: {value}\r\n").bytes());
    }
    if !chunked {
        out.extend(format!("content-length: {}\r\n\r\n", body.len()).bytes());
        out.extend(body);
        return out;
    }
    out.extend(format!("transfer-encoding: chunked\r\n\r\n{:x}\r\n", body.len()).bytes());
    out.extend(body);
    out.extend(b"\r\n0\r\n\r\n");
    out
}

/// One line as a frame: `chunk EVENT`, `exception NAME PAYLOAD` or `error CODE MESSAGE`. Written out by hand, so that weir's own codec
/// is not its own witness.
fn frame(line: &str) -> Vec<u8> {
    let (kind, rest) = line.split_once(' ').expect("a kind");
    let two = || rest.split_once(' ').expect("a name");
    let json = (":content-type", "application/json");
    match kind {
        "chunk" => {
            let padding = &"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"[..rest.len() % 62];
            let payload = format!(r#"{{"bytes":"{}","p":"{padding}"}}"#, STANDARD.encode(rest));
            encoded(&[(":event-type", "chunk"), json, (":message-type", "event")], payload.as_bytes())
        }
        "exception" => {
            let (name, payload) = two();
            encoded(&[(":exception-type", name), json, (":message-type", "exception")], payload.as_bytes())
        }
        "error" => {
            let (code, message) = two();
            encoded(&[(":error-code", code), (":error-message", message), (":message-type", "error")], b"")
        }
        other => panic!("{other} is no kind of frame"),
    }
}

fn encoded(headers: &[(&str, &str)], payload: &[u8]) -> Vec<u8> {
    let mut lines = Vec::new();
    for (name, value) in headers {
        lines.push(name.len() as u8);
        lines.extend(name.bytes());
        lines.push(7);
        lines.extend((value.len() as u16).to_be_bytes());
        lines.extend(value.bytes());
    }
    let mut out = Vec::new();
    out.extend(((lines.len() + payload.len() + 16) as u32).to_be_bytes());
    out.extend((lines.len() as u32).to_be_bytes());
    out.extend(crc32fast::hash(&out).to_be_bytes());
    out.extend(lines);
    out.extend(payload);
    out.extend(crc32fast::hash(&out).to_be_bytes());
    out
}

/// A body with its edits.
pub fn edited(body: &[u8], edits: &[Edit]) -> Vec<u8> {
    let mut out = Vec::new();
    let mut at = 0;
    for edit in edits {
        out.extend(&body[at..edit.from as usize]);
        out.extend(&edit.text);
        at = edit.to as usize;
    }
    out.extend(&body[at..]);
    out
}

/// What differs from the files, or was written to them.
#[derive(Default)]
pub struct Differences(Vec<String>);

impl Differences {
    pub fn settle(&mut self, folder: &str, feature: &str, kind: &str, found: &[u8]) {
        let path = path_of(folder, feature, kind);
        let writes = env::var(WRITE).is_ok_and(|value| value == "1");
        if fs::read(&path).is_ok_and(|known| known == found) {
            return;
        }
        if writes {
            assert!(env::var_os("CI").is_none(), "{WRITE} is for a person who reads what it changes, not for CI");
            fs::create_dir_all(path.parent().expect("a folder")).expect("the folder is made");
            fs::write(&path, found).expect("the file is written");
        }
        let known = fs::read(&path).unwrap_or_default();
        self.0.push(format!(
            "{folder}/{feature}.{kind}{}\n  expected {:?}\n  found    {:?}",
            if writes { " (written)" } else { "" },
            String::from_utf8_lossy(&known),
            String::from_utf8_lossy(found),
        ));
    }

    /// A run that wrote fails too: it has shown nothing.
    pub fn assert_none(&self) {
        assert!(self.0.is_empty(), "{} golden files differ\n{}", self.0.len(), self.0.join("\n"));
    }
}

/// Messages as files have them, without what differs from run to run.
pub mod plain {
    use crate::support::PROVIDER_KEY;
    use crate::support::http::Response;

    /// What the upstream got, and below its head what the client was told to be left out.
    pub fn request(bytes: &[u8], upstream: &str, dropped: Option<&str>) -> Vec<u8> {
        let end = bytes.windows(4).position(|four| four == b"\r\n\r\n").expect("a head") + 4;
        let head = String::from_utf8(bytes[..end].to_vec()).expect("a head in UTF-8");
        let head = head.replace("\r\n", "\n").replace(upstream, "UPSTREAM").replace(PROVIDER_KEY, "PROVIDER_KEY");
        let dropped = dropped.map(|names| format!("(the client reads x-weir-dropped: {names})\n")).unwrap_or_default();
        [head.trim_end_matches('\n').as_bytes(), b"\n", dropped.as_bytes(), b"\n", &bytes[end..]].concat()
    }

    pub fn answer(answer: &Response) -> Vec<u8> {
        let mut head = format!("HTTP/1.1 {}\n", answer.status);
        for (name, value) in &answer.headers {
            let value = if name == "x-amzn-requestid" { "UUID" } else { value };
            head.push_str(&format!("{name}: {value}\n"));
        }
        head.push('\n');
        let body = match std::str::from_utf8(&answer.body) {
            Ok(text) => ids(text).into_bytes(),
            Err(_) => answer.body.clone(),
        };
        [ids(&head).into_bytes(), body].concat()
    }

    /// The gateway's own ids are all the same here.
    fn ids(text: &str) -> String {
        let mut out = String::new();
        let mut rest = text;
        while let Some(at) = rest.find("req_") {
            let (front, back) = rest.split_at(at + "req_".len());
            out.push_str(front);
            let digits = back.bytes().take_while(u8::is_ascii_hexdigit).count();
            rest = if digits == 32 {
                out.push_str("ID");
                &back[32..]
            } else {
                back
            };
        }
        out + rest
    }
}
