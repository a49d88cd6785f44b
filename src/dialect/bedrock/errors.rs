//! How a fault is said in format B (contract.md §2.5): the exception in a header, `{"message":…}` as the body.

use super::super::{
    answer::Answer,
    errors::{message, pacing},
};
use crate::{
    kernel::{
        fault::{Fault, FaultKind},
        ids::RequestId,
    },
    wire::eventstream,
};
use serde_json::json;

/// Status and exception of a fault. A bad key is 401, by which Claude Code runs its key helper again; a signature is 403, as
/// AWS itself answers.
pub fn status_and_exception(kind: &FaultKind) -> (u16, &'static str) {
    match kind {
        FaultKind::BadHead(status) => (*status, "ValidationException"),
        FaultKind::BadBody => (400, "ValidationException"),
        FaultKind::Unauthenticated | FaultKind::TokenKeyUnknown | FaultKind::KeyRevoked => {
            (401, "UnrecognizedClientException")
        }
        FaultKind::SignedByClient => (403, "InvalidSignatureException"),
        FaultKind::Denied => (403, "AccessDeniedException"),
        FaultKind::NotFound => (404, "ResourceNotFoundException"),
        FaultKind::MethodNotAllowed(_) => (405, "ValidationException"),
        FaultKind::BodyTooLarge => (413, "ValidationException"),
        FaultKind::ClientTimeout => (408, "ValidationException"),
        FaultKind::ClientGone | FaultKind::Superseded => (499, "ValidationException"),
        FaultKind::BudgetSpent(_) | FaultKind::BudgetBusy | FaultKind::RateLimited { .. } => {
            (429, "ThrottlingException")
        }
        FaultKind::Overloaded | FaultKind::UpstreamUnreachable | FaultKind::UpstreamBroken => {
            (503, "ServiceUnavailableException")
        }
        FaultKind::UpstreamTimeout => (408, "ModelTimeoutException"),
        FaultKind::UpstreamCredential | FaultKind::Internal => (500, "InternalServerException"),
    }
}

/// The answer to a fault.
pub fn answer(fault: &Fault, id: RequestId, now_seconds: i64) -> Answer {
    let (status, exception) = status_and_exception(&fault.kind);
    let answer = Answer::json(status, json!({ "message": message(fault) }).to_string().into_bytes())
        .with("x-amzn-errortype", exception)
        .with("x-amzn-requestid", uuid(id));
    pacing(answer, fault, now_seconds)
}

/// The frame that ends a stream: only the exceptions that the stream's own description has (contract.md §4.4).
pub fn exception(fault: &Fault) -> Vec<u8> {
    let kind = match status_and_exception(&fault.kind).1 {
        "ThrottlingException" => "throttlingException",
        "ServiceUnavailableException" => "serviceUnavailableException",
        "ModelTimeoutException" => "modelTimeoutException",
        "ValidationException" => "validationException",
        _ => "internalServerException",
    };
    exception_frame(kind, &fault.text)
}

/// A frame for an exception, by the name it has in a stream.
pub fn exception_frame(kind: &str, text: &str) -> Vec<u8> {
    let headers = [(":exception-type", kind), (":content-type", "application/json"), (":message-type", "exception")];
    let mut out = Vec::with_capacity(256);
    eventstream::encode(&mut out, &headers, json!({ "message": text }).to_string().as_bytes());
    out
}

/// A request id as AWS writes them.
pub fn uuid(id: RequestId) -> String {
    let hex = format!("{:032x}", { id.0 });
    [&hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]].join("-")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::fault::Room;
    use aws_smithy_eventstream::frame::read_message_from;

    #[test]
    fn a_client_of_bedrock_never_reads_another_dialect() {
        let fault = Fault::new(Room::Gate, FaultKind::RateLimited { retry_after_seconds: 7 }, "too many requests");
        let answer = answer(&fault, RequestId(7), 0);
        assert_eq!((answer.status, &answer.body[..]), (429, &br#"{"message":"too many requests"}"#[..]));
        for header in [
            ("x-amzn-errortype", "ThrottlingException"),
            ("x-amzn-requestid", "00000000-0000-0000-0000-000000000007"),
            ("retry-after", "7"),
        ] {
            assert!(answer.headers.contains(&(header.0, header.1.to_owned())), "{header:?}");
        }
    }

    #[test]
    fn a_broken_stream_ends_in_a_frame_that_another_codec_reads() {
        let fault = Fault::new(Room::Relay, FaultKind::UpstreamTimeout, "too slow");
        let frame = exception(&fault);
        let message = read_message_from(&frame[..]).unwrap();
        let header = |name: &str| {
            let found = message.headers().iter().find(|h| h.name().as_str() == name);
            found.map(|h| h.value().as_string().unwrap().as_str().to_owned())
        };
        assert_eq!(header(":exception-type").as_deref(), Some("modelTimeoutException"));
        assert_eq!(header(":message-type").as_deref(), Some("exception"));
        assert_eq!(message.payload().as_ref(), br#"{"message":"too slow"}"#);
    }
}
