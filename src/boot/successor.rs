//! Starting the process that replaces this one: the same command with `--replace`, of the program that lies there now.

use crate::sys::passing;
use std::{env, process::Command, thread};

/// The option that makes a process take over.
const REPLACE: &str = "--replace";

/// Starts it. It takes over by itself once it can serve; until then, and if it cannot, nothing changes here.
pub(super) fn start() {
    let mut arguments = env::args_os();
    let Some(program) = arguments.next() else { return };
    let mut command = Command::new(program);
    command.args(arguments.filter(|argument| argument != REPLACE)).arg(REPLACE);
    // The sockets come over the hand-over, not from the service manager.
    for variable in ["LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES"] {
        command.env_remove(variable);
    }
    match passing::close_on_exec(&mut command).spawn() {
        Ok(mut child) => {
            tracing::info!(process = child.id(), "SIGUSR2: started the process that is to replace this one");
            // Somebody must wait for it; a process that has taken over outlives this one.
            let wait = move || match child.wait() {
                Ok(status) => {
                    tracing::error!(%status, "the process that was to replace this one has ended; see its log")
                }
                Err(error) => tracing::error!(%error, "the process that was to replace this one cannot be waited for"),
            };
            if let Err(error) = thread::Builder::new().name("weir-successor".to_owned()).spawn(wait) {
                tracing::error!(%error, "cannot start a thread");
            }
        }
        Err(error) => tracing::error!(%error, "SIGUSR2: the process that is to replace this one cannot be started"),
    }
}
