//! An HTTP proxy that makes tunnels, or does not.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

/// What it does when it is asked for a tunnel.
#[derive(Clone)]
pub enum Does {
    /// Makes it, for whoever shows this in `proxy-authorization` (empty: for everybody).
    Tunnels(&'static str),
    /// Says these bytes and closes.
    Says(&'static [u8]),
    /// Says nothing.
    IsSilent,
}

/// What has happened so far.
#[derive(Default)]
struct Seen {
    /// Where tunnels were asked for.
    asked: Vec<String>,
    open: Vec<TcpStream>,
    left: usize,
    dead: bool,
}

/// A running proxy.
pub struct Proxy {
    pub addr: SocketAddr,
    seen: Arc<Mutex<Seen>>,
}

impl Proxy {
    pub fn start(does: Does) -> Proxy {
        Proxy::start_at("127.0.0.1:0".parse().expect("an address"), does)
    }

    pub fn start_at(addr: SocketAddr, does: Does) -> Proxy {
        let listener = TcpListener::bind(addr).expect("a port");
        let addr = listener.local_addr().expect("an address");
        let seen = Arc::<Mutex<Seen>>::default();
        let shared = seen.clone();
        thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                let (does, seen) = (does.clone(), shared.clone());
                if seen.lock().expect("no panic").dead {
                    return;
                }
                seen.lock().expect("no panic").open.push(client.try_clone().expect("a socket"));
                thread::spawn(move || {
                    let ends = client.try_clone().expect("a socket");
                    let _ended = serve(client, &does, &seen);
                    let _closed = ends.shutdown(Shutdown::Both);
                    seen.lock().expect("no panic").left += 1;
                });
            }
        });
        Proxy { addr, seen }
    }

    /// Where tunnels were asked for, in order.
    pub fn asked(&self) -> Vec<String> {
        self.seen.lock().expect("no panic").asked.clone()
    }

    /// Connections that have ended.
    pub fn left(&self) -> usize {
        self.seen.lock().expect("no panic").left
    }

    /// Ends every tunnel and listens no more.
    pub fn die(&self) {
        let mut seen = self.seen.lock().expect("no panic");
        seen.dead = true;
        for stream in seen.open.drain(..) {
            let _closed = stream.shutdown(Shutdown::Both);
        }
        drop(seen);
        // Lets the listener notice.
        let _noticed = TcpStream::connect(self.addr);
    }
}

fn serve(client: TcpStream, does: &Does, seen: &Mutex<Seen>) -> std::io::Result<()> {
    let mut reader = BufReader::new(client.try_clone()?);
    let (mut target, mut shown) = (String::new(), String::new());
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line)? == 0 || line == "\r\n" {
            break;
        }
        if let Some(rest) = line.strip_prefix("CONNECT ") {
            target = rest.split(' ').next().unwrap_or_default().to_owned();
            seen.lock().expect("no panic").asked.push(target.clone());
        }
        if let Some(credential) = line.strip_prefix("proxy-authorization: ") {
            shown = credential.trim().to_owned();
        }
    }
    match does {
        Does::IsSilent => reader.read(&mut [0]).map(drop),
        Does::Says(bytes) => (&client).write_all(bytes),
        Does::Tunnels(wanted) if shown != *wanted => {
            (&client).write_all(b"HTTP/1.1 407 Proxy Authentication Required\r\nproxy-authenticate: Basic\r\n\r\n")
        }
        Does::Tunnels(_) => {
            let upstream = TcpStream::connect(&target)?;
            seen.lock().expect("no panic").open.push(upstream.try_clone()?);
            (&client).write_all(b"HTTP/1.1 200 Connection established\r\n\r\n")?;
            let (mut up, mut back) = (upstream.try_clone()?, client.try_clone()?);
            let down = thread::spawn(move || {
                let _ended = std::io::copy(&mut &upstream, &mut back);
                back.shutdown(Shutdown::Write)
            });
            let _ended = std::io::copy(&mut reader, &mut up);
            let _ended = up.shutdown(Shutdown::Write);
            down.join().expect("no panic")
        }
    }
}
