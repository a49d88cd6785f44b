//! Errors on their way to a client of another format (contract.md §2.5, §3.5): the status and the type change, the words stay,
//! because clients recover by them; but for what names an account of the gateway's.

use crate::{
    dialect::bedrock::errors::{exception_frame, uuid},
    kernel::{ids::RequestId, record::Format},
};
use serde_json::{Value, json};

/// What an error is, whatever it is called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Class {
    Bad,
    Unauthenticated,
    Billing,
    Denied,
    NotFound,
    Conflict,
    TooLarge,
    Throttled,
    Overloaded,
    Timeout,
    Internal,
}

struct Names {
    class: Class,
    anthropic: (u16, &'static str),
    bedrock: (u16, &'static str),
    google: (u16, &'static str),
}

const fn names(
    class: Class,
    anthropic: (u16, &'static str),
    bedrock: (u16, &'static str),
    google: (u16, &'static str),
) -> Names {
    Names { class, anthropic, bedrock, google }
}

/// One row for each class; of several names for one thing the first is the one that weir says.
#[rustfmt::skip]
static NAMES: [Names; 11] = [
    names(Class::Bad, (400, "invalid_request_error"), (400, "ValidationException"), (400, "INVALID_ARGUMENT")),
    names(Class::Unauthenticated, (401, "authentication_error"), (403, "UnrecognizedClientException"), (401, "UNAUTHENTICATED")),
    names(Class::Billing, (402, "billing_error"), (429, "ThrottlingException"), (429, "RESOURCE_EXHAUSTED")),
    names(Class::Denied, (403, "permission_error"), (403, "AccessDeniedException"), (403, "PERMISSION_DENIED")),
    names(Class::NotFound, (404, "not_found_error"), (404, "ResourceNotFoundException"), (404, "NOT_FOUND")),
    names(Class::Conflict, (409, "conflict_error"), (409, "ConflictException"), (409, "ABORTED")),
    names(Class::TooLarge, (413, "request_too_large"), (413, "ValidationException"), (413, "INVALID_ARGUMENT")),
    names(Class::Throttled, (429, "rate_limit_error"), (429, "ThrottlingException"), (429, "RESOURCE_EXHAUSTED")),
    names(Class::Overloaded, (529, "overloaded_error"), (503, "ServiceUnavailableException"), (503, "UNAVAILABLE")),
    names(Class::Timeout, (504, "timeout_error"), (408, "ModelTimeoutException"), (504, "DEADLINE_EXCEEDED")),
    names(Class::Internal, (500, "api_error"), (500, "InternalServerException"), (500, "INTERNAL")),
];

/// An answer as it goes to the client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Said {
    /// Its status.
    pub status: u16,
    /// Its body, JSON.
    pub body: Vec<u8>,
    /// Header lines that belong to it.
    pub lines: String,
}

/// Says an upstream's error in the client's format. `error_type`: `x-amzn-errortype`, where there is one.
pub fn translate(to: Format, status: u16, error_type: &[u8], body: &[u8], id: RequestId) -> Said {
    let read = Read::of(status, error_type, body);
    let names = names_of(read.class);
    let (status, body) = match to {
        Format::Anthropic => {
            let error = match read.details {
                Some(details) => json!({ "type": names.anthropic.1, "message": read.message, "details": details }),
                None => json!({ "type": names.anthropic.1, "message": read.message }),
            };
            (names.anthropic.0, json!({ "type": "error", "error": error, "request_id": id.to_string() }))
        }
        Format::Bedrock => (names.bedrock.0, json!({ "message": read.message })),
        Format::Vertex => {
            let error = json!({ "code": names.google.0, "message": read.message, "status": names.google.1 });
            (names.google.0, json!({ "error": error }))
        }
    };
    let lines = match to {
        Format::Bedrock => {
            format!("x-amzn-errortype: {}\r\nx-amzn-requestid: {}\r\n", names.bedrock.1, uuid(id))
        }
        _ => format!("request-id: {id}\r\n"),
    };
    Said { status, body: body.to_string().into_bytes(), lines }
}

/// The data of the `error` event for an exception in a stream of frames.
pub(super) fn event_data(name: &str, payload: &[u8]) -> Vec<u8> {
    let said = serde_json::from_slice::<Value>(payload).unwrap_or_default();
    let member = |key: &str| said.get(key).and_then(Value::as_str);
    let text = member("message").map_or_else(|| String::from_utf8_lossy(payload).into_owned(), str::to_owned);
    // The model's own words, by which clients recover, stand beside the platform's.
    let text = match member("originalMessage").filter(|original| !text.contains(original)) {
        Some(original) => format!("{text} {original}"),
        None if text.trim().is_empty() => name.to_owned(),
        None => text,
    };
    let (_, kind) = names_of(class_of_exception(name).unwrap_or(Class::Internal)).anthropic;
    json!({ "type": "error", "error": { "type": kind, "message": reworded(&redacted(&text)) } })
        .to_string()
        .into_bytes()
}

/// The frame for an `error` event in a stream of events.
pub(super) fn frame_of_event(data: &[u8]) -> Vec<u8> {
    let value = serde_json::from_slice::<Value>(data).unwrap_or_default();
    let text = |key: &str| value.pointer(key).and_then(Value::as_str).unwrap_or_default();
    let class = class_of_type(text("/error/type")).unwrap_or(Class::Internal);
    let kind = match class {
        Class::Bad | Class::TooLarge => "validationException",
        Class::Throttled | Class::Billing => "throttlingException",
        Class::Overloaded => "serviceUnavailableException",
        Class::Timeout => "modelTimeoutException",
        _ => "internalServerException",
    };
    exception_frame(kind, text("/error/message"))
}

/// An error as it was read.
struct Read {
    class: Class,
    message: String,
    details: Option<Value>,
}

impl Read {
    fn of(status: u16, error_type: &[u8], body: &[u8]) -> Self {
        let value = serde_json::from_slice::<Value>(body).unwrap_or_default();
        // Google wraps errors of streaming methods in a list.
        let value = value.as_array().and_then(|list| list.first()).unwrap_or(&value);
        let text = |key: &str| value.pointer(key).and_then(Value::as_str);
        let message = text("/error/message").or(text("/message")).or(text("/Message"));
        let message = match message {
            Some(message) => message.to_owned(),
            None => format!("the upstream answered with status {status}"),
        };
        let named = std::str::from_utf8(error_type).ok().and_then(class_of_exception);
        let class =
            text("/error/type").and_then(class_of_type).or(named).or(text("/error/status").and_then(class_of_google));
        let details = value.pointer("/error/details").filter(|details| details.is_object()).cloned();
        Self {
            class: class.unwrap_or_else(|| class_of_status(status)),
            message: reworded(&redacted(&message)),
            details,
        }
    }
}

fn names_of(class: Class) -> &'static Names {
    // Every class has its row; the last is the one for what is nobody's fault.
    NAMES.iter().find(|names| names.class == class).unwrap_or(&NAMES[NAMES.len() - 1])
}

fn class_of_type(kind: &str) -> Option<Class> {
    NAMES.iter().find(|names| names.anthropic.1 == kind).map(|names| names.class)
}

fn class_of_google(status: &str) -> Option<Class> {
    match status {
        "FAILED_PRECONDITION" | "OUT_OF_RANGE" => Some(Class::Bad),
        "INVALID_ARGUMENT" => Some(Class::Bad),
        "RESOURCE_EXHAUSTED" => Some(Class::Throttled),
        _ => NAMES.iter().find(|names| names.google.1 == status).map(|names| names.class),
    }
}

/// By the name of an exception, in a header or in a stream, where it begins in lower case.
fn class_of_exception(name: &str) -> Option<Class> {
    let name = name.split(':').next().unwrap_or_default().trim();
    let is = |other: &str| name.eq_ignore_ascii_case(other);
    match () {
        () if is("ValidationException") => Some(Class::Bad),
        () if is("ThrottlingException") || is("ServiceQuotaExceededException") || is("ModelNotReadyException") => {
            Some(Class::Throttled)
        }
        () if is("ModelErrorException") || is("ModelStreamErrorException") => Some(Class::Internal),
        () => NAMES.iter().find(|names| is(names.bedrock.1)).map(|names| names.class),
    }
}

fn class_of_status(status: u16) -> Class {
    match status {
        401 => Class::Unauthenticated,
        402 => Class::Billing,
        403 => Class::Denied,
        404 => Class::NotFound,
        408 | 504 => Class::Timeout,
        409 => Class::Conflict,
        413 => Class::TooLarge,
        429 => Class::Throttled,
        503 | 529 => Class::Overloaded,
        500..=599 | 424 => Class::Internal,
        _ => Class::Bad,
    }
}

/// Bedrock's words for a prompt that is too long, behind those by which clients of the first party know it: they compact.
fn reworded(message: &str) -> String {
    const BEDROCKS: &str = "Input is too long for requested model";
    if message.contains(BEDROCKS) { format!("prompt is too long: {message}") } else { message.to_owned() }
}

/// Takes out what names an account: ARNs, numbers of AWS accounts, Google projects.
fn redacted(message: &str) -> String {
    let mut out = String::with_capacity(message.len());
    for (at, word) in message.split(' ').enumerate() {
        if at > 0 {
            out.push(' ');
        }
        out.push_str(&redacted_word(word));
    }
    out
}

fn redacted_word(word: &str) -> String {
    if let Some(at) = word.find("arn:aws") {
        return format!("{}arn:…", &word[..at]);
    }
    if let Some(at) = word.find("projects/") {
        let (head, rest) = word.split_at(at + "projects/".len());
        let end = rest.find(['/', '\'', '"', '`', ',', ')']).unwrap_or(rest.len());
        return format!("{head}…{}", &rest[end..]);
    }
    let digits = word.trim_matches(|c: char| !c.is_ascii_digit());
    if digits.len() == 12 && digits.bytes().all(|b| b.is_ascii_digit()) {
        return word.replace(digits, "…");
    }
    word.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: RequestId = RequestId(7);

    fn said(to: Format, status: u16, error_type: &str, body: &str) -> (u16, Value) {
        let said = translate(to, status, error_type.as_bytes(), body.as_bytes(), ID);
        (said.status, serde_json::from_slice(&said.body).unwrap())
    }

    #[test]
    fn every_class_survives_the_way_through_every_dialect() {
        for names in &NAMES {
            let anthropic = json!({"type": "error", "error": {"type": names.anthropic.1, "message": "m"}}).to_string();
            assert_eq!(said(Format::Bedrock, names.anthropic.0, "", &anthropic).0, names.bedrock.0);
            assert_eq!(said(Format::Vertex, names.anthropic.0, "", &anthropic).1["error"]["status"], names.google.1);
            let (status, body) = said(Format::Anthropic, names.anthropic.0, "", &anthropic);
            assert_eq!((status, &body["error"]["type"]), (names.anthropic.0, &json!(names.anthropic.1)));
        }
        let (status, body) =
            said(Format::Anthropic, 503, "ServiceUnavailableException:http://x", r#"{"message":"busy"}"#);
        assert_eq!(
            (status, &body["error"]["type"], &body["error"]["message"]),
            (529, &json!("overloaded_error"), &json!("busy"))
        );
        let (status, body) = said(Format::Anthropic, 408, "ModelTimeoutException", r#"{"Message":"late"}"#);
        assert_eq!((status, &body["error"]["message"]), (504, &json!("late")));
        let google =
            r#"[{"error":{"code":429,"message":"Quota exceeded","status":"RESOURCE_EXHAUSTED","details":[]}}]"#;
        let (status, body) = said(Format::Anthropic, 429, "", google);
        assert_eq!((status, &body["error"]["type"]), (429, &json!("rate_limit_error")));
        assert_eq!(said(Format::Bedrock, 429, "", google).1["message"], "Quota exceeded");
    }

    #[test]
    fn the_words_that_a_client_recovers_by_are_lost() {
        let too_long = r#"{"message":"Input is too long for requested model."}"#;
        let (status, body) = said(Format::Anthropic, 400, "ValidationException", too_long);
        let message = body["error"]["message"].as_str().unwrap();
        assert_eq!(status, 400);
        assert!(
            message.starts_with("prompt is too long") && message.contains("Input is too long for requested model.")
        );
        for words in [
            "output_config.effort: Extra inputs are not permitted",
            "Input tag 'advisor_20260301' found using 'type' does not match any of the expected tags",
            "messages.1.content.0: `thinking` blocks: bound to a different conversation",
        ] {
            let body = json!({ "message": words }).to_string();
            assert_eq!(said(Format::Anthropic, 400, "ValidationException", &body).1["error"]["message"], words);
        }
    }

    #[test]
    fn an_account_of_the_gateways_is_named_to_a_client() {
        let text = "User: arn:aws:sts::123456789012:assumed-role/gw/s is not authorized on 'projects/secret-p/locations/x' \
                    (account 123456789012)";
        let shown = redacted(text);
        assert_eq!(shown, "User: arn:… is not authorized on 'projects/…/locations/x' (account …)");
        assert_eq!(redacted("max 200000 tokens, 1234567890123"), "max 200000 tokens, 1234567890123");
    }

    #[test]
    fn an_answer_that_is_no_error_of_theirs_is_still_one_of_ours() {
        let (status, body) = said(Format::Anthropic, 502, "", "<html>bad gateway</html>");
        assert_eq!((status, &body["error"]["type"]), (500, &json!("api_error")));
        assert_eq!(body["request_id"], "req_00000000000000000000000000000007");
    }
}
