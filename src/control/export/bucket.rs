//! An object store as a destination.
//!
//! A part is written to a file of this host first, which has no name, so that nothing is left of it whatever happens; then it
//! is uploaded, in pieces if it is large. An upload that is not complete is no object. The manifest is replaced only if it is
//! still the one that was read, where the store knows such conditions: of two exports into one prefix, the later goes on.

use super::{
    CHANGES, UPLOAD_BYTES,
    destination::Destination,
    target::{BucketTarget, Provider},
};
use crate::control::audit::AuditError;
use object_store::{
    BackoffConfig, ClientConfigKey, Error, ObjectStore, ObjectStoreExt, PutMode, PutPayload, PutResult, RetryConfig,
    UpdateVersion,
    aws::{AmazonS3Builder, AmazonS3ConfigKey},
    azure::{AzureConfigKey, MicrosoftAzureBuilder},
    gcp::{GoogleCloudStorageBuilder, GoogleConfigKey},
    path::Path,
};
use std::{
    env,
    fs::{self, File},
    io::{self, Read, Seek},
    os::unix::fs::OpenOptionsExt,
    path::PathBuf,
    process,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};
use tokio::runtime::{Builder, Runtime};

/// How long one exchange with the store may take: a piece must have been taken by then.
const EXCHANGE_TIMEOUT: &str = "120 seconds";
/// How long an exchange is tried again before the run gives up; the next run goes on.
const RETRY_TIMEOUT: Duration = Duration::from_secs(60);
const RETRIES_MAX: usize = 5;
/// The longest manifest that is believed to be one. Bytes.
const SMALL_BYTES_MAX: u64 = 64 << 10;
/// Where drafts are, unless TMPDIR says otherwise: on a disk, not in memory.
const DRAFTS: &str = "/var/tmp";

pub(super) struct Bucket {
    shown: String,
    store: Arc<dyn ObjectStore>,
    prefix: Path,
    runtime: Runtime,
    /// Which manifest was read or written last; none before there is one.
    version: Option<UpdateVersion>,
}

impl Bucket {
    pub fn open(target: &BucketTarget) -> Result<Self, AuditError> {
        let shown = format!("{}://{}/{}", target.provider.scheme(), target.bucket, target.prefix);
        let store = client(target).map_err(|error| AuditError::Other(format!("cannot reach {shown}: {error}")))?;
        Self::over(store, &target.prefix, shown)
    }

    pub(super) fn over(store: Arc<dyn ObjectStore>, prefix: &str, shown: String) -> Result<Self, AuditError> {
        let runtime = Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|error| AuditError::Other(format!("cannot wait for {shown}: {error}")))?;
        Ok(Self { shown, store, prefix: Path::from(prefix), runtime, version: None })
    }

    fn path(&self, name: &str) -> Path {
        name.split('/').fold(self.prefix.clone(), |path, part| path.join(part))
    }

    fn failed(&self, doing: &str, name: &str, error: &Error) -> AuditError {
        let hint = match error {
            Error::PermissionDenied { .. } | Error::Unauthenticated { .. } => {
                "; check the credentials: reading, writing, listing and deleting under this prefix is needed"
            }
            _ => "",
        };
        AuditError::Other(format!("cannot {doing} {}: {error}{hint}", self.url_of(name)))
    }

    fn url_of(&self, name: &str) -> String {
        format!("{}/{name}", self.shown.trim_end_matches('/'))
    }

    fn put(&self, path: &Path, bytes: &[u8], mode: PutMode) -> Result<PutResult, Error> {
        self.runtime.block_on(self.store.put_opts(path, PutPayload::from(bytes.to_vec()), mode.into()))
    }

    async fn upload(&self, path: &Path, mut file: File) -> Result<(), Error> {
        let broken = |source: io::Error| Error::Generic { store: "draft", source: Box::new(source) };
        file.rewind().map_err(broken)?;
        let mut piece = next_piece(&mut file).map_err(broken)?;
        if piece.len() < UPLOAD_BYTES {
            return self.store.put(path, piece.into()).await.map(drop);
        }
        let mut upload = self.store.put_multipart(path).await?;
        while !piece.is_empty() {
            let sent = upload.put_part(piece.into()).await;
            piece = match sent.and_then(|()| next_piece(&mut file).map_err(broken)) {
                Ok(piece) => piece,
                Err(error) => {
                    // What cannot even be taken back is left to the bucket's own rule for incomplete uploads.
                    let _left = upload.abort().await;
                    return Err(error);
                }
            };
        }
        upload.complete().await.map(drop)
    }

    async fn all_files(&self) -> Result<Vec<String>, Error> {
        let mut files = Vec::new();
        for (above, place) in [("", self.prefix.clone()), ("changes/", self.path(CHANGES))] {
            for folder in self.store.list_with_delimiter(Some(&place)).await?.common_prefixes {
                let Some(day) = folder.filename().filter(|name| name.starts_with("day=")) else { continue };
                let objects = self.store.list_with_delimiter(Some(&folder)).await?.objects;
                let names = objects.iter().filter_map(|object| object.location.filename());
                files.extend(names.map(|name| format!("{above}{day}/{name}")));
            }
        }
        Ok(files)
    }
}

