//! Where the pinned clients are, and how they get there.

use std::path::{Path, PathBuf};
use std::process::Command;

/// The folder of the installed clients: beside cargo's other output.
pub fn clients_dir() -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).parent().expect("the target directory").join("clients")
}

/// Installs what is missing, so that `cargo test` alone is enough on a fresh machine. The script takes a file lock, so
/// tests that start at once install once.
pub fn install_clients() {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join(".ci/install-clients");
    let output = Command::new(&script).arg(clients_dir()).output().expect("the installer starts");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{} ended with {}:\n{said}", script.display(), output.status);
}
