//! An HTTP proxy between the gateway and its upstreams.

use weir::loadtest::provider::ProviderHandle;

use crate::fixture::{KEY, assert_own_error, config_of, message, prompt, provider};
use crate::proxy_kit::{Does, Proxy};
use crate::support::http::{Connection, Response};
use crate::support::{DEADLINE, Weir, eventually};
use crate::tls_kit::{Authority, TlsFront};

/// `weir:p@ss`
const PROVEN: &str = "Basic d2VpcjpwQHNz";

struct Behind {
    provider: ProviderHandle,
    front: TlsFront,
    authority: Authority,
}

fn behind() -> Behind {
    let (authority, provider) = (Authority::new(), provider());
    let front = TlsFront::start(&authority.issue("localhost"), provider.addr(), true);
    Behind { provider, front, authority }
}

impl Behind {
    /// A configuration for the upstream at `https://localhost`.
    fn config(&self, upstream_toml: &str, more_toml: &str) -> String {
        let config = config_of(1, &format!("https://localhost:{}", self.front.addr.port()), more_toml);
        let ca = format!("ca = \"{}\"\n{upstream_toml}\nauth = {{", self.authority.file().display());
        config.replacen("auth = {", &ca, 1)
    }

    fn weir(&self, upstream_toml: &str, more_toml: &str, environment: &[(&str, &str)]) -> Weir {
        let environment = [&[("ALICE_KEY", KEY)], environment].concat();
        Weir::start_with(&self.config(upstream_toml, more_toml), &environment)
    }
}

fn ask(weir: &Weir, stream: bool) -> Response {
    let mut connection = Connection::open(weir.clients());
    connection.send(&message(weir.clients(), "", &prompt(stream, "x")));
    connection.read_response()
}

fn url(proxy: &Proxy) -> String {
    format!("http://weir:p%40ss@{}", proxy.addr)
}

#[test]
fn an_upstream_behind_a_proxy_is_reached_past_it_or_not_at_all() {
    let (behind, proxy) = (behind(), Proxy::start(Does::Tunnels(PROVEN)));
    let target = format!("localhost:{}", behind.front.addr.port());
    let weir = behind.weir("", "", &[("HTTPS_PROXY", &url(&proxy))]);
    for turn in 0..4 {
        let answer = ask(&weir, turn % 2 == 0);
        assert_eq!(answer.status, 200, "{}", answer.text());
    }
    assert_eq!(proxy.asked(), [target.as_str()], "one tunnel, kept, asked for by name");
    assert_eq!((behind.front.handshakes(), behind.provider.books().totals.requests), (1, 4));
    let shown = weir.admin_get("/admin/v1/upstreams");
    assert_eq!(shown["data"][0]["proxy"], proxy.addr.to_string());
    assert!(!shown.to_string().contains("p@ss") && !weir.log().contains("p%40ss") && !weir.log().contains(PROVEN));
    // The upstream's own word, behind a reference, and no word but an exception.
    let own = Proxy::start(Does::Tunnels(PROVEN));
    let weir = behind.weir("proxy = \"${OWN}\"", "", &[("OWN", &url(&own)), ("HTTPS_PROXY", &url(&proxy))]);
    assert_eq!(ask(&weir, false).status, 200);
    assert_eq!(own.asked(), [target.as_str()]);
    let weir = behind.weir("", "", &[("NO_PROXY", "localhost"), ("HTTPS_PROXY", &url(&proxy))]);
    assert_eq!(ask(&weir, false).status, 200);
    assert_eq!(proxy.asked().len(), 1);
    // An upstream without TLS, whose table names the proxy.
    let plain = config_of(1, &format!("http://{}", behind.provider.addr()), "");
    let plain = plain.replacen("auth = {", "proxy = \"${OWN}\"\nauth = {", 1);
    let weir = Weir::start_with(&plain, &[("ALICE_KEY", KEY), ("OWN", &url(&own))]);
    assert_eq!(ask(&weir, true).status, 200);
    assert_eq!(own.asked()[1], behind.provider.addr().to_string());
}

