//! Informational answers: our own `100 Continue`, and the upstream's 1xx on their way to the client.

use crate::{
    data::{edge::incoming::Exchange, shard::deadlines::Awaited},
    sys::{buf::Buf, socket::Writer},
    wire::h1::ResponseHead,
};

/// Tells a waiting client that its body is wanted. A client that is gone is noticed by the intake.
pub async fn say_continue(cx: &Exchange<'_>, client: &mut Writer) {
    let _gone = say(cx, client, b"HTTP/1.1 100 Continue\r\n\r\n").await;
}

/// Writes an informational head. A client that reads nothing has as long for it as for any other byte. False if it is gone.
pub async fn say(cx: &Exchange<'_>, client: &mut Writer, head: &[u8]) -> bool {
    let deadlines = &cx.link.deadlines;
    deadlines.arm(Awaited::Write, cx.shard.sweeper.in_(cx.serving.limits.idle_timeout));
    let said = client.write_all(Buf::copy_of(head)).await.is_ok();
    deadlines.disarm(Awaited::Write);
    said
}

/// May an informational answer go on to the client? `100` is between us and the upstream; HTTP/1.0 knows none.
pub fn goes_on(head: &ResponseHead, client_minor_version: u8) -> bool {
    head.status != 100 && client_minor_version >= 1
}
