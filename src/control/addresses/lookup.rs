//! One question for one name: the servers that the operator or the host names, which say how long an answer lives, and the
//! host's own resolver where these know nothing, since it may know other sources.

use super::book::{Found, Settings};
use hickory_resolver::{
    Resolver,
    config::{ConnectionConfig, LookupIpStrategy, NameServerConfig, ResolverConfig, ResolverOpts},
    net::runtime::TokioRuntimeProvider,
};
use std::{
    net::{SocketAddr, ToSocketAddrs},
    time::{Duration, Instant},
};

/// How long one server has for one answer.
const TIMEOUT: Duration = Duration::from_secs(2);
/// How often it is asked.
const ATTEMPTS: usize = 2;

/// The servers as they are now: files of the host may have changed since the last question.
pub(super) struct Servers {
    resolver: Option<Resolver<TokioRuntimeProvider>>,
    host_too: bool,
}

impl Servers {
    pub(super) fn new(settings: &Settings) -> Self {
        let host_too = settings.servers.is_empty();
        let builder = if host_too {
            Resolver::builder_tokio()
        } else {
            let servers = settings.servers.iter().map(server).collect();
            Ok(Resolver::builder_with_config(
                ResolverConfig::from_name_servers(servers),
                TokioRuntimeProvider::default(),
            ))
        };
        let built = builder.and_then(|mut builder| {
            tune(builder.options_mut());
            builder.build()
        });
        let resolver =
            built.inspect_err(|error| tracing::debug!(%error, "no name servers; the host's resolver is asked")).ok();
        Self { resolver, host_too }
    }

    /// Asks. The error is a clause for a log line.
    pub(super) async fn ask(&self, name: &str) -> Result<Found, String> {
        let told = match &self.resolver {
            Some(resolver) => match resolver.lookup_ip(name).await {
                Ok(found) => {
                    let ttl = found.valid_until().saturating_duration_since(Instant::now());
                    return Ok(Found { addresses: found.iter().collect(), ttl: Some(ttl) });
                }
                Err(error) => error.to_string(),
            },
            None => "there are no name servers".to_owned(),
        };
        if !self.host_too {
            return Err(told);
        }
        let host = name.to_owned();
        let asked = tokio::task::spawn_blocking(move || (host.as_str(), 0).to_socket_addrs().map(Vec::from_iter)).await;
        match asked {
            Ok(Ok(found)) => Ok(Found { addresses: found.iter().map(SocketAddr::ip).collect(), ttl: None }),
            _ => Err(told),
        }
    }
}

fn server(address: &SocketAddr) -> NameServerConfig {
    let connections = [ConnectionConfig::udp(), ConnectionConfig::tcp()].map(|mut connection| {
        connection.port = address.port();
        connection
    });
    NameServerConfig::new(address.ip(), true, connections.into())
}

fn tune(options: &mut ResolverOpts) {
    options.timeout = TIMEOUT;
    options.attempts = ATTEMPTS;
    options.ip_strategy = LookupIpStrategy::Ipv4AndIpv6;
    // The book knows what has been answered.
    options.cache_size = 0;
}
