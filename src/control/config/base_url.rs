//! Base URLs of upstreams, taken apart by hand: scheme, host, port, path, and nothing else.

use super::types::BaseUrl;
use std::net::{IpAddr, Ipv6Addr};

/// Reads a base URL; the error says what is wrong with it and never repeats it, since it may hold a password.
pub(super) fn parse(text: &str) -> Result<BaseUrl, &'static str> {
    let (tls, rest) = match text.split_once("://") {
        Some(("https", rest)) => (true, rest),
        Some(("http", rest)) => (false, rest),
        _ => return Err("does not begin with https:// or http://"),
    };
    if !rest.bytes().all(|b| b.is_ascii_graphic()) {
        return Err("holds a space or a character outside ASCII");
    }
    if rest.contains(['?', '#']) {
        return Err("has a query or a fragment");
    }
    let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    if authority.contains('@') {
        return Err("has a user name or password in it");
    }
    let (host, port) = host_and_port(authority)?;
    let scheme_port = if tls { 443 } else { 80 };
    let port = port.unwrap_or(scheme_port);
    let bracketed = if host.contains(':') { format!("[{host}]") } else { host.clone() };
    let authority = if port == scheme_port { bracketed } else { format!("{bracketed}:{port}") };
    Ok(BaseUrl { tls, host, port, authority, base_path: base_path(path)? })
}

/// Takes an authority without user information apart.
pub(super) fn host_and_port(authority: &str) -> Result<(String, Option<u16>), &'static str> {
    const WRONG_HOST: &str = "has no valid host name or address";
    let (host, port) = match authority.strip_prefix('[') {
        Some(rest) => {
            let (address, after) = rest.split_once(']').ok_or(WRONG_HOST)?;
            let address: Ipv6Addr = address.parse().map_err(|_| WRONG_HOST)?;
            match after.strip_prefix(':') {
                Some(port) => (address.to_string(), Some(port)),
                None if after.is_empty() => (address.to_string(), None),
                None => return Err(WRONG_HOST),
            }
        }
        None => match authority.split_once(':') {
            Some((host, port)) => (host.to_ascii_lowercase(), Some(port)),
            None => (authority.to_ascii_lowercase(), None),
        },
    };
    let label = |label: &str| {
        let inside = label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_');
        !label.is_empty() && label.len() <= 63 && inside && !label.starts_with('-') && !label.ends_with('-')
    };
    let is_name = host.len() <= 253 && host.strip_suffix('.').unwrap_or(&host).split('.').all(label);
    if !is_name && host.parse::<IpAddr>().is_err() {
        return Err(WRONG_HOST);
    }
    let port = match port {
        None => None,
        Some(text) => match text.parse::<u16>() {
            Ok(port) if port != 0 && text.bytes().all(|b| b.is_ascii_digit()) => Some(port),
            _ => return Err("has no valid port"),
        },
    };
    Ok((host, port))
}

fn base_path(path: &str) -> Result<String, &'static str> {
    let path = path.trim_end_matches('/');
    if path == "/v1" || path.ends_with("/v1") {
        return Err("ends in /v1, which weir adds itself");
    }
    if path.contains("//") || path.split('/').any(|part| part == "." || part == "..") {
        return Err("has an empty or dotted path segment");
    }
    Ok(path.to_string())
}

impl BaseUrl {
    /// Is the host this machine, whatever the network looks like?
    pub(super) fn is_loopback(&self) -> bool {
        self.host == "localhost" || self.host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_base_url_is_taken_apart_wrongly() {
        let parts = |text| parse(text).map(|u| (u.tls, u.host, u.port, u.authority, u.base_path));
        let expect = |tls, host: &str, port, authority: &str, path: &str| {
            Ok((tls, host.to_string(), port, authority.to_string(), path.to_string()))
        };
        let api = "api.anthropic.com";
        assert_eq!(parts("https://api.anthropic.com"), expect(true, api, 443, api, ""));
        assert_eq!(parts("https://API.anthropic.com:443/"), expect(true, api, 443, api, ""));
        assert_eq!(parts("http://127.0.0.1:9000/a/b/"), expect(false, "127.0.0.1", 9000, "127.0.0.1:9000", "/a/b"));
        assert_eq!(parts("https://[::1]:8443"), expect(true, "::1", 8443, "[::1]:8443", ""));
        assert_eq!(parts("http://[::1]"), expect(false, "::1", 80, "[::1]", ""));
    }

    #[test]
    fn a_base_url_smuggles_in_more_than_a_place() {
        for wrong in [
            "api.anthropic.com",
            "ftp://host",
            "https://",
            "https://user:password@host",
            "https://host?x=1",
            "https://host#f",
            "https://ho st",
            "https://host\r\nx: y",
            "https://host:0",
            "https://host:+80",
            "https://host:99999",
            "https://a..b",
            "https://[::1",
            "https://[::1]x",
            "https://-host",
            "https://host/../x",
            "https://host//x",
            "https://host/v1",
            "https://host/v1/",
        ] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }
}
