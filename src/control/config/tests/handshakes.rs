//! The client listener's TLS, by real handshakes in memory.

use super::*;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::{
    ClientConfig, ClientConnection, HandshakeKind, RootCertStore, ServerConfig, ServerConnection,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
};
use std::sync::Arc;

/// A CA, and a certificate it made for a client.
struct Ca {
    pem: String,
    client_cert: CertificateDer<'static>,
    client_key: PrivateKeyDer<'static>,
}

fn ca() -> Ca {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let pem = params.self_signed(&key).unwrap().pem();
    let issuer = Issuer::new(params, key);
    let client_key = KeyPair::generate().unwrap();
    let client = CertificateParams::new(vec!["client".into()]).unwrap().signed_by(&client_key, &issuer).unwrap();
    let client_key = PrivateKeyDer::from_pem_slice(client_key.serialize_pem().as_bytes()).unwrap();
    Ca { pem, client_cert: client.der().clone(), client_key }
}

fn client(dir: &Path, ca: Option<&Ca>) -> Arc<ClientConfig> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(dir.join("tls.crt")).unwrap()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let builder = builder.with_root_certificates(roots);
    let mut config = match ca {
        Some(ca) => builder.with_client_auth_cert(vec![ca.client_cert.clone()], ca.client_key.clone_key()).unwrap(),
        None => builder.with_no_client_auth(),
    };
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Arc::new(config)
}

/// Lets two ends talk until nobody has anything to say; the server's view of it.
fn handshake(client: &Arc<ClientConfig>, server: &Arc<ServerConfig>) -> Result<ServerConnection, rustls::Error> {
    let mut client = ClientConnection::new(client.clone(), "localhost".try_into().unwrap()).unwrap();
    let mut server = ServerConnection::new(server.clone()).unwrap();
    while client.wants_write() || server.wants_write() {
        let mut wire = Vec::new();
        while client.wants_write() {
            client.write_tls(&mut wire).unwrap();
        }
        let mut rest = &wire[..];
        while !rest.is_empty() {
            server.read_tls(&mut rest).unwrap();
            server.process_new_packets()?;
        }
        let mut wire = Vec::new();
        while server.wants_write() {
            server.write_tls(&mut wire).unwrap();
        }
        let mut rest = &wire[..];
        while !rest.is_empty() {
            client.read_tls(&mut rest).unwrap();
            client.process_new_packets()?;
        }
    }
    assert!(!server.is_handshaking());
    Ok(server)
}

fn server(dir: &Path, client_ca: Option<&str>) -> Arc<ServerConfig> {
    let files = TlsFiles {
        cert: dir.join("tls.crt"),
        key: dir.join("tls.key"),
        client_ca: client_ca.map(|name| dir.join(name)),
    };
    tls::server_config(&files).unwrap_or_else(|errors| panic!("{errors:?}"))
}

#[test]
fn a_session_does_not_resume_or_another_protocol_is_agreed_on() {
    let dir = tls_dir();
    let (client, server) = (client(dir.path(), None), server(dir.path(), None));
    let first = handshake(&client, &server).unwrap();
    assert_eq!(first.alpn_protocol(), Some(&b"http/1.1"[..]));
    assert_eq!(first.handshake_kind(), Some(HandshakeKind::Full));
    let second = handshake(&client, &server).unwrap();
    assert_eq!(second.handshake_kind(), Some(HandshakeKind::Resumed));
}

#[test]
fn a_client_without_a_certificate_of_the_ca_comes_in() {
    let dir = tls_dir();
    let (ours, theirs) = (ca(), ca());
    std::fs::write(dir.path().join("ca.pem"), &ours.pem).unwrap();
    let server = server(dir.path(), Some("ca.pem"));
    assert!(handshake(&client(dir.path(), Some(&ours)), &server).is_ok());
    assert!(handshake(&client(dir.path(), Some(&theirs)), &server).is_err());
    assert!(handshake(&client(dir.path(), None), &server).is_err());
}
