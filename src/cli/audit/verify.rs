//! `weir audit verify`.

use super::{StoreArgs, Teller, print, text};
use crate::control::{
    audit::{self, BodiesVerified, PublicKey, Verified, VerifyOptions},
    bodies::KeyRing,
};
use clap::Args;
use std::{fmt::Write, path::PathBuf, sync::Arc};

/// What to prove.
#[derive(Args, Clone, Debug)]
pub struct VerifyArgs {
    #[command(flatten)]
    pub store: StoreArgs,
    /// A signed checkpoint: the journal must still contain everything it contained then
    #[arg(long, value_name = "FILE", requires = "public_key")]
    pub checkpoint: Option<PathBuf>,
    /// The public key that the checkpoint's signature must match
    #[arg(long, value_name = "FILE", requires = "checkpoint")]
    pub public_key: Option<PathBuf>,
    /// Accept that the oldest segments the checkpoint knew are gone, as audit.retention drops them
    #[arg(long, requires = "checkpoint")]
    pub aged_out: bool,
    /// A file with the body keys, one a line: stored bodies are checked too, each against its record
    #[arg(long, value_name = "FILE")]
    pub body_key_file: Option<PathBuf>,
}

pub fn run(args: &VerifyArgs) -> Result<(), String> {
    let checkpoint = match (&args.checkpoint, &args.public_key) {
        (Some(file), Some(key)) => {
            Some(audit::read_checkpoint(file, &PublicKey::read(key).map_err(text)?).map_err(text)?)
        }
        _ => None,
    };
    let body_keys = args.body_key_file.as_deref().map(KeyRing::read).transpose()?.map(Arc::new);
    let options = VerifyOptions { store: args.store.store.clone(), checkpoint, aged_out: args.aged_out, body_keys };
    let mut teller = Teller::new("verifying");
    let verified = audit::verify(&options, &mut |at| teller.tell(at)).map_err(text)?;
    print(&report(args, &verified).map_err(text)?)
}

fn report(args: &VerifyArgs, verified: &Verified) -> Result<String, std::fmt::Error> {
    let Verified { first_segment, segments, groups, entries, closes, changes, unknown_entries, bytes, .. } = verified;
    let last_segment = first_segment + segments.saturating_sub(1);
    let mut out = String::new();
    writeln!(out, "the chain is whole: {}", args.store.store.display())?;
    writeln!(out, "  segments   {segments} ({first_segment} to {last_segment}), {bytes} bytes")?;
    writeln!(out, "  groups     {groups}")?;
    let later = if *unknown_entries > 0 { format!(", {unknown_entries} of a later weir") } else { String::new() };
    writeln!(out, "  entries    {entries} ({closes} requests closed, {changes} changes{later})")?;
    match verified.times {
        Some((first, last)) => writeln!(out, "  time       {} to {}", first.rfc3339(), last.rfc3339())?,
        None => writeln!(out, "  time       no entries yet")?,
    }
    let (segment, offset) = (verified.last_segment, verified.last_offset);
    writeln!(out, "  last hash  {} (segment {segment}, byte {offset})", verified.last_hash)?;
    match &verified.begins_behind {
        None => writeln!(out, "  begins     with the first segment ever")?,
        Some(hash) => writeln!(
            out,
            "  begins     with segment {first_segment} of {}; those before it are gone, as audit.retention drops them; \
             the group before had hash {hash}",
            verified.first_created_at.rfc3339()
        )?,
    }
    if let Some(bodies) = &verified.bodies {
        let BodiesVerified { segments, exchanges, dropped, unfinished, without_record, lost } = bodies;
        writeln!(out, "  bodies     {exchanges} exchanges are what their records say ({segments} segments)")?;
        for (count, note) in [
            (dropped, "were dropped for want of room, as their records say"),
            (unfinished, "have no end: they are running, or were when their writer died"),
            (without_record, "have no record: it was lost in a crash, or has aged out"),
            (lost, "are named by records and not here: lost in a crash, or still on their way"),
        ] {
            if *count > 0 {
                writeln!(out, "  bodies     {count} {note}")?;
            }
        }
    }
    for note in &verified.notes {
        writeln!(out, "  note       {note}")?;
    }
    Ok(out)
}