#[test]
fn a_proxy_that_refuses_is_blamed_on_the_client_or_goes_unnamed() {
    let behind = behind();
    for (does, words) in [
        (
            Does::Tunnels("Basic c29tZWJvZHk6ZWxzZQ=="),
            "answered 407 Proxy Authentication Required: it wants other credentials",
        ),
        (
            Does::Says(b"HTTP/1.1 502 Bad Gateway\r\ncontent-length: 0\r\n\r\n"),
            "answered 502 Bad Gateway: it cannot reach the upstream",
        ),
        (Does::Says(b"HTTP/1.1 403 Forbidden\r\n\r\n"), "it does not allow connections to this upstream"),
        (
            Does::Says(b"HTTP/1.1 200 OK\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n"),
            "before the first of ours",
        ),
        (Does::Says(b"220 mail.example ESMTP\r\n"), "no HTTP"),
        (Does::Says(b""), "closed the connection instead of an answer"),
        (Does::IsSilent, "did not answer in time"),
    ] {
        // Only who is silent is to run into the deadline.
        let silent = matches!(does, Does::IsSilent);
        let limits = format!("[limits]\nconnect_timeout = \"{}\"\n", if silent { "300ms" } else { "60s" });
        let proxy = Proxy::start(does);
        let weir = behind.weir("", &limits, &[("HTTPS_PROXY", &url(&proxy))]);
        let answer = ask(&weir, false);
        assert_own_error(&answer, 502, "api_error");
        assert!(answer.text().contains("cannot be reached through the gateway's proxy"), "{}", answer.text());
        assert!(!answer.text().contains(&proxy.addr.to_string()), "which one is nobody's business: {}", answer.text());
        let named = format!("the proxy {} ", proxy.addr);
        eventually(DEADLINE, "the log names the proxy and says why", || {
            let log = weir.log();
            assert!(!log.contains("p%40ss") && !log.contains(PROVEN), "{log}");
            log.lines().any(|line| line.contains(&named) && line.contains(words)).then_some(())
        });
        let record =
            eventually(DEADLINE, "there is a record", || weir.admin_get("/admin/v1/requests")["data"].get(0).cloned());
        assert_eq!(record["outcome"], "upstream_failed", "{words}: {record}");
    }
    assert_eq!(behind.provider.books().totals.requests, 0);
}

#[test]
fn a_proxy_that_dies_takes_the_upstream_with_it_for_good() {
    let behind = behind();
    let proxy = Proxy::start(Does::Tunnels(PROVEN));
    let weir = behind.weir("", "", &[("HTTPS_PROXY", &url(&proxy))]);
    let mut connection = Connection::open(weir.clients());
    connection.send(&message(weir.clients(), "events=1000,gap_ms=20", &prompt(true, "x")));
    assert_eq!(connection.read_head().status, 200);
    connection.read_chunk().expect("the stream has begun");
    proxy.die();
    let rest = String::from_utf8_lossy(&connection.read_to_end()).into_owned();
    assert!(!rest.contains("message_stop"), "{rest}");
    assert_own_error(&ask(&weir, false), 502, "api_error");
    let again = Proxy::start_at(proxy.addr, Does::Tunnels(PROVEN));
    eventually(DEADLINE, "the upstream is back with its proxy", || (ask(&weir, false).status == 200).then_some(()));
    assert!(!again.asked().is_empty());
}

#[test]
fn a_tunnel_nobody_waits_for_is_waited_for() {
    let behind = behind();
    let proxy = Proxy::start(Does::IsSilent);
    let weir = behind.weir("", "[limits]\nconnect_timeout = \"50s\"\n", &[("HTTPS_PROXY", &url(&proxy))]);
    let mut connection = Connection::open(weir.clients());
    connection.send(&message(weir.clients(), "", &prompt(false, "x")));
    eventually(DEADLINE, "the proxy is asked", || (proxy.asked().len() == 1).then_some(()));
    drop(connection);
    eventually(DEADLINE / 3, "the gateway leaves the proxy, long before its deadline", || {
        (proxy.left() == 1).then_some(())
    });
}

#[test]
fn the_control_plane_passes_the_proxy_by() {
    let (behind, proxy) = (behind(), Proxy::start(Does::Tunnels(PROVEN)));
    let jwt = format!(
        "[[jwt]]\nissuer = \"https://idp.example\"\naudience = \"weir\"\njwks_url = \"https://localhost:{}/keys\"\nca = \"{}\"\n",
        behind.front.addr.port(),
        behind.authority.file().display()
    );
    let weir = behind.weir("proxy = \"direct\"", &jwt, &[("HTTPS_PROXY", &url(&proxy))]);
    let target = format!("localhost:{}", behind.front.addr.port());
    eventually(DEADLINE, "the keys are asked for through the proxy", || {
        (proxy.asked().contains(&target)).then_some(())
    });
    let before = proxy.asked().len();
    assert_eq!(ask(&weir, false).status, 200);
    assert!(
        proxy.asked().len() >= before,
        "the upstream itself is reached directly, and was served: {:?}",
        proxy.asked()
    );
}