impl Destination for Bucket {
    fn shown(&self) -> String {
        self.shown.clone()
    }

    fn read(&mut self, name: &str) -> Result<Option<Vec<u8>>, AuditError> {
        let path = self.path(name);
        let got = self.runtime.block_on(async {
            let found = self.store.get(&path).await?;
            let version = UpdateVersion { e_tag: found.meta.e_tag.clone(), version: found.meta.version.clone() };
            if found.meta.size > SMALL_BYTES_MAX {
                let source = format!("{} bytes are no manifest", found.meta.size).into();
                return Err(Error::Generic { store: "export", source });
            }
            Ok((version, found.bytes().await?.to_vec()))
        });
        match got {
            Ok((version, bytes)) => {
                self.version = Some(version);
                Ok(Some(bytes))
            }
            Err(Error::NotFound { .. }) => {
                self.version = None;
                Ok(None)
            }
            Err(error) => Err(self.failed("read", name, &error)),
        }
    }

    fn replace(&mut self, name: &str, bytes: &[u8]) -> Result<(), AuditError> {
        let path = self.path(name);
        let mode = self.version.clone().map_or(PutMode::Create, PutMode::Update);
        let put = match self.put(&path, bytes, mode) {
            Err(Error::NotImplemented { .. }) => self.put(&path, bytes, PutMode::Overwrite),
            other => other,
        };
        match put {
            Ok(put) => {
                self.version = Some(put.into());
                Ok(())
            }
            Err(Error::Precondition { .. } | Error::AlreadyExists { .. }) => {
                // An answer that was lost makes our own writing look like a stranger's.
                if self.read(name)?.as_deref() == Some(bytes) {
                    return Ok(());
                }
                Err(AuditError::Other(format!(
                    "another export has gone on in {}; let one of them export there, and run this one again if it should \
                     be this one",
                    self.shown
                )))
            }
            Err(error) => Err(self.failed("write", name, &error)),
        }
    }

    fn draft(&mut self, _name: &str) -> Result<File, AuditError> {
        unnamed_file().map_err(|error| {
            let folder = drafts().display().to_string();
            AuditError::Other(format!("cannot write a part in {folder}: {error}; name another folder in TMPDIR"))
        })
    }

    fn publish(&mut self, name: &str, file: File) -> Result<(), AuditError> {
        let path = self.path(name);
        self.runtime.block_on(self.upload(&path, file)).map_err(|error| self.failed("write", name, &error))
    }

    fn files(&mut self) -> Result<Vec<String>, AuditError> {
        self.runtime.block_on(self.all_files()).map_err(|error| self.failed("list", "", &error))
    }

