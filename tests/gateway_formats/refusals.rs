//! Every provider's own errors, as each client reads them: status, type and words in the client's dialect; in the provider's own
//! bytes where both speak alike.

use serde_json::{Value, json};

use crate::fixture::{Gateway, VERTEX_TAIL, body, sha256, start};
use crate::same_format::frames;
use crate::support::http::Response;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Client {
    Messages,
    Bedrock,
    Vertex,
}

const CLIENTS: [Client; 3] = [Client::Messages, Client::Bedrock, Client::Vertex];

/// Status and name of one class in each dialect: Messages, Bedrock, Vertex.
type Class = [(u16, &'static str); 3];

const BAD: Class = [(400, "invalid_request_error"), (400, "ValidationException"), (400, "INVALID_ARGUMENT")];
const DENIED: Class = [(403, "permission_error"), (403, "AccessDeniedException"), (403, "PERMISSION_DENIED")];
const NO_MODEL: Class = [(404, "not_found_error"), (404, "ResourceNotFoundException"), (404, "NOT_FOUND")];
const CONFLICT: Class = [(409, "conflict_error"), (409, "ConflictException"), (409, "ABORTED")];
const THROTTLED: Class = [(429, "rate_limit_error"), (429, "ThrottlingException"), (429, "RESOURCE_EXHAUSTED")];
const BUSY: Class = [(529, "overloaded_error"), (503, "ServiceUnavailableException"), (503, "UNAVAILABLE")];
const LATE: Class = [(504, "timeout_error"), (408, "ModelTimeoutException"), (504, "DEADLINE_EXCEEDED")];
const BROKEN: Class = [(500, "api_error"), (500, "InternalServerException"), (500, "INTERNAL")];

/// The client that reads the upstream's own bytes, the upstream's model, the provider's script, the class and the words.
type Case = (Client, &'static str, &'static str, Class, &'static str);

const AWS: &str = "claude-haiku-5-5";
const GOOGLE: &str = "claude-opus-5";
const FIRST: &str = "claude-sonnet-5";
const FOUNDRY: &str = "claude-opus-4-8";
const PLATFORM: &str = "claude-opus-4-7";

#[rustfmt::skip]
const CASES: &[Case] = &[
    (Client::Bedrock, AWS, "exception=ValidationException message=messages.1:_Extra_inputs_are_not_permitted", BAD, "messages.1: Extra inputs are not permitted"),
    (Client::Bedrock, AWS, "exception=ValidationException message=Input_is_too_long_for_requested_model.", BAD, "Input is too long for requested model."),
    (Client::Bedrock, AWS, "exception=ServiceQuotaExceededException", THROTTLED, "Too many tokens per day"),
    (Client::Bedrock, AWS, "exception=AccessDeniedException", DENIED, "You don't have access to the model"),
    (Client::Bedrock, AWS, "exception=ResourceNotFoundException", NO_MODEL, "Could not resolve the foundation model"),
    (Client::Bedrock, AWS, "exception=ModelTimeoutException", LATE, "Model has timed out"),
    (Client::Bedrock, AWS, "exception=ModelErrorException", BROKEN, "The system encountered an unexpected error"),
    (Client::Bedrock, AWS, "exception=ThrottlingException retry_after=7", THROTTLED, "Too many requests, please wait"),
    (Client::Bedrock, AWS, "exception=ModelNotReadyException", THROTTLED, "Model is not ready for inference."),
    (Client::Bedrock, AWS, "exception=InternalServerException", BROKEN, "The system encountered an unexpected error"),
    (Client::Bedrock, AWS, "exception=ServiceUnavailableException", BUSY, "Bedrock is unable to process"),
    (Client::Vertex, GOOGLE, "google=INVALID_ARGUMENT", BAD, "Request contains an invalid argument."),
    (Client::Vertex, GOOGLE, "google=FAILED_PRECONDITION", BAD, "is not servable in region"),
    (Client::Vertex, GOOGLE, "google=PERMISSION_DENIED", DENIED, "Permission 'aiplatform.endpoints.predict' denied."),
    (Client::Vertex, GOOGLE, "google=NOT_FOUND", NO_MODEL, "Publisher Model was not found."),
    (Client::Vertex, GOOGLE, "google=ABORTED", CONFLICT, "The operation was aborted."),
    (Client::Vertex, GOOGLE, "google=RESOURCE_EXHAUSTED retry_after=7", THROTTLED, "Quota exceeded"),
    (Client::Vertex, GOOGLE, "google=RESOURCE_EXHAUSTED wrapped=1", THROTTLED, "Quota exceeded"),
    (Client::Vertex, GOOGLE, "google=CANCELLED", BAD, "The operation was cancelled."),
    (Client::Vertex, GOOGLE, "google=INTERNAL", BROKEN, "Internal error encountered."),
    (Client::Vertex, GOOGLE, "google=UNAVAILABLE", BUSY, "The service is currently unavailable."),
    (Client::Vertex, GOOGLE, "google=DEADLINE_EXCEEDED", LATE, "Deadline expired"),
    // The model behind it speaks as the first party does.
    (Client::Vertex, GOOGLE, "status=400 message=prompt_is_too_long:_210000_tokens", BAD, "prompt is too long: 210000 tokens"),
    (Client::Vertex, GOOGLE, "status=529", BUSY, "Overloaded"),
    (Client::Messages, FIRST, "status=400 message=prompt_is_too_long:_210000_tokens", BAD, "prompt is too long: 210000 tokens"),
    (Client::Messages, FIRST, "status=400 message=messages.1.content.0:_thinking_block_is_bound_to_a_different_conversation", BAD, "bound to a different conversation"),
    (Client::Messages, FIRST, "status=422 message=tools.0:_Input_tag_advisor-20260301", BAD, "Input tag advisor-20260301"),
    (Client::Messages, FIRST, "status=403", DENIED, "does not have permission"),
    (Client::Messages, FIRST, "status=404", NO_MODEL, "Not found"),
    (Client::Messages, FIRST, "status=429 error_code=ramp_limit_exceeded retry_after=7", THROTTLED, "exceed your organization's rate limit"),
    (Client::Messages, FIRST, "status=500", BROKEN, "Internal server error"),
    (Client::Messages, FIRST, "status=504", LATE, "Request timed out"),
    (Client::Messages, FIRST, "status=529", BUSY, "Overloaded"),
    (Client::Messages, FOUNDRY, "code=429", THROTTLED, "exceeded the call rate limit"),
    (Client::Messages, FOUNDRY, "code=404 message=DeploymentNotFound", NO_MODEL, "DeploymentNotFound"),
    (Client::Messages, FOUNDRY, "status=400 message=prompt_is_too_long:_210000_tokens", BAD, "prompt is too long"),
    (Client::Messages, PLATFORM, "exception=AccessDeniedException", DENIED, "You don't have access"),
    (Client::Messages, PLATFORM, "exception=ThrottlingException", THROTTLED, "Too many requests"),
    (Client::Messages, PLATFORM, "status=400 message=prompt_is_too_long:_210000_tokens", BAD, "prompt is too long"),
];

fn ask(gateway: &Gateway, client: Client, model: &str, sim: &str, stream: bool) -> Response {
    match client {
        Client::Messages => {
            let text = format!("hello [[sim {sim}]]");
            let sent = json!({"model": model, "max_tokens": 50, "stream": stream, "messages": [{"role": "user", "content": text}]});
            gateway.post("/v1/messages", &[("anthropic-version", "2023-06-01")], sent.to_string().as_bytes())
        }
        Client::Bedrock => {
            let verb = if stream { "invoke-with-response-stream" } else { "invoke" };
            gateway.post(&format!("/model/us.anthropic.{model}/{verb}"), &[], &body("bedrock-2023-05-31", sim))
        }
        Client::Vertex => {
            let method = if stream { "streamRawPredict" } else { "rawPredict" };
            gateway.post(&format!("/vertex/{VERTEX_TAIL}/{model}:{method}"), &[], &body("vertex-2023-10-16", sim))
        }
    }
}

/// The error's name and words, in a client's dialect.
fn told(client: Client, answer: &Response) -> (String, String) {
    let body = answer.json();
    let text = |pointer: &str| body.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned();
    match client {
        Client::Messages => {
            assert_eq!(body["request_id"].as_str(), answer.header("request-id"), "{body}");
            (text("/error/type"), text("/error/message"))
        }
        Client::Bedrock => {
            assert!(answer.header("x-amzn-requestid").is_some() && answer.header("request-id").is_none());
            (answer.header("x-amzn-errortype").unwrap_or_default().to_owned(), text("/message"))
        }
        Client::Vertex => {
            assert_eq!(body["error"]["code"], answer.status, "{body}");
            (text("/error/status"), text("/error/message"))
        }
    }
}

#[test]
fn a_clouds_error_arrives_without_what_its_client_needs() {
    let gateway = start("");
    let mut nth = 0;
    for (own, model, sim, class, words) in CASES {
        for (place, client) in CLIENTS.into_iter().enumerate() {
            nth += 1;
            let answer = ask(&gateway, client, model, sim, nth % 2 == 0);
            let entry = gateway.entry(nth);
            let says = format!("{client:?} {model} {sim}: {} {}", answer.status, answer.text());
            assert_eq!(answer.header("x-weir-origin"), None, "{says}");
            assert!(answer.text().contains(words), "{says}");
            let wait = sim.contains("retry_after=7").then_some("7");
            assert_eq!(answer.header("retry-after"), wait, "{says}");
            if client == *own {
                assert_eq!(entry["status"], answer.status, "{says}");
                assert_eq!(entry["response_sha256"], sha256(&answer.body), "{says}");
                continue;
            }
            let (status, name) = class[place];
            let (kind, text) = told(client, &answer);
            assert_eq!((answer.status, kind.as_str()), (status, name), "{says}");
            // Words by which the client compacts and tries again.
            assert!(
                client == Client::Bedrock || !sim.contains("_too_long") || text.starts_with("prompt is too long"),
                "{says}"
            );
        }
    }
}

#[test]
fn our_own_credential_is_the_clients_fault_in_some_dialect() {
    let gateway = start("");
    for (model, sim) in [
        (AWS, "exception=UnrecognizedClientException"),
        (AWS, "exception=ExpiredTokenException"),
        (AWS, "exception=InvalidSignatureException"),
        (AWS, "exception=MissingAuthenticationTokenException"),
        (GOOGLE, "google=UNAUTHENTICATED"),
        (PLATFORM, "exception=ExpiredTokenException"),
        (FIRST, "status=401"),
        (FOUNDRY, "code=401"),
    ] {
        for (client, (status, name)) in
            CLIENTS.into_iter().zip([(502, "api_error"), (500, "InternalServerException"), (500, "INTERNAL")])
        {
            let answer = ask(&gateway, client, model, sim, false);
            let says = format!("{client:?} {model} {sim}: {}", answer.text());
            assert_eq!((answer.status, told(client, &answer).0.as_str()), (status, name), "{says}");
            assert!(told(client, &answer).1.contains("the gateway's own credential"), "{says}");
            assert_eq!(answer.header("x-should-retry"), Some("false"), "{says}");
        }
    }
}

#[test]
fn an_exception_in_a_stream_is_lost_or_changes_its_kind() {
    let gateway = start("");
    for (name, kind, words) in [
        ("InternalServerException", "api_error", "The system encountered"),
        ("ModelStreamErrorException", "api_error", "The model stream broke."),
        ("ValidationException", "invalid_request_error", "Malformed input request"),
        ("ThrottlingException", "rate_limit_error", "Too many requests"),
        ("ModelTimeoutException", "timeout_error", "Model has timed out"),
        ("ServiceUnavailableException", "overloaded_error", "Bedrock is unable"),
        ("SomethingNobodyKnows", "api_error", "Something unexpected happened"),
    ] {
        let sim = format!("error_at=4 exception={name}");
        for client in [Client::Messages, Client::Vertex] {
            let answer = ask(&gateway, client, AWS, &sim, true);
            assert_eq!(answer.status, 200, "{name}: {}", answer.text());
            let text = answer.text();
            let last = text.trim_end().rsplit("\n\n").next().expect("an event");
            let data = last.strip_prefix("event: error\ndata: ").unwrap_or_else(|| panic!("{name}: {last}"));
            let data: Value = serde_json::from_str(data).expect("JSON");
            assert_eq!((&data["type"], &data["error"]["type"]), (&json!("error"), &json!(kind)), "{name}: {data}");
            assert!(data["error"]["message"].as_str().is_some_and(|text| text.contains(words)), "{name}: {data}");
            assert!(!text.contains("message_stop"), "{name}");
        }
        let answer = ask(&gateway, Client::Bedrock, AWS, &sim, true);
        let last = frames(&answer.body).pop().expect("a frame");
        let is_modelled = name != "SomethingNobodyKnows";
        assert_eq!(last.0, if is_modelled { "exception" } else { "error" }, "{name}");
        assert!(!is_modelled || last.1.eq_ignore_ascii_case(name), "{name}: {}", last.1);
    }
    // What broke off is an estimate, on every path.
    let record = gateway.record(21);
    assert_eq!(record["usage_source"], "estimated", "{record}");
}
