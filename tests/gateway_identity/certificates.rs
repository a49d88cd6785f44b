//! Client certificates as callers.

use std::io::Write;
use std::sync::Arc;

use rcgen::{CertificateParams, DnType, SanType};
use rustls::ClientConfig;

use crate::fixture::{self, ALICE_KEY, Gateway, SECRET, SONNET, assert_refused};
use crate::idp::{claims, shared};
use crate::support::http::{self, Response};
use crate::tls_kit::{Authority, TlsStream, connect, read_answer};

/// A gateway that asks for client certificates, and clients that have one.
struct Bench {
    gateway: Gateway,
    files: Authority,
}

const NAME: &str = "gateway.test";

fn bench(more: &str) -> Bench {
    let files = Authority::new();
    let own = files.issue(NAME);
    let ca = files.file();
    let gateway = fixture::start_as(|provider| {
        let tls = format!(
            "[listen]\ntls = {{ cert = \"{}\", key = \"{}\", client_ca = \"{}\" }}",
            own.cert_file.display(),
            own.key_file.display(),
            ca.display()
        );
        fixture::config(provider, more).replacen("[listen]", &tls, 1)
    });
    Bench { gateway, files }
}

impl Bench {
    /// A client whose certificate has these names.
    fn client(&self, file: &str, common: &str, alternative: Vec<SanType>) -> Arc<ClientConfig> {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, common);
        params.subject_alt_names = alternative;
        self.files.client(Some(&self.files.issue_as(file, params)))
    }

    fn connect(&self, client: &Arc<ClientConfig>) -> TlsStream {
        connect(self.gateway.weir.clients(), client, NAME).expect("a handshake")
    }

    fn ask_on(&self, stream: &mut TlsStream, model: &str, credentials: &[(&str, &str)]) -> Response {
        let headers = fixture::headers(credentials, "events=2");
        let body = fixture::question(model, false);
        let bytes = http::request_bytes(self.gateway.weir.clients(), "POST", "/v1/messages", &headers, &body);
        stream.write_all(&bytes).expect("a request");
        read_answer(stream).expect("an answer")
    }

    fn ask(&self, client: &Arc<ClientConfig>, credentials: &[(&str, &str)]) -> Response {
        self.ask_on(&mut self.connect(client), SONNET, credentials)
    }
}

fn uri(text: &str) -> SanType {
    SanType::URI(text.to_owned().try_into().expect("a URI"))
}

const SPIFFE: &str = "[mtls]\nidentity = \"san_uri\"\nteam = \"machines\"\nmodels = [\"claude-sonnet-*\"]\n\
                      rules = [{ match = \"spiffe://corp.example/ci/*\", team = \"ci\", project = \"builds\" }]\n";

#[test]
fn a_certificate_is_nobody_or_somebody_else() {
    let bench = bench(SPIFFE);
    let ci = bench.client("ci", "ignored", vec![uri("spiffe://corp.example/ci/build-1")]);
    let other = bench.client("other", "ignored", vec![uri("spiffe://corp.example/web")]);
    // Several requests on one connection, then one that resumes its session: the certificate goes with both.
    let mut stream = bench.connect(&ci);
    for _ in 0..2 {
        let answer = bench.ask_on(&mut stream, SONNET, &[]);
        let caller = bench.gateway.caller_of(&answer);
        assert_eq!(caller, ["", "spiffe://corp.example/ci/build-1", "ci", "builds"]);
    }
    let mut resumed = bench.connect(&ci);
    assert_eq!(resumed.conn.handshake_kind(), Some(rustls::HandshakeKind::Resumed));
    let answer = bench.ask_on(&mut resumed, SONNET, &[]);
    assert_eq!(bench.gateway.caller_of(&answer)[2], "ci");
    let answer = bench.ask(&other, &[]);
    assert_eq!(bench.gateway.caller_of(&answer), ["", "spiffe://corp.example/web", "machines", ""]);
    let denied = bench.ask_on(&mut stream, "claude-opus-5-5", &[]);
    assert_eq!(denied.status, 403, "{}", denied.text());
    assert_eq!(bench.gateway.record_of(&denied)["user"], "spiffe://corp.example/ci/build-1");
    // Claude Code does not start without a credential: this word is none.
    let answer = bench.ask(&ci, &[("authorization", "Bearer mtls"), ("x-api-key", "mtls")]);
    assert_eq!(bench.gateway.caller_of(&answer)[2], "ci");
    // A certificate without such a name is nobody, however many others it has.
    let nameless = bench.client(
        "nameless",
        "common",
        vec![SanType::DnsName("host.example".to_owned().try_into().expect("a name"))],
    );
    assert_refused(&bench.ask(&nameless, &[]), "has no URI among its alternative names");
}

#[test]
fn a_certificate_hides_what_the_header_says() {
    let jwt = fixture::shared_secret("");
    let bench = bench(&format!("{SPIFFE}{jwt}"));
    let ci = bench.client("ci", "ignored", vec![uri("spiffe://corp.example/ci/build-1")]);
    let bearer = format!("Bearer {}", shared(SECRET, &claims("bob@example.com")));
    // A credential in a header wins.
    let answer = bench.ask(&ci, &[("x-api-key", ALICE_KEY)]);
    assert_eq!(bench.gateway.caller_of(&answer)[..2], ["dev-alice", "alice@example.com"]);
    let answer = bench.ask(&ci, &[("authorization", &bearer)]);
    assert_eq!(bench.gateway.caller_of(&answer)[1], "bob@example.com");
    // And if it is not valid, no certificate makes up for it: a revoked key stays revoked.
    assert_refused(&bench.ask(&ci, &[("x-api-key", "weir-key-of-nobody")]), "the key in x-api-key is not a valid key");
    let forged = format!("Bearer {}", shared("another-secret", &claims("bob@example.com")));
    assert_refused(&bench.ask(&ci, &[("authorization", &forged)]), "signature");
}

#[test]
fn without_a_word_of_it_a_certificate_makes_callers() {
    let bench = bench("");
    let ci = bench.client("ci", "common", vec![uri("spiffe://corp.example/ci/build-1")]);
    assert_refused(&bench.ask(&ci, &[]), "no credential");
    assert_refused(&bench.ask(&ci, &[("x-api-key", "mtls")]), "not a valid key");
    assert_eq!(bench.ask(&ci, &[("x-api-key", ALICE_KEY)]).status, 200);
    // A certificate of another CA does not get through the handshake, and none does neither.
    let stranger = Authority::new();
    let key = stranger.issue("stranger");
    let trusting = |identity| {
        let client = bench.files.client(identity);
        let answer = connect(bench.gateway.weir.clients(), &client, NAME).and_then(|mut stream| {
            stream.write_all(b"GET /v1/models HTTP/1.1\r\nhost: x\r\nx-api-key: mtls\r\n\r\n")?;
            read_answer(&mut stream)
        });
        answer.map(|answer| answer.status)
    };
    assert!(trusting(Some(&key)).is_err() && trusting(None).is_err());
}
