//! An identity provider: key pairs, tokens, and a little server that publishes the keys and counts who asks.

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{SystemTime, UNIX_EPOCH};

use aws_lc_rs::{rand::SystemRandom, signature::Ed25519KeyPair};
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode, jwk::Jwk};
use serde_json::{Value, json};

use crate::support::{DEADLINE, eventually};

/// What it says as `iss`.
pub const ISSUER: &str = "https://idp.example.com";
pub const AUDIENCE: &str = "weir";

/// A key pair of the issuer's, under a name.
pub struct Pair {
    pub kid: &'static str,
    pub algorithm: Algorithm,
    pub private: EncodingKey,
}

impl Pair {
    pub fn rsa(kid: &'static str) -> Self {
        let pem = rcgen::KeyPair::generate_for(&rcgen::PKCS_RSA_SHA256).expect("an RSA key").serialize_pem();
        let private = EncodingKey::from_rsa_pem(pem.as_bytes()).expect("an RSA key");
        Self { kid, algorithm: Algorithm::RS256, private }
    }

    pub fn ec(kid: &'static str) -> Self {
        let key = rcgen::KeyPair::generate().expect("a P-256 key");
        Self { kid, algorithm: Algorithm::ES256, private: EncodingKey::from_ec_der(&key.serialize_der()) }
    }

    pub fn ed(kid: &'static str) -> Self {
        let pkcs8 = Ed25519KeyPair::generate_pkcs8v1(&SystemRandom::new()).expect("an Ed25519 key");
        Self { kid, algorithm: Algorithm::EdDSA, private: EncodingKey::from_ed_der(pkcs8.as_ref()) }
    }

    pub fn public(&self) -> Value {
        let mut jwk = Jwk::from_encoding_key(&self.private, self.algorithm).expect("a public key");
        jwk.common.key_id = Some(self.kid.to_owned());
        serde_json::to_value(jwk).expect("JSON")
    }

    pub fn token(&self, claims: &Value) -> String {
        let header = Header { kid: Some(self.kid.to_owned()), ..Header::new(self.algorithm) };
        encode(&header, claims, &self.private).expect("a token")
    }
}

/// A token with a shared secret.
pub fn shared(secret: &str, claims: &Value) -> String {
    encode(&Header::new(Algorithm::HS256), claims, &EncodingKey::from_secret(secret.as_bytes())).expect("a token")
}

/// Unix seconds.
pub fn now() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs() as i64
}

/// Claims of a user of team `platform` and project `checkout`, good for an hour.
pub fn claims(user: &str) -> Value {
    json!({"iss": ISSUER, "aud": AUDIENCE, "exp": now() + 3600, "iat": now(), "user": user,
        "team": "platform", "project": "checkout"})
}

/// The claims with one replaced, or, by null, removed.
pub fn but(name: &str, value: Value) -> Value {
    let mut claims = claims("alice@example.com");
    match value {
        Value::Null => drop(claims.as_object_mut().expect("claims").remove(name)),
        value => claims[name] = value,
    }
    claims
}

/// What the server says to whoever asks for the keys.
#[derive(Clone)]
enum Says {
    Keys(String),
    Status(u16),
    /// Accepts and says nothing.
    Nothing,
    /// More than anybody should read.
    Endless,
}

/// The server.
pub struct Idp {
    addr: SocketAddr,
    state: Arc<Mutex<State>>,
}

struct State {
    says: Says,
    asked: usize,
    /// Connections that wait for an answer for ever.
    waiting: Vec<TcpStream>,
}

impl Idp {
    /// Publishes these keys from the start.
    pub fn start(pairs: &[&Pair]) -> Idp {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let addr = listener.local_addr().expect("an address");
        let state = Arc::new(Mutex::new(State { says: keys(pairs), asked: 0, waiting: Vec::new() }));
        let shared = state.clone();
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let state = shared.clone();
                thread::spawn(move || answer(stream, &state));
            }
        });
        Idp { addr, state }
    }

    pub fn url(&self) -> String {
        format!("http://{}/keys?tenant=1", self.addr)
    }

    pub fn publish(&self, pairs: &[&Pair]) {
        self.say(keys(pairs));
    }

    pub fn fail(&self, status: u16) {
        self.say(Says::Status(status));
    }

    pub fn hang(&self) {
        self.say(Says::Nothing);
    }

    pub fn flood(&self) {
        self.say(Says::Endless);
    }

    /// How often it was asked.
    pub fn asked(&self) -> usize {
        self.state.lock().expect("no panic while it is held").asked
    }

    /// Waits until it has been asked so often from now on.
    pub fn asked_more(&self, times: usize) {
        let before = self.asked();
        eventually(DEADLINE, &format!("{times} more fetches"), || (self.asked() >= before + times).then_some(()));
    }

    fn say(&self, says: Says) {
        self.state.lock().expect("no panic while it is held").says = says;
    }
}

fn keys(pairs: &[&Pair]) -> Says {
    let keys: Vec<Value> = pairs.iter().map(|pair| pair.public()).collect();
    Says::Keys(json!({ "keys": keys }).to_string())
}

fn answer(mut stream: TcpStream, state: &Mutex<State>) {
    let mut head = String::new();
    let mut lines = BufReader::new(stream.try_clone().expect("a socket"));
    while lines.read_line(&mut head).is_ok_and(|read| read > 2) {}
    let says = {
        let mut state = state.lock().expect("no panic while it is held");
        state.asked += 1;
        if matches!(state.says, Says::Nothing) {
            state.waiting.push(stream.try_clone().expect("a socket"));
        }
        state.says.clone()
    };
    assert!(head.starts_with("GET /keys?tenant=1 HTTP/1.1\r\n"), "{head}");
    let json = "content-type: application/json\r\nconnection: close\r\n";
    let _gone = match says {
        Says::Keys(keys) => write!(stream, "HTTP/1.1 200 OK\r\n{json}content-length: {}\r\n\r\n{keys}", keys.len()),
        Says::Status(status @ 300..400) => {
            write!(
                stream,
                "HTTP/1.1 {status} Elsewhere\r\n{json}location: /keys?tenant=1&again\r\ncontent-length: 0\r\n\r\n"
            )
        }
        Says::Status(status) => write!(stream, "HTTP/1.1 {status} No\r\n{json}content-length: 2\r\n\r\n{{}}"),
        Says::Nothing => Ok(()),
        Says::Endless => write!(stream, "HTTP/1.1 200 OK\r\n{json}\r\n{{\"keys\":[").and_then(|()| {
            loop {
                stream.write_all(&[b' '; 4096])?;
            }
        }),
    };
}
