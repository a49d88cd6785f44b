//! Where exports go to and are read back from: an S3 server and DuckDB, both installed by `.ci/install-clients`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use tempfile::TempDir;

use crate::install::{clients_dir, install_clients};
use crate::support::DEADLINE;
use crate::support::http;
use crate::support::process::Server;

/// The one bucket of an [`S3`].
pub const BUCKET: &str = "exports";
/// What a program needs to know to write into an [`S3`], besides where it is.
pub const CREDENTIALS: [(&str, &str); 3] =
    [("AWS_ACCESS_KEY_ID", "tests"), ("AWS_SECRET_ACCESS_KEY", "tests"), ("AWS_REGION", "us-east-1")];

/// A Python script beside this file, with the packages that are installed for it.
fn python(script: &str) -> Command {
    install_clients();
    let mut command = Command::new(clients_dir().join("python/bin/python"));
    command.arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/export").join(script)).stdin(Stdio::null());
    command
}

fn output_of(mut command: Command) -> String {
    let Output { status, stdout, stderr } = command.output().expect("Python runs");
    assert!(status.success(), "{command:?} ended with {status}:\n{}", String::from_utf8_lossy(&stderr));
    String::from_utf8(stdout).expect("UTF-8")
}

/// Rows of a query; NULL is `None`.
pub fn query(sql: &str) -> Vec<Vec<Option<String>>> {
    let mut command = python("warehouse.py");
    command.args(["query", sql]);
    output_of(command).lines().map(|line| serde_json::from_str(line).expect("a row")).collect()
}

/// All parts of an export as a relation for [`query`].
pub fn parts(directory: &Path, format: &str) -> String {
    let files = format!("'{}/day=*/part-*.{format}'", directory.display());
    match format {
        "parquet" => format!("read_parquet({files}, hive_partitioning = true)"),
        _ => format!("read_json({files}, format = 'newline_delimited', hive_partitioning = true, sample_size = -1)"),
    }
}

/// Records, different request ids among them, and what they cost, in an export's parts.
pub fn counted(directory: &Path, format: &str) -> (u64, u64, String) {
    let sql = format!(
        "SELECT count(*), count(DISTINCT request_id), sum(CAST(cost_usd AS DECIMAL(18,9))) FROM {}",
        parts(directory, format)
    );
    let mut row = query(&sql).remove(0).into_iter().map(Option::unwrap_or_default);
    let mut next = || row.next().expect("three columns");
    let mut number = || next().parse().expect("a number");
    (number(), number(), next())
}

/// A running S3 server with an empty bucket.
pub struct S3 {
    _server: Server,
    url: String,
    addr: std::net::SocketAddr,
    _dir: TempDir,
}

impl S3 {
    pub fn start() -> S3 {
        let dir = TempDir::with_prefix("s3-").expect("a temporary directory");
        let mut command = python("s3_server.py");
        command.arg(BUCKET);
        let server = Server::spawn(command, &dir.path().join("stderr.log"), "s3: ready ", DEADLINE);
        let addr = server.address("ready ");
        S3 { _server: server, url: format!("http://{addr}"), addr, _dir: dir }
    }

    pub fn url(&self) -> &str {
        &self.url
    }

    /// The names of all objects; moto lists them to everybody.
    pub fn objects(&self) -> Vec<String> {
        let answer = http::request(self.addr, "GET", &format!("/{BUCKET}?list-type=2"), &[], b"");
        assert_eq!(answer.status, 200, "{}", answer.text());
        let text = answer.text();
        let keys = text.split("<Key>").skip(1).filter_map(|rest| rest.split("</Key>").next());
        keys.map(str::to_owned).collect()
    }

    /// Every object as a file; returns the folder.
    pub fn copy(&self, directory: &Path) -> PathBuf {
        // What an earlier copy brought and the bucket no longer has must not be read again.
        if directory.exists() {
            fs::remove_dir_all(directory).expect("removed");
        }
        let mut command = python("warehouse.py");
        command.args(["copy", self.url(), BUCKET]).arg(directory);
        output_of(command);
        directory.to_owned()
    }
}
