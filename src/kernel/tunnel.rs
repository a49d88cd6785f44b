//! The way to an upstream through an HTTP proxy.

use super::secret::Secret;

/// A forward proxy that connections to an upstream go through, and how it is asked for one (CONNECT, RFC 9110 §9.3.6).
#[derive(Clone, PartialEq, Eq)]
pub struct Tunnel {
    /// Host and port of the proxy, for people to read.
    pub proxy: Box<str>,
    /// The whole head that asks for the connection, credentials included.
    pub ask: Secret<Box<[u8]>>,
}

impl Tunnel {
    /// A tunnel through `proxy` to `target` (host and port, an IPv6 address in brackets). `credential` is the value of
    /// `proxy-authorization`.
    pub fn new(proxy: &str, target: &str, credential: Option<&Secret<String>>) -> Self {
        let mut ask = format!("CONNECT {target} HTTP/1.1\r\nhost: {target}\r\nuser-agent: weir\r\n");
        if let Some(credential) = credential {
            ask.push_str("proxy-authorization: ");
            ask.push_str(credential.expose());
            ask.push_str("\r\n");
        }
        ask.push_str("\r\n");
        Self { proxy: proxy.into(), ask: Secret::new(ask.into_bytes().into()) }
    }
}
