//! TLS material from PEM files: the client listener's configuration and the upstreams' roots.
//!
//! Both are cached for the life of the process by the content of their files. An unchanged listener keeps its ticket keys
//! over reloads, so sessions resume on every shard; a changed one gets new keys, since a ticket carries the client
//! certificate that the old configuration accepted. The host's own trust store is read once: a change there needs a restart.

use super::{error::ConfigError, types::TlsFiles};
use aws_lc_rs::digest;
use parking_lot::Mutex;
use rustls::{
    RootCertStore, ServerConfig,
    crypto::{CryptoProvider, aws_lc_rs as provider},
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
    server::WebPkiClientVerifier,
};
use std::{
    path::Path,
    sync::{Arc, OnceLock},
};

type ContentHash = [u8; 32];

static SERVERS: Kept<ServerConfig> = Kept { max: 8, built: Mutex::new(Vec::new()) };
static EXTENDED_ROOTS: Kept<RootCertStore> = Kept { max: 32, built: Mutex::new(Vec::new()) };
static HOST_ROOTS: OnceLock<Arc<RootCertStore>> = OnceLock::new();
/// A PEM file is not larger; anything else is the wrong file. Bytes.
const PEM_BYTES_MAX: u64 = 4 * 1024 * 1024;

/// What was built from which files, up to a number; the oldest goes first.
struct Kept<T> {
    max: usize,
    built: Mutex<Vec<(ContentHash, Arc<T>)>>,
}

impl<T> Kept<T> {
    fn get_or<E>(&self, hash: ContentHash, build: impl FnOnce() -> Result<T, E>) -> Result<Arc<T>, E> {
        let mut built = self.built.lock();
        if let Some((_, kept)) = built.iter().find(|(of, _)| *of == hash) {
            return Ok(kept.clone());
        }
        let new = Arc::new(build()?);
        if built.len() >= self.max {
            built.remove(0);
        }
        built.push((hash, new.clone()));
        Ok(new)
    }
}

fn crypto() -> Arc<CryptoProvider> {
    static PROVIDER: OnceLock<Arc<CryptoProvider>> = OnceLock::new();
    PROVIDER.get_or_init(|| Arc::new(provider::default_provider())).clone()
}

fn hash(contents: &[&[u8]]) -> ContentHash {
    let mut context = digest::Context::new(&digest::SHA256);
    for content in contents {
        context.update(&(content.len() as u64).to_be_bytes());
        context.update(content);
    }
    let mut out = ContentHash::default();
    out.copy_from_slice(context.finish().as_ref());
    out
}

fn read(path: &Path) -> Result<Vec<u8>, String> {
    let shown = path.display();
    let about = std::fs::metadata(path).map_err(|error| format!("{shown} cannot be read: {error}"))?;
    if !about.is_file() || about.len() > PEM_BYTES_MAX {
        return Err(format!("{shown} is no PEM file"));
    }
    std::fs::read(path).map_err(|error| format!("{shown} cannot be read: {error}"))
}

fn parse_certificates(path: &Path, pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, String> {
    let shown = path.display();
    let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    let certificates = certificates.map_err(|error| format!("{shown} is no valid PEM: {error}"))?;
    if certificates.is_empty() {
        return Err(format!("{shown} holds no certificate"));
    }
    Ok(certificates)
}

/// The certificates of a PEM file, at least one.
pub(super) fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    parse_certificates(path, &read(path)?)
}

fn root_store(path: &Path, pem: &[u8], mut store: RootCertStore) -> Result<RootCertStore, String> {
    for certificate in parse_certificates(path, pem)? {
        store.add(certificate).map_err(|error| format!("{} holds an unusable root: {error}", path.display()))?;
    }
    Ok(store)
}

/// An error at an upstream's `ca`.
pub(super) fn ca_error(upstream: usize, message: String) -> ConfigError {
    ConfigError::new(format!("upstream[{upstream}].ca"), message, "name a readable PEM file with CA certificates")
}

/// The client listener's TLS configuration, the same object as long as the files stay the same.
pub(super) fn server_config(files: &TlsFiles) -> Result<Arc<ServerConfig>, Vec<ConfigError>> {
    let mut errors = Vec::new();
    let mut content = |key: &str, path: &Path| {
        read(path).unwrap_or_else(|message| {
            errors.push(tls_error(key, message));
            Vec::new()
        })
    };
    let cert = content("cert", &files.cert);
    let key = content("key", &files.key);
    let client_ca = files.client_ca.as_deref().map(|path| (path, content("client_ca", path)));
    if !errors.is_empty() {
        return Err(errors);
    }
    let hash = match &client_ca {
        Some((_, ca)) => hash(&[&cert, &key, ca]),
        None => hash(&[&cert, &key]),
    };
    SERVERS.get_or(hash, || build_server(files, &cert, &key, client_ca)).map_err(|error| vec![error])
}

fn tls_error(key: &str, message: String) -> ConfigError {
    let mend = match key {
        "cert" => "name a readable PEM file with the certificate chain, leaf first",
        "key" => "name a readable PEM file with the certificate's private key, without passphrase",
        _ => "name a readable PEM file with the CA certificates of your clients",
    };
    ConfigError::new(format!("listen.tls.{key}"), message, mend)
}

fn build_server(
    files: &TlsFiles,
    cert: &[u8],
    key: &[u8],
    client_ca: Option<(&Path, Vec<u8>)>,
) -> Result<ServerConfig, ConfigError> {
    let chain = parse_certificates(&files.cert, cert).map_err(|message| tls_error("cert", message))?;
    // The parser's own words could quote the file, and this file is a secret.
    let key = PrivateKeyDer::from_pem_slice(key)
        .map_err(|_| tls_error("key", format!("{} holds no private key in PEM", files.key.display())))?;
    let builder = ServerConfig::builder_with_provider(crypto())
        .with_safe_default_protocol_versions()
        .map_err(|error| tls_error("cert", error.to_string()))?;
    let builder = match client_ca {
        None => builder.with_no_client_auth(),
        Some((path, pem)) => {
            let wrong = |message| tls_error("client_ca", message);
            let roots = root_store(path, &pem, RootCertStore::empty()).map_err(wrong)?;
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), crypto());
            builder.with_client_cert_verifier(verifier.build().map_err(|error| wrong(error.to_string()))?)
        }
    };
    let mut config = builder
        .with_single_cert(chain, key)
        .map_err(|error| tls_error("key", format!("does not go with the certificate: {error}")))?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    config.ticketer = provider::Ticketer::new().map_err(|error| tls_error("key", error.to_string()))?;
    Ok(config)
}

/// The roots an upstream is trusted by: the host's, the web's where the host has none, and those of `ca`.
pub fn roots(ca: Option<&Path>) -> Result<Arc<RootCertStore>, String> {
    let host = HOST_ROOTS.get_or_init(host_roots);
    let Some(path) = ca else { return Ok(host.clone()) };
    let pem = read(path)?;
    EXTENDED_ROOTS.get_or(hash(&[&pem]), || root_store(path, &pem, RootCertStore::clone(host)))
}

fn host_roots() -> Arc<RootCertStore> {
    let mut store = RootCertStore::empty();
    let found = rustls_native_certs::load_native_certs();
    let (added, ignored) = store.add_parsable_certificates(found.certs);
    if added == 0 {
        tracing::info!("this host has no trust store; using the built-in web roots");
        store.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
    } else if ignored > 0 {
        tracing::debug!(ignored, "some roots of the host's trust store are not usable");
    }
    Arc::new(store)
}
