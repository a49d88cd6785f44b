//! What weir itself answers on each path: in that path's dialect, whatever the reason.

use serde_json::{Value, json};

use crate::fixture::{ALICE_KEY, BEDROCK_ID, VERTEX_ID, VERTEX_TAIL, body, start};
use crate::support::http::{self, Response};

fn assert_bedrock(answer: &Response, status: u16, exception: &str, says: &str) {
    assert_eq!((answer.status, answer.header("x-amzn-errortype")), (status, Some(exception)), "{}", answer.text());
    let message = answer.json()["message"].as_str().expect("a message").to_owned();
    assert!(message.contains(says), "{message}");
    assert_eq!(answer.header("x-weir-origin"), Some("gateway"));
    assert!(answer.header("x-amzn-requestid").is_some());
}

fn assert_google(answer: &Response, status: u16, name: &str, says: &str) {
    let error = &answer.json()["error"];
    assert_eq!((answer.status, &error["code"], &error["status"]), (status, &json!(status), &json!(name)), "{error}");
    assert!(error["message"].as_str().expect("a message").contains(says), "{error}");
}

#[test]
fn a_refusal_comes_in_another_dialect_than_its_path_speaks() {
    let gateway = start(
        "[budgets]\nreserve = \"strict\"\n[[budget]]\nscope = \"user:alice@example.com\"\namount = \"0.000001\"\nperiod = \"daily\"\n",
    );
    let clients = gateway.weir.clients();
    let ask = |path: &str, headers: &[(&str, &str)]| http::request(clients, "POST", path, headers, b"{}");
    let invoke = format!("/model/{BEDROCK_ID}/invoke");
    let predict = format!("/vertex/{VERTEX_TAIL}/{VERTEX_ID}:rawPredict");
    let bad = [("authorization", "Bearer no-key-of-ours")];
    assert_bedrock(&ask(&invoke, &[]), 401, "UnrecognizedClientException", "no credential");
    assert_bedrock(&ask(&invoke, &bad), 401, "UnrecognizedClientException", "Authorization");
    assert_google(&ask(&predict, &bad), 401, "UNAUTHENTICATED", "Authorization");
    let own = [("x-api-key", ALICE_KEY)];
    assert_bedrock(&ask("/model/x/converse", &own), 404, "ResourceNotFoundException", "no such path");
    assert_bedrock(&ask("/bedrock/nothing", &own), 404, "ResourceNotFoundException", "no such path");
    assert_google(&ask("/vertex/v1/nothing", &own), 404, "NOT_FOUND", "no such path");
    assert_eq!(ask("/foundry/nothing", &own).json()["error"]["type"], "not_found_error");
    assert_bedrock(&ask("/model/acme-1/invoke", &own), 404, "ResourceNotFoundException", "acme-1 is not served");
    let nameless = format!("/{VERTEX_TAIL}/acme-1:rawPredict");
    assert_google(&ask(&nameless, &own), 404, "NOT_FOUND", "in the vertex format");
    let spent = gateway.post(&invoke, &[], &body("bedrock-2023-05-31", ""));
    assert_bedrock(&spent, 429, "ThrottlingException", "spend limit reached (daily; resets ");
    assert_eq!(spent.header("x-should-retry"), Some("false"));
    let spent = gateway.post(&predict, &[], &body("vertex-2023-10-16", ""));
    assert_google(&spent, 429, "RESOURCE_EXHAUSTED", "spend limit reached");
    assert!(spent.header("retry-after").is_some());
    assert_eq!(gateway.provider.books()["totals"]["requests"], 0, "a refused request reached the provider");
    gateway.record(11);
    let records = gateway.weir.admin_get("/admin/v1/requests?limit=100");
    let of =
        |format: &str| records["data"].as_array().expect("records").iter().filter(|r| r["format"] == format).count();
    assert_eq!((of("bedrock"), of("vertex")), (6, 4), "{records}");
}

#[test]
fn a_client_that_signs_for_aws_is_not_told_what_to_set() {
    let gateway = start("");
    let signed = "AWS4-HMAC-SHA256 Credential=dev-alice/20261121/us-east-1/bedrock/aws4_request, \
        SignedHeaders=host;x-amz-date, Signature=00";
    let path = format!("/bedrock/model/{BEDROCK_ID}/invoke-with-response-stream");
    let answer = http::request(gateway.weir.clients(), "POST", &path, &[("authorization", signed)], b"{}");
    assert_bedrock(&answer, 403, "InvalidSignatureException", "AWS_BEARER_TOKEN_BEDROCK");
    assert!(answer.text().contains("CLAUDE_CODE_SKIP_BEDROCK_AUTH=1"));
    assert_eq!(gateway.record(1)["refused_by"], "signed_by_client");
    let both = [("authorization", signed), ("x-api-key", ALICE_KEY)];
    let body = body("bedrock-2023-05-31", "");
    assert_eq!(http::request(gateway.weir.clients(), "POST", &path, &both, &body).status, 200);
}

#[test]
fn claude_code_finds_no_profile_of_a_model_it_may_use() {
    let gateway = start("");
    let list = gateway.get("/inference-profiles?type=SYSTEM_DEFINED");
    assert_eq!(list.status, 200);
    let list = list.json();
    let ids: Vec<&str> = list["inferenceProfileSummaries"]
        .as_array()
        .expect("profiles")
        .iter()
        .filter_map(|profile| profile["inferenceProfileId"].as_str())
        .collect();
    assert!(ids.contains(&"us.anthropic.claude-opus-4-6-v1"), "{ids:?}");
    assert_eq!(list["nextToken"], Value::Null);
    let arn = "arn%3Aaws%3Abedrock%3Aus-east-1%3A1%3Ainference-profile%2Fus.anthropic.claude-opus-4-6-v1";
    for path in [format!("/bedrock/inference-profiles/{arn}"), format!("/inference-profiles/{}", ids[0])] {
        let profile = gateway.get(&path);
        assert_eq!((profile.status, &profile.json()["status"]), (200, &json!("ACTIVE")), "{path}");
    }
    let none = gateway.get("/inference-profiles/us.anthropic.acme-1");
    assert_bedrock(&none, 404, "ResourceNotFoundException", "acme-1");
    assert_eq!(gateway.record(4)["operation"], "models");
}
