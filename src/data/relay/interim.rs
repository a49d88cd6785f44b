//! Informational answers: our own `100 Continue`, and the upstream's 1xx on their way to the client.

use crate::{
    sys::{buf::Buf, socket::Writer},
    wire::h1::ResponseHead,
};

/// Tells a waiting client that its body is wanted. A client that is gone is noticed by the intake.
pub async fn say_continue(client: &mut Writer) {
    let _gone = client.write_all(Buf::copy_of(b"HTTP/1.1 100 Continue\r\n\r\n")).await;
}

/// May an informational answer go on to the client? `100` is between us and the upstream; HTTP/1.0 knows none.
pub fn goes_on(head: &ResponseHead, client_minor_version: u8) -> bool {
    head.status != 100 && client_minor_version >= 1
}
