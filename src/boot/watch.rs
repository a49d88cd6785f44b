//! Reloading when a file changes, where `[reload] watch = true` asks for it: the configuration, and every file that it names.
//!
//! Files are looked at once a second, by their metadata first, through symbolic links (a mounted ConfigMap swaps one), and read only
//! if that has changed. A change counts when it has stood still for a second, so that a file half written is not taken. What cannot be
//! taken is said once, by the reload, and the old configuration stays.

use super::plane::Plane;
use crate::control::{admin::ReloadSender, changes::Actor};
use aws_lc_rs::digest::{SHA256, digest};
use std::{
    collections::HashMap,
    fs,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

/// How often files are looked at.
const LOOK: Duration = Duration::from_secs(1);

/// What tells that a file may have another content: device, inode, length, and when it was changed, to the nanosecond.
type Mark = (u64, u64, u64, i64, i64);

#[derive(Clone, PartialEq, Eq)]
struct Seen {
    mark: Mark,
    content: Vec<u8>,
}

/// The files as they were looked at last.
#[derive(Clone, Default, PartialEq, Eq)]
struct Files(HashMap<PathBuf, Seen>);

impl Files {
    /// Looks at these; what has the same mark as before is not read again.
    fn look(paths: &[PathBuf], before: &Self) -> Self {
        let seen = paths.iter().filter_map(|path| Some((path.clone(), look(path, before.0.get(path))?)));
        Self(seen.collect())
    }

    /// Does this file have that SHA-256, hexadecimal?
    fn is(&self, hexadecimal: &str, file: Option<&PathBuf>) -> bool {
        let seen = file.and_then(|file| self.0.get(file));
        seen.is_some_and(|seen| {
            seen.content.iter().map(|byte| format!("{byte:02x}")).collect::<String>() == hexadecimal
        })
    }

    fn says_the_same(&self, other: &Self) -> bool {
        let same = |(path, seen): (&PathBuf, &Seen)| other.0.get(path).is_some_and(|o| o.content == seen.content);
        self.0.len() == other.0.len() && self.0.iter().all(same)
    }
}

/// None for what is no file, or cannot be read: that is a content, too.
fn look(path: &Path, before: Option<&Seen>) -> Option<Seen> {
    let about = fs::metadata(path).ok().filter(fs::Metadata::is_file)?;
    let mark = (about.dev(), about.ino(), about.len(), about.mtime(), about.mtime_nsec());
    if let Some(seen) = before.filter(|seen| seen.mark == mark) {
        return Some(seen.clone());
    }
    let content = digest(&SHA256, &fs::read(path).ok()?).as_ref().to_vec();
    Some(Seen { mark, content })
}

/// Reloads whenever files have changed, as long as that is configured.
pub(super) async fn watch(plane: Arc<Plane>, reload: ReloadSender) {
    // As they were when the configuration in force was read, as far as that is known; and at the last look.
    let (mut taken, mut last) = (None::<Files>, Files::default());
    loop {
        tokio::time::sleep(LOOK).await;
        let Some(paths) = plane.watched() else {
            taken = None;
            continue;
        };
        let before = last.clone();
        let Ok(now) = tokio::task::spawn_blocking(move || Files::look(&paths, &before)).await else { continue };
        let (still, settled) = (now.says_the_same(&last), now.clone());
        last = now;
        let Some(known) = &taken else {
            // The first look may come after a change: the file must be the one that was read.
            let same = settled.is(plane.config().outline.digest(), plane.watched().unwrap_or_default().first());
            taken = Some(if same { settled } else { Files::default() });
            continue;
        };
        if still && !settled.says_the_same(known) {
            tracing::info!("a file of the configuration has changed");
            // It says itself what came of it.
            let _told = reload.reload(Actor::WATCH).await;
            // Another configuration may name other files.
            if let Some(paths) = plane.watched() {
                let before = last.clone();
                if let Ok(now) = tokio::task::spawn_blocking(move || Files::look(&paths, &before)).await {
                    // What has changed again while it was read is a change.
                    let as_read =
                        |(path, seen): (&PathBuf, &Seen)| (path.clone(), settled.0.get(path).unwrap_or(seen).clone());
                    taken = Some(Files(now.0.iter().map(as_read).collect()));
                    last = now;
                    continue;
                }
            }
            taken = Some(settled);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    #[test]
    fn a_swapped_link_a_renamed_file_or_a_secret_is_not_seen() {
        let directory = tempfile::tempdir().unwrap();
        let at = |name: &str| directory.path().join(name);
        fs::create_dir(at("one")).unwrap();
        fs::create_dir(at("two")).unwrap();
        fs::write(at("one/weir.toml"), "a").unwrap();
        fs::write(at("two/weir.toml"), "b").unwrap();
        fs::write(at("secret"), "s").unwrap();
        symlink(at("one"), at("data")).unwrap();
        let paths = [at("data/weir.toml"), at("secret"), at("nowhere"), directory.path().into()];
        let first = Files::look(&paths, &Files::default());
        assert!(first.0.len() == 2 && first.says_the_same(&Files::look(&paths, &first)));
        // As a mounted ConfigMap does it.
        symlink(at("two"), at("data.new")).unwrap();
        fs::rename(at("data.new"), at("data")).unwrap();
        let swapped = Files::look(&paths, &first);
        assert!(!swapped.says_the_same(&first));
        // As editors do it: of the same length.
        fs::write(at("secret.new"), "t").unwrap();
        fs::rename(at("secret.new"), at("secret")).unwrap();
        let renamed = Files::look(&paths, &swapped);
        assert!(!renamed.says_the_same(&swapped));
        // Touched, and the same.
        fs::write(at("secret"), "t").unwrap();
        assert!(Files::look(&paths, &renamed).says_the_same(&renamed));
        fs::remove_file(at("secret")).unwrap();
        assert!(!Files::look(&paths, &renamed).says_the_same(&renamed));
    }
}