    fn remove(&mut self, name: &str) -> Result<(), AuditError> {
        let path = self.path(name);
        match self.runtime.block_on(self.store.delete(&path)) {
            Ok(()) | Err(Error::NotFound { .. }) => Ok(()),
            Err(error) => Err(self.failed("remove", name, &error)),
        }
    }
}

fn next_piece(file: &mut File) -> io::Result<Vec<u8>> {
    let mut piece = Vec::with_capacity(UPLOAD_BYTES);
    file.take(UPLOAD_BYTES as u64).read_to_end(&mut piece)?;
    Ok(piece)
}

fn drafts() -> PathBuf {
    env::var_os("TMPDIR").map_or_else(|| DRAFTS.into(), PathBuf::from)
}

/// A file that is gone when it is closed, or when the process dies.
fn unnamed_file() -> io::Result<File> {
    static NTH: AtomicU64 = AtomicU64::new(0);
    let path = drafts().join(format!(".weir-export-{}-{}", process::id(), NTH.fetch_add(1, Relaxed)));
    let file = File::options().read(true).write(true).create_new(true).mode(0o600).open(&path)?;
    fs::remove_file(&path)?;
    Ok(file)
}

fn client(target: &BucketTarget) -> Result<Arc<dyn ObjectStore>, Error> {
    let access = &target.access;
    let backoff = BackoffConfig::default();
    let retry = RetryConfig { backoff, max_retries: RETRIES_MAX, retry_timeout: RETRY_TIMEOUT };
    let timeout = (ClientConfigKey::Timeout, EXCHANGE_TIMEOUT);
    let http = access.allow_http || access.is_loopback();
    match target.provider {
        Provider::S3 => {
            let mut builder = AmazonS3Builder::from_env().with_bucket_name(&target.bucket).with_retry(retry);
            builder = builder.with_config(AmazonS3ConfigKey::Client(timeout.0), timeout.1);
            for (key, secret) in &access.secrets {
                builder = builder.with_config(key.parse()?, secret.expose());
            }
            builder = access.endpoint.iter().fold(builder, |b, endpoint| b.with_endpoint(endpoint));
            builder = access.region.iter().fold(builder, |b, region| b.with_region(region));
            builder = if http { builder.with_allow_http(true) } else { builder };
            Ok(Arc::new(builder.build()?))
        }
        Provider::Google => {
            let mut builder = GoogleCloudStorageBuilder::from_env().with_bucket_name(&target.bucket).with_retry(retry);
            builder = builder.with_config(GoogleConfigKey::Client(timeout.0), timeout.1);
            for (key, secret) in &access.secrets {
                builder = builder.with_config(key.parse()?, secret.expose());
            }
            builder = access.endpoint.iter().fold(builder, |b, endpoint| b.with_base_url(endpoint));
            let account = access.service_account.as_ref().and_then(|path| path.to_str());
            builder = account.iter().fold(builder, |b, path| b.with_service_account_path(*path));
            if http {
                builder = builder.with_config(GoogleConfigKey::Client(ClientConfigKey::AllowHttp), "true");
            }
            Ok(Arc::new(builder.build()?))
        }
        Provider::Azure => {
            let mut builder = MicrosoftAzureBuilder::from_env().with_container_name(&target.bucket).with_retry(retry);
            builder = builder.with_config(AzureConfigKey::Client(timeout.0), timeout.1);
            for (key, secret) in &access.secrets {
                builder = builder.with_config(key.parse()?, secret.expose());
            }
            builder = access.endpoint.iter().fold(builder, |b, endpoint| b.with_endpoint(endpoint.clone()));
            builder = access.account.iter().fold(builder, |b, account| b.with_account(account));
            builder = if http { builder.with_allow_http(true) } else { builder };
            Ok(Arc::new(builder.build()?))
        }
    }
}
