//! `keys.json`: a versioned JSON document, replaced whole.

use super::entry::MadeKey;
use crate::kernel::{
    keys::{KeyDigest, Retiring},
    policy::Pattern,
};
use serde::{Deserialize, Serialize};
use std::{
    collections::BTreeMap,
    fmt,
    fs::{self, File, OpenOptions},
    io::{self, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

/// The file's name in the store.
pub(super) const FILE_NAME: &str = "keys.json";
/// What it is called while it is being written.
const NEW_FILE_NAME: &str = "keys.json.new";
/// The only version there is so far.
const VERSION: u32 = 1;

/// The file of keys cannot be used.
#[derive(Debug)]
pub struct StoreError {
    path: PathBuf,
    what: String,
}

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "the keys in {} cannot be used: {}; mend it, put a copy of it there, or move it away to start without keys made \
             at run time",
            self.path.display(),
            self.what
        )
    }
}

impl std::error::Error for StoreError {}

#[derive(Deserialize)]
struct Header {
    version: u32,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    version: u32,
    keys: Vec<Stored>,
}

/// Times are Unix seconds, digests 64 hexadecimal digits.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Stored {
    id: String,
    sha256: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    previous: Option<StoredPrevious>,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    user: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    team: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    project: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    models: Option<Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    expires: Option<i64>,
    created_at: i64,
    created_by: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    revoked_at: Option<i64>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct StoredPrevious {
    sha256: String,
    valid_until: i64,
}

impl Stored {
    fn of(key: &MadeKey) -> Self {
        let texts = |list: &Vec<Pattern>| list.iter().map(|pattern| pattern.as_str().to_owned()).collect();
        let previous = key.previous.map(|old| StoredPrevious { sha256: old.digest.to_hex(), valid_until: old.until });
        Self {
            id: key.id.clone(),
            sha256: key.digest.to_hex(),
            previous,
            user: key.user.clone(),
            team: key.team.clone(),
            project: key.project.clone(),
            models: key.models.as_ref().map(texts),
            expires: key.expires,
            created_at: key.created_at,
            created_by: key.created_by.clone(),
            revoked_at: key.revoked_at,
        }
    }

    fn read(self) -> Result<MadeKey, String> {
        let digest = |hex: &str| KeyDigest::from_hex(hex).ok_or(format!("key \"{}\" has a broken digest", self.id));
        let previous = match &self.previous {
            Some(old) => Some(Retiring { digest: digest(&old.sha256)?, until: old.valid_until }),
            None => None,
        };
        Ok(MadeKey {
            digest: digest(&self.sha256)?,
            previous,
            models: self.models.map(|texts| texts.iter().map(|text| Pattern::new(text)).collect()),
            id: self.id,
            user: self.user,
            team: self.team,
            project: self.project,
            expires: self.expires,
            created_at: self.created_at,
            created_by: self.created_by,
            revoked_at: self.revoked_at,
        })
    }
}

/// Reads the keys; none if there is no file yet.
pub(super) fn load(directory: &Path) -> Result<BTreeMap<String, MadeKey>, StoreError> {
    let path = directory.join(FILE_NAME);
    let bytes = match fs::read(&path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(BTreeMap::new()),
        Err(error) => return Err(StoreError { path, what: error.to_string() }),
    };
    read(&bytes).map_err(|what| StoreError { path, what })
}

fn read(bytes: &[u8]) -> Result<BTreeMap<String, MadeKey>, String> {
    let broken = |error: serde_json::Error| format!("it is damaged: {error}");
    let Header { version } = serde_json::from_slice(bytes).map_err(broken)?;
    if version != VERSION {
        return Err(format!("it has version {version}, this weir knows version {VERSION}"));
    }
    let document: Document = serde_json::from_slice(bytes).map_err(broken)?;
    let mut keys = BTreeMap::new();
    let mut digests = std::collections::HashSet::new();
    for stored in document.keys {
        let key = stored.read()?;
        let own = [Some(key.digest), key.previous.map(|old| old.digest)];
        if !own.into_iter().flatten().all(|digest| digests.insert(digest.0)) {
            return Err(format!("the secret of key \"{}\" is there twice", key.id));
        }
        if let Some(twice) = keys.insert(key.id.clone(), key) {
            return Err(format!("key \"{}\" is there twice", twice.id));
        }
    }
    Ok(keys)
}

/// Replaces the file: whatever happens, the old one or the new one is there, whole. Returns when it is on disk.
pub(super) fn save<'a>(directory: &Path, keys: impl Iterator<Item = &'a MadeKey>) -> io::Result<()> {
    let document = Document { version: VERSION, keys: keys.map(Stored::of).collect() };
    let bytes = serde_json::to_vec(&document)?;
    let new = directory.join(NEW_FILE_NAME);
    match fs::remove_file(&new) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&new)?;
    file.write_all(&bytes)?;
    file.write_all(b"\n")?;
    file.sync_all()?;
    fs::rename(&new, directory.join(FILE_NAME))?;
    File::open(directory)?.sync_all()
}
