//! `weir audit body`: what a request and its answer said, where the audit stores that.

use super::{StoreArgs, heard, text};
use crate::{
    control::{
        audit::{self, Show},
        bodies::KeyRing,
    },
    kernel::ids::RequestId,
};
use clap::Args;
use std::{
    io::{self, BufWriter, Write},
    path::PathBuf,
};

/// Whose bodies, and what they are decrypted with.
#[derive(Args, Clone, Debug)]
pub struct BodyArgs {
    #[command(flatten)]
    pub store: StoreArgs,
    /// The request, as `x-weir-request-id` and the records name it
    #[arg(value_name = "REQUEST_ID")]
    pub request_id: String,
    /// A file with the body keys, one a line: the one of audit.body_key, and those before it
    #[arg(long, value_name = "FILE")]
    pub body_key_file: PathBuf,
    /// Only what the client sent
    #[arg(long, conflicts_with = "response")]
    pub request: bool,
    /// Only what it got
    #[arg(long)]
    pub response: bool,
}

pub fn run(args: &BodyArgs) -> Result<(), String> {
    let digits = args.request_id.strip_prefix("req_").filter(|digits| digits.len() == 32);
    let id = digits.and_then(|digits| u128::from_str_radix(digits, 16).ok()).map(RequestId);
    let id = id.ok_or_else(|| format!("`{}` is no request id; it looks like req_ and 32 digits", args.request_id))?;
    let keys = KeyRing::read(&args.body_key_file)?;
    let show = Show { request: !args.response, response: !args.request };
    let mut out = BufWriter::new(io::stdout().lock());
    let shown = audit::show_body(&args.store.store, id, &keys, show, &mut out).map_err(text)?;
    heard(out.flush())?;
    match shown {
        None => Err(format!(
            "nothing of {id} is stored in {}; its record says why: weir audit query --request-id {id} --format json (body)",
            args.store.store.display()
        )),
        Some(end) => {
            let notes = match end {
                None => vec!["it is still running, or was when its writer died: there may be more"],
                Some(end) => [
                    (end.dropped, "a part of it was dropped for want of room (audit.on_body_overflow)"),
                    (end.request.cut, "the request's body broke off, or was not wanted to its end"),
                    (end.response.cut, "the answer's body broke off"),
                ]
                .into_iter()
                .filter_map(|(is_so, note)| is_so.then_some(note))
                .collect(),
            };
            notes.iter().for_each(|note| eprintln!("weir: {note}"));
            Ok(())
        }
    }
}
