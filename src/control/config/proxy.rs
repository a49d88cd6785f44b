//! `[[upstream]] proxy`, and what the environment says of proxies: `HTTPS_PROXY`, `ALL_PROXY` and `NO_PROXY`, read as `reqwest`
//! reads them, which the control plane asks token endpoints, key sets and object stores with.
//!
//! A proxy is asked for a tunnel and never reads what passes. So an upstream that is spoken to in the open goes through one
//! only if its own table names it: `HTTP_PROXY` means proxies that read requests, and is none of ours.

use super::{
    base_url,
    reader::Reader,
    types::{BaseUrl, ProxyConfig},
};
use crate::{dialect::segment, kernel::secret::Secret};
use base64::{Engine, prelude::BASE64_STANDARD};
use hyper_util::client::proxy::matcher::Matcher;

/// A proxy's port where none is written.
const PORT: u16 = 80;
const MEND: &str = "write \"http://HOST:PORT\", \"${NAME}\" for one with user and password in it, or \"direct\"";

/// The proxy of an upstream, if it has one.
pub(super) fn proxy(reader: &Reader<'_>, url: &BaseUrl) -> Option<ProxyConfig> {
    match reader.text("proxy") {
        None => from_environment(reader, url),
        Some("direct") => None,
        Some(text) if text.starts_with("${") => {
            let secret = reader.secret_behind("proxy", text)?;
            told(reader, "the URL behind it ", parse(secret.expose()))
        }
        Some(text) if text.contains('@') => {
            reader.error("proxy", "has a user name or password written out", MEND);
            None
        }
        Some(text) => told(reader, "", parse(text)),
    }
}

fn told(reader: &Reader<'_>, what: &str, parsed: Result<ProxyConfig, &'static str>) -> Option<ProxyConfig> {
    parsed.map_err(|wrong| reader.error("proxy", format!("{what}{wrong}"), MEND)).ok()
}

fn from_environment(reader: &Reader<'_>, url: &BaseUrl) -> Option<ProxyConfig> {
    let env = |names: [&'static str; 2]| names.into_iter().find_map(|name| Some((name, (reader.context().env)(name)?)));
    let said = |found: &(&str, String)| !found.1.trim().is_empty();
    let (name, value) = env(["HTTPS_PROXY", "https_proxy"])
        .filter(said)
        .or_else(|| env(["ALL_PROXY", "all_proxy"]).filter(said))
        .filter(|_| url.tls)?;
    let exceptions = env(["NO_PROXY", "no_proxy"]).map(|(_, value)| value).unwrap_or_default();
    // Which hosts are excepted is said in one place, the one that `reqwest` asks too.
    let matcher = Matcher::builder().https("http://proxy").no(exceptions).build();
    matcher.intercept(&format!("https://{}/", url.authority).parse().ok()?)?;
    told(reader, &format!("is not written, so {name} of the environment counts, and that "), parse(value.trim()))
}

/// Reads a proxy's URL; the error says what is wrong with it and never repeats it.
fn parse(text: &str) -> Result<ProxyConfig, &'static str> {
    let rest = match text.split_once("://").map(|(scheme, rest)| (scheme.to_ascii_lowercase(), rest)) {
        None => text,
        Some((scheme, rest)) if scheme == "http" => rest,
        Some((scheme, _)) if scheme == "https" => {
            return Err(
                "names a proxy that itself speaks TLS, which weir does not; what passes its tunnels is TLS anyhow",
            );
        }
        Some(_) => return Err("does not begin with http://"),
    };
    let rest = rest.strip_suffix('/').unwrap_or(rest);
    let (user, authority) = rest.rsplit_once('@').map_or((None, rest), |(user, authority)| (Some(user), authority));
    let (host, port) = base_url::host_and_port(authority)?;
    let port = port.unwrap_or(PORT);
    let authority = if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") };
    Ok(ProxyConfig { host, port, authority, credential: user.map(basic).transpose()? })
}

/// The `Basic` credential of a user name and password as URLs write them.
fn basic(user: &str) -> Result<Secret<String>, &'static str> {
    let (name, password) = user.split_once(':').unwrap_or((user, ""));
    let plain = |text: &str| match text {
        "" => Ok(String::new()),
        text => segment::decode(text.as_bytes())
            .map(|decoded| decoded.into_owned())
            .ok_or("has a user name or password that is not escaped as URLs want it"),
    };
    let pair = format!("{}:{}", plain(name)?, plain(password)?);
    Ok(Secret::new(format!("Basic {}", BASE64_STANDARD.encode(pair))))
}
