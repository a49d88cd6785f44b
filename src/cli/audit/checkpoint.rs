//! `weir audit checkpoint` and `weir audit keygen`.

use super::{StoreArgs, Teller, now, print, text};
use crate::control::audit::{self, SigningKey};
use clap::Args;
use std::path::PathBuf;

/// What to sign, and where the signed words go.
#[derive(Args, Clone, Debug)]
pub struct CheckpointArgs {
    #[command(flatten)]
    pub store: StoreArgs,
    /// An Ed25519 private key, PKCS#8 in PEM or DER; keep it away from the gateway's host if you can
    #[arg(long, value_name = "FILE")]
    pub private_key: PathBuf,
    /// Where the checkpoint goes; keep it where nobody who can write the journal can write
    #[arg(long, value_name = "FILE")]
    pub out: PathBuf,
}

/// Where the keys go.
#[derive(Args, Clone, Debug)]
pub struct KeygenArgs {
    /// The private key's file, readable by its owner alone; must not be there yet
    #[arg(long, value_name = "FILE")]
    pub out_private: PathBuf,
    /// The public key's file; must not be there yet
    #[arg(long, value_name = "FILE")]
    pub out_public: PathBuf,
}

pub fn run(args: &CheckpointArgs) -> Result<(), String> {
    let key = SigningKey::read(&args.private_key).map_err(text)?;
    let mut teller = Teller::new("verifying");
    let store = &args.store.store;
    let taken = audit::take_checkpoint(store, &key, &args.out, now(), &mut |at| teller.tell(at)).map_err(text)?;
    print(&format!(
        "signed in {}: the chain is whole from segment {} up to segment {}, byte {}, hash {}\n",
        args.out.display(),
        taken.first_segment,
        taken.segment,
        taken.offset,
        taken.group_hash
    ))
}

pub fn keygen(args: &KeygenArgs) -> Result<(), String> {
    audit::generate_keys(&args.out_private, &args.out_public).map_err(text)?;
    print(&format!("wrote {} and {}\n", args.out_private.display(), args.out_public.display()))
}
