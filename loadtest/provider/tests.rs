//! Every answer and every fault, seen by a raw TCP client.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use super::*;

mod answers;
mod faults;

const DEADLINE: Duration = Duration::from_secs(20);

/// A response read to its end.
#[derive(Debug)]
struct Response {
    status: u16,
    /// Head lines, lower-cased, of the final head.
    head: String,
    /// Status of an informational head before it.
    informational: Option<u16>,
    /// Body with chunk framing removed.
    body: Vec<u8>,
    /// Sizes of the chunks, when chunked.
    chunks: Vec<usize>,
    trailers: String,
    end: End,
}

/// How the body ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    /// As its framing promised.
    Whole,
    /// FIN before that.
    Fin,
    /// RST before that.
    Reset,
    /// Neither, for as long as the client cared to wait.
    Silence,
}

struct Client {
    stream: TcpStream,
    buffer: Vec<u8>,
}

impl Client {
    fn connect(provider: &ProviderHandle) -> Client {
        let stream = TcpStream::connect(provider.addr()).unwrap();
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        stream.set_nodelay(true).unwrap();
        Client { stream, buffer: Vec::new() }
    }

    fn send(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).unwrap();
    }

    fn post(&mut self, headers: &str, body: &str) {
        let request = format!(
            "POST /v1/messages HTTP/1.1\r\nHost: sim\r\nanthropic-version: 2023-06-01\r\n{headers}Content-Length: {}\r\n\r\n{body}",
            body.len()
        );
        self.send(request.as_bytes());
    }

    /// Reads more; the end of the stream as what it was.
    fn fill(&mut self) -> Result<(), End> {
        let mut part = [0; 64 << 10];
        match self.stream.read(&mut part) {
            Ok(0) => Err(End::Fin),
            Ok(read) => {
                self.buffer.extend_from_slice(&part[..read]);
                Ok(())
            }
            Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => Err(End::Reset),
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => Err(End::Silence),
            Err(error) => panic!("{error}"),
        }
    }

    fn until(&mut self, mark: &[u8]) -> Result<Vec<u8>, End> {
        loop {
            if let Some(at) = memchr::memmem::find(&self.buffer, mark) {
                return Ok(self.buffer.drain(..at + mark.len()).collect());
            }
            self.fill()?;
        }
    }

    fn exactly(&mut self, bytes: usize) -> Result<Vec<u8>, End> {
        while self.buffer.len() < bytes {
            self.fill()?;
        }
        Ok(self.buffer.drain(..bytes).collect())
    }

    fn head(&mut self) -> Result<(u16, String), End> {
        let head = String::from_utf8(self.until(b"\r\n\r\n")?).unwrap().to_ascii_lowercase();
        Ok((head[9..12].parse().unwrap(), head))
    }

    /// The next response, or how the connection ended before its head.
    fn response(&mut self) -> Result<Response, End> {
        let (mut status, mut head) = self.head()?;
        let mut informational = None;
        if (101..200).contains(&status) {
            informational = Some(status);
            (status, head) = self.head()?;
        }
        let mut response = Response {
            status,
            head,
            informational,
            body: Vec::new(),
            chunks: Vec::new(),
            trailers: String::new(),
            end: End::Whole,
        };
        if let Err(end) = self.body(&mut response) {
            response.end = end;
            response.body.append(&mut self.buffer);
        }
        Ok(response)
    }

    fn body(&mut self, response: &mut Response) -> Result<(), End> {
        if let Some(length) = response.header("content-length") {
            response.body = self.exactly(length.parse().unwrap())?;
        } else if response.header("transfer-encoding").is_some() {
            loop {
                let line = String::from_utf8(self.until(b"\r\n")?).unwrap();
                let size = usize::from_str_radix(line.trim_end().split(';').next().unwrap(), 16).unwrap();
                if size == 0 {
                    break;
                }
                response.body.extend(self.exactly(size)?);
                response.chunks.push(size);
                assert_eq!(self.exactly(2)?, b"\r\n");
            }
            loop {
                let line = String::from_utf8(self.until(b"\r\n")?).unwrap();
                if line == "\r\n" {
                    break;
                }
                response.trailers.push_str(&line);
            }
        } else {
            loop {
                self.fill()?;
            }
        }
        Ok(())
    }
}

impl Response {
    fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).map(str::trim)
    }

    fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|e| panic!("{e}: {}", String::from_utf8_lossy(&self.body)))
    }

    /// Event names in order; a comment is `:`, an event without a name is empty.
    fn events(&self) -> Vec<String> {
        let text = String::from_utf8(self.body.clone()).unwrap().replace("\r\n", "\n");
        let name = |frame: &str| match frame.lines().next() {
            Some(line) if line.starts_with(':') => ":".to_owned(),
            Some(line) => line.strip_prefix("event: ").unwrap_or_default().to_owned(),
            None => String::new(),
        };
        text.split_terminator("\n\n").map(name).collect()
    }

    /// The data of all events of one name.
    fn data(&self, name: &str) -> Vec<serde_json::Value> {
        let text = String::from_utf8(self.body.clone()).unwrap().replace("\r\n", "\n");
        let prefix = format!("event: {name}\ndata: ");
        text.split("\n\n")
            .filter_map(|frame| frame.strip_prefix(&prefix))
            .map(|d| serde_json::from_str(d).unwrap())
            .collect()
    }
}

fn provider() -> ProviderHandle {
    start(ProviderOptions::default()).unwrap()
}

fn body(stream: bool) -> String {
    format!(
        r#"{{"model":"claude-sonnet-4-6","max_tokens":4096,"stream":{stream},"tools":[{{"name":"bash"}}],"messages":[{{"role":"user","content":"hello"}}]}}"#
    )
}

/// One exchange on a connection of its own.
fn ask(provider: &ProviderHandle, script: &str, stream: bool) -> Response {
    let mut client = Client::connect(provider);
    client.post(&format!("anthropic-sim: {script}\r\n"), &body(stream));
    client.response().unwrap()
}

fn ended(provider: &ProviderHandle, requests: u64) -> Books {
    provider.books_when(DEADLINE, |totals| totals.requests >= requests).expect("exchange is not in the books")
}
