//! `[[upstream]]` of every provider: derived places, forms of `auth`, fixed headers, and the errors of each.

use super::*;
use crate::kernel::snapshot::Provider;

/// The upstreams after the base's own.
fn upstream(provider: &str, more: &str) -> String {
    format!("[[upstream]]\nname = \"second\"\nprovider = \"{provider}\"\n{more}")
}

fn second(provider: &str, more: &str) -> UpstreamConfig {
    good(&upstream(provider, more)).upstreams.remove(1)
}

#[test]
fn a_providers_place_is_derived_wrongly() {
    let aws = "auth = { access_key_id = \"AKIAIOSFODNN7EXAMPLE\", secret_access_key = \"${KEY}\" }\nregion = ";
    let vertex = "auth = { access_token = \"${KEY}\" }\nproject = \"p-1\"\nregion = ";
    let platform = format!("workspace_id = \"wrkspc_01ab\"\n{aws}");
    for (provider, more, url) in [
        ("bedrock", format!("{aws}\"us-east-1\""), "https://bedrock-runtime.us-east-1.amazonaws.com"),
        ("bedrock", format!("{aws}\"cn-north-1\""), "https://bedrock-runtime.cn-north-1.amazonaws.com.cn"),
        (
            "bedrock",
            format!("endpoint = \"messages\"\n{aws}\"eu-west-1\""),
            "https://bedrock-runtime.eu-west-1.amazonaws.com/anthropic",
        ),
        (
            "bedrock",
            format!("endpoint = \"messages\"\nbase_url = \"http://127.0.0.1:9\"\n{aws}\"eu-west-1\""),
            "http://127.0.0.1:9/anthropic",
        ),
        (
            "bedrock",
            format!("endpoint = \"mantle\"\n{aws}\"eu-west-1\""),
            "https://bedrock-mantle.eu-west-1.api.aws/anthropic",
        ),
        ("vertex", format!("{vertex}\"us-east5\""), "https://us-east5-aiplatform.googleapis.com"),
        ("vertex", format!("{vertex}\"global\""), "https://aiplatform.googleapis.com"),
        ("vertex", format!("{vertex}\"eu\""), "https://aiplatform.eu.rep.googleapis.com"),
        (
            "foundry",
            "auth = { api_key = \"${KEY}\" }\nresource = \"my-res\"".into(),
            "https://my-res.services.ai.azure.com/anthropic",
        ),
        ("anthropic_aws", format!("{platform}\"us-west-2\""), "https://aws-external-anthropic.us-west-2.api.aws"),
    ] {
        let at = second(provider, &more).base_url;
        let scheme = if at.tls { "https" } else { "http" };
        assert_eq!(format!("{scheme}://{}{}", at.authority, at.base_path), url, "{provider}");
    }
}

#[test]
fn a_form_of_auth_is_taken_for_another() {
    let region = "region = \"us-east-1\"";
    let place = format!("{region}\nproject = \"p\"");
    let platform = format!("{region}\nworkspace_id = \"w\"");
    for (provider, place, auth, kind) in [
        ("anthropic", "", "{ api_key = \"${KEY}\" }", "api_key"),
        ("anthropic", "", "{ bearer = \"${KEY}\" }", "bearer"),
        ("bedrock", region, "{ bearer = \"${KEY}\" }", "bearer"),
        ("bedrock", region, "{ access_key_id = \"${KEY}\", secret_access_key = \"${KEY}\" }", "aws_keys"),
        ("bedrock", region, "{}", "aws_chain"),
        ("bedrock", region, "{ profile = \"prod\" }", "aws_chain"),
        ("vertex", &place, "{ access_token = \"${KEY}\" }", "bearer"),
        ("vertex", &place, "{}", "google_default"),
        ("foundry", "resource = \"r\"", "{ api_key = \"${KEY}\" }", "api_key"),
        ("foundry", "resource = \"r\"", "{ entra = true }", "entra"),
        ("anthropic_aws", &platform, "{ api_key = \"${KEY}\" }", "api_key"),
        ("anthropic_aws", &platform, "{}", "aws_chain"),
    ] {
        let read = second(provider, &format!("{place}\nauth = {auth}"));
        assert_eq!(read.auth.as_ref().map(UpstreamAuth::as_str), Some(kind), "{provider} {auth}");
    }
}

