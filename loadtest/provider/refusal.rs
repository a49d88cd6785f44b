//! Each provider's own refusals (contract.md §2.5): AWS's exceptions, Google's statuses, Azure's platform codes; and the frames
//! that end a stream of Bedrock's.

use crate::kernel::record::Format;
use crate::wire::eventstream;

use super::answer::JsonReply;
use super::cloud;
use super::conn::Conn;
use super::exchange::{After, Exchange};
use super::message::quoted;
use super::reply;
use super::script::{Cut, Script, StatusScript};

/// An error by its provider's name, its status, and what it says when the script does not.
type Row = (&'static str, u16, &'static str);

const AWS: [Row; 16] = [
    ("ValidationException", 400, "Malformed input request"),
    ("ServiceQuotaExceededException", 400, "Too many tokens per day, please wait before trying again."),
    ("AccessDeniedException", 403, "You don't have access to the model with the specified model ID."),
    ("UnrecognizedClientException", 403, "The security token included in the request is invalid."),
    ("InvalidSignatureException", 403, "The request signature we calculated does not match."),
    ("ExpiredTokenException", 403, "The security token included in the request is expired"),
    ("MissingAuthenticationTokenException", 403, "Missing Authentication Token"),
    ("ResourceNotFoundException", 404, "Could not resolve the foundation model from the provided model identifier."),
    ("ModelTimeoutException", 408, "Model has timed out in processing the request."),
    ("ModelErrorException", 424, "The system encountered an unexpected error during processing."),
    ("ModelStreamErrorException", 424, "The model stream broke."),
    ("ThrottlingException", 429, "Too many requests, please wait before trying again."),
    ("ModelNotReadyException", 429, "Model is not ready for inference. Wait and try your request again."),
    ("InternalServerException", 500, "The system encountered an unexpected error during processing."),
    ("ServiceUnavailableException", 503, "Bedrock is unable to process your request."),
    ("ConflictException", 409, "The request conflicts with the state of the resource."),
];

const GOOGLE: [Row; 11] = [
    ("INVALID_ARGUMENT", 400, "Request contains an invalid argument."),
    ("FAILED_PRECONDITION", 400, "Publisher Model is not servable in region us-east5."),
    ("UNAUTHENTICATED", 401, "Request had invalid authentication credentials."),
    ("PERMISSION_DENIED", 403, "Permission 'aiplatform.endpoints.predict' denied."),
    ("NOT_FOUND", 404, "Publisher Model was not found."),
    ("ABORTED", 409, "The operation was aborted."),
    ("RESOURCE_EXHAUSTED", 429, "Quota exceeded for aiplatform.googleapis.com."),
    ("CANCELLED", 499, "The operation was cancelled."),
    ("INTERNAL", 500, "Internal error encountered."),
    ("UNAVAILABLE", 503, "The service is currently unavailable."),
    ("DEADLINE_EXCEEDED", 504, "Deadline expired before operation could complete."),
];

fn row(rows: &'static [Row], name: &str) -> Row {
    let unknown = ("InternalFailure", 500, "Something unexpected happened");
    rows.iter().find(|row| row.0.eq_ignore_ascii_case(name)).copied().unwrap_or(unknown)
}

/// The status of the error that a script asks for instead of an answer. An exception in a stream is none.
pub(super) fn status(script: &Script) -> Option<u16> {
    let named = &script.status;
    let in_stream = matches!(script.fault.cut, Some((Cut::Error, _)));
    let of_name = match named {
        StatusScript { exception: Some(name), .. } if !in_stream => Some(row(&AWS, name).1),
        StatusScript { google: Some(name), .. } => Some(row(&GOOGLE, name).1),
        StatusScript { code: Some(code), .. } => Some(code.parse().unwrap_or(400)),
        _ => None,
    };
    named.status.or(of_name).filter(|status| *status != 200)
}

/// An error's body and header lines, in the words of the layer that the script names.
fn of_layer(script: &StatusScript, status: u16) -> Option<(Vec<u8>, String)> {
    let text = |row: Row| quoted(script.message.as_deref().unwrap_or(row.2));
    if let Some(name) = &script.exception {
        // Some layers write the address of their schema behind the name.
        let lines = format!("x-amzn-ErrorType: {name}:http://internal.amazon.com/coral/com.amazon.bedrock/\r\n");
        return Some((format!(r#"{{"message":{}}}"#, text(row(&AWS, name))).into_bytes(), lines));
    }
    if let Some(name) = &script.google {
        let message = text(row(&GOOGLE, name));
        let error = format!(
            r#"{{"error":{{"code":{status},"message":{message},"status":"{name}","details":[{{"@type":"type.googleapis.com/google.rpc.ErrorInfo"}}]}}}}"#
        );
        return Some((if script.wrapped { format!("[{error}\n]") } else { error }.into_bytes(), String::new()));
    }
    let code = script.code.as_ref()?;
    let message = quoted(script.message.as_deref().unwrap_or("Requests have exceeded the call rate limit."));
    let body = format!(r#"{{"error":{{"code":"{code}","message":{message}}}}}"#).into_bytes();
    Some((body, "apim-request-id: 8f2c1d3e-0000-4000-8000-000000000001\r\n".to_owned()))
}

impl Exchange<'_> {
    /// Answers with the error that a script asks for.
    pub(super) async fn scripted_error(&mut self, conn: &mut Conn, script: &Script, status: u16) -> After {
        let (body, lines) = of_layer(&script.status, status).unwrap_or_else(|| {
            let message = script.status.message.as_deref().unwrap_or(reply::default_message(status));
            (self.error_body(status, message, script.status.error_code.as_deref()), self.error_lines(status))
        });
        let extra = reply::retry_lines(&script.status) + &lines;
        let (close, ratelimits) = (script.status.early_close, status == 429 && self.format == Format::Anthropic);
        self.json(conn, script, JsonReply { status, body, extra, ratelimits, close }).await
    }
}

/// The frame that ends a broken stream: the exception of the script, or an error that the stream's description does not know.
pub(super) fn frame(script: &StatusScript) -> Vec<u8> {
    let name = script.exception.as_deref().unwrap_or("ThrottlingException");
    let known = row(&AWS, name);
    let message = script.message.as_deref().unwrap_or(known.2);
    let mut out = Vec::new();
    if known.0 == "InternalFailure" {
        let headers = [(":error-code", name), (":error-message", message), (":message-type", "error")];
        eventstream::encode(&mut out, &headers, b"");
        return out;
    }
    let mut kind = name.to_owned();
    if let Some(first) = kind.get_mut(..1) {
        first.make_ascii_lowercase();
    }
    let headers =
        [(":exception-type", kind.as_str()), (":content-type", "application/json"), (":message-type", "exception")];
    eventstream::encode(&mut out, &headers, &cloud::error_json(message));
    out
}
