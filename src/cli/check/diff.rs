//! `weir check --diff`: what a reload would change, without doing it. Secrets are compared and never shown.

use super::{BAD_CONFIG, CheckArgs, report};
use crate::{
    cli::client::{Client, print},
    control::config::{self, Config, difference, needs_new_process},
};
use serde_json::Value;
use std::{io, path::Path, process::ExitCode};

/// There is a difference.
const DIFFERENT: u8 = 3;

/// Compares, and says by the exit code what was found.
pub(super) fn run(args: &CheckArgs) -> ExitCode {
    let Some(new) = load(&args.config) else { return ExitCode::from(BAD_CONFIG) };
    let (old, changed) = match &args.against {
        Some(file) => {
            let Some(old) = load(file) else { return ExitCode::from(BAD_CONFIG) };
            (file.display().to_string(), old.outline.changes_to(&new.outline))
        }
        None => match running(args, &new) {
            Ok(changed) => (format!("the gateway at {}", args.gateway.admin), changed),
            Err(error) => {
                eprintln!("weir: {error}");
                return ExitCode::FAILURE;
            }
        },
    };
    let lines = difference(&changed);
    let mut text = match lines.len() {
        0 => format!("{} says the same as {old}\n", args.config.display()),
        _ => format!("{} against {old}:\n", args.config.display()),
    };
    lines.iter().for_each(|line| text.push_str(&format!("  {line}\n")));
    let fixed = needs_new_process(&changed);
    if !fixed.is_empty() {
        let moved = fixed.iter().any(|field| field == "listen.clients" || field == "listen.admin");
        let how = if moved { "a stop and a start" } else { "weir serve --replace" };
        text.push_str(&format!("not by a reload, but by {how}: {}\n", fixed.join(", ")));
    }
    match print(&text) {
        Ok(()) if lines.is_empty() => ExitCode::SUCCESS,
        Ok(()) => ExitCode::from(DIFFERENT),
        Err(_) => ExitCode::FAILURE,
    }
}

fn load(path: &Path) -> Option<Config> {
    match config::load(path) {
        Ok(config) => Some(config),
        Err(errors) => {
            // Who cannot read it has the exit code.
            let _told = report(path, &errors, &mut io::stderr().lock());
            None
        }
    }
}

/// Asks the running gateway, which reads its own file: secrets of its environment are compared where they are.
fn running(args: &CheckArgs, new: &Config) -> Result<Value, String> {
    let client = Client::new(&args.gateway.admin, &args.gateway.token())?;
    let answer = client.send("POST", "/admin/v1/reload?dry_run=true", String::new())?;
    let told: Value = serde_json::from_str(&answer).map_err(|error| format!("the gateway's answer: {error}"))?;
    if told["file_sha256"] != new.outline.digest() {
        let file = told["file"].as_str().unwrap_or("no file");
        return Err(format!(
            "{} is not what the gateway would read at a reload ({file}); give that file, or compare two files with --against",
            args.config.display()
        ));
    }
    Ok(told["changed"].clone())
}