#[test]
fn an_error_of_a_provider_does_not_say_what_to_do() {
    let region = "region = \"us-east-1\"\n";
    for (provider, more, start, part) in [
        ("openai", "auth = {}", "provider: is \"openai\"", "\"anthropic_aws\""),
        (
            "anthropic",
            "auth = { api_key = \"${KEY}\" }\nregion = \"r\"",
            "region: belongs to provider bedrock",
            "remove it",
        ),
        ("anthropic", "", "auth: is missing", "api_key"),
        ("anthropic", "auth = {}", "auth: has neither api_key nor bearer", "write auth"),
        ("bedrock", "auth = {}", "region: is missing", "us-east-1"),
        ("bedrock", "auth = {}\nregion = \"us_east/1\"", "region: is \"us_east/1\"", "console"),
        ("bedrock", &format!("auth = {{ bearer = \"${{KEY}}\", profile = \"x\" }}\n{region}"), "auth: has both", "AWS"),
        (
            "bedrock",
            &format!("auth = {{ access_key_id = \"AKIAIOSFODNN7EXAMPLE\" }}\n{region}"),
            "auth.secret_access_key: is missing",
            "${NAME}",
        ),
        (
            "bedrock",
            &format!("auth = {{ access_key_id = \"AKIAIOSFODNN7EXAMPLE\", secret_access_key = \"wJalr\" }}\n{region}"),
            "auth.secret_access_key: is a secret written out",
            "environment",
        ),
        (
            "bedrock",
            &format!("auth = {{}}\nendpoint = \"converse\"\n{region}"),
            "endpoint: is \"converse\"",
            "\"invoke\"",
        ),
        ("vertex", &format!("auth = {{}}\n{region}"), "project: is missing", "my-project"),
        (
            "vertex",
            &format!("auth = {{ service_account = \"/nowhere.json\" }}\nproject = \"p\"\n{region}"),
            "auth.service_account: /nowhere.json cannot be read",
            "JSON key file",
        ),
        ("foundry", "auth = { entra = true }", "resource: is missing", "my-resource"),
        ("foundry", "auth = { entra = false }\nresource = \"r\"", "auth.entra: is not true", "entra = true"),
        ("anthropic_aws", &format!("auth = {{}}\n{region}"), "workspace_id: is missing", "wrkspc"),
    ] {
        let error = wrong(&upstream(provider, more));
        assert!(error.starts_with(&format!("upstream[1].{start}")) && error.contains(part), "{error}");
    }
}

#[test]
fn a_key_file_of_google_is_taken_unseen_or_shown_in_an_error() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("sa.json");
    let more = format!("auth = {{ service_account = \"{}\" }}\nproject = \"p\"\nregion = \"us-east5\"", file.display());
    for (content, what) in [
        ("SECRET-PART", "is no JSON"),
        ("{\"client_email\":\"a@b\",\"private_key\":\"SECRET-PART\"}", "has no token_uri"),
    ] {
        std::fs::write(&file, content).unwrap();
        let error = wrong(&upstream("vertex", &more));
        assert!(error.contains(what) && !error.contains("SECRET-PART"), "{error}");
    }
    std::fs::write(&file, "{\"client_email\":\"a@b\",\"private_key\":\"x\",\"token_uri\":\"https://t\"}").unwrap();
    assert_eq!(second("vertex", &more).auth.map(|auth| auth.as_str()), Some("google_service_account"));
}

#[test]
fn a_fixed_header_breaks_the_framing_or_shows_a_secret() {
    let auth = "auth = { api_key = \"${KEY}\" }\n";
    for (headers, start, part) in [
        ("Host = \"x\"", "headers.Host: is a header that weir writes itself", "remove"),
        ("x-amz-date = \"x\"", "headers.x-amz-date: is a header that weir", "remove"),
        ("\"bad name\" = \"x\"", "headers.\"bad name\": is no header name", "x-tenant"),
        ("x-a = \"line\\r\\nx: y\"", "headers.x-a: is empty or holds", "visible ASCII"),
        ("X-A = \"1\", x-a = \"2\"", "headers.x-a: is there twice", "keep one"),
        ("x-gateway-token = \"abc\"", "headers.x-gateway-token: is a secret written out", "${NAME}"),
        ("x-api-key = \"${KEY}\"", "headers.x-api-key: is what auth", "remove"),
    ] {
        let error = wrong(&upstream("anthropic", &format!("{auth}headers = {{ {headers} }}")));
        assert!(error.starts_with(&format!("upstream[1].{start}")) && error.contains(part), "{error}");
    }
    let other = second("anthropic", "headers = { X-Tenant = \"a b\", authorization = \"${KEY}\" }");
    let names: Vec<&str> = other.headers.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!((names, other.provider), (vec!["x-tenant", "authorization"], Provider::Anthropic));
    assert_eq!(other.auth.map(|auth| auth.as_str()), Some("headers"));
}
