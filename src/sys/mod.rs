//! The only unsafe code, and the only place that knows the runtime.
//!
//! Above it the data plane sees five calls on sockets (accept, connect, read, write, sleep), pooled buffers, a kill switch
//! and deadlines. Every trap of the runtime (`monoio.md` 2) is handled here: ring flags are always `DEFER_TASKRUN` and
//! `SINGLE_ISSUER`; a read waits without a buffer, and is ended by shutting its socket down, never dropped; an accept is
//! never dropped; a runtime is never dropped, the process exits. Deliberately absent: any knowledge of HTTP.

pub mod affinity;
pub mod buf;
pub mod clock;
pub mod counting;
pub mod heap;
pub mod open_files;
pub mod pages;
pub mod passing;
pub mod probe;
pub mod runtime;
pub mod sides;
pub mod socket;
pub mod terminal;
pub mod tls;
