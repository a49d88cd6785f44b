use super::super::header::EXACT_NAMES;
use super::*;

#[test]
fn every_exact_name_is_found_in_any_case() {
    for (name, known) in EXACT_NAMES {
        assert_eq!(Known::of(name.as_bytes()), *known, "{name}");
        assert_eq!(Known::of(name.to_ascii_uppercase().as_bytes()), *known, "{name} in capitals");
        assert_ne!(Known::of(format!("{name}s").as_bytes()), *known, "{name} with a tail");
        assert_ne!(Known::of(&name.as_bytes()[1..]), *known, "{name} without its head");
    }
}

#[test]
fn credentials_of_a_family_are_not_taken_for_another() {
    let of = |name: &str| Known::of(name.as_bytes());
    assert_eq!(of("X-Amz-Security-Token"), Known::XAmzAny);
    assert_eq!(of("x-amz-date"), Known::XAmzAny);
    assert_eq!(of("x-amzn-bedrock-trace"), Known::XAmznAny);
    assert_eq!(of("X-Goog-Api-Key"), Known::XGoogAny);
    assert_eq!(of("Proxy-Authorization"), Known::ProxyAny);
    assert_eq!(of("proxy-connection"), Known::ProxyAny);
    assert_eq!(of("x-forwarded-for"), Known::XForwardedAny);
    assert_eq!(of("X-Stainless-Retry-Count"), Known::XStainlessAny);
    assert_eq!(of("x-claude-code-of-next-year"), Known::ClaudeCodeAny);
    assert_eq!(of("x-claude-remote-session"), Known::ClaudeRemoteAny);
    assert_eq!(of("anthropic-foo"), Known::AnthropicAny);
    assert_eq!(of("anthropic-ratelimit-unified-5h-status"), Known::AnthropicRatelimitUnifiedAny);
    assert_eq!(of("Anthropic-Ratelimit-Tokens-Remaining"), Known::AnthropicRatelimitAny);
    assert_eq!(of("anthropic-priority-input-tokens-limit"), Known::AnthropicRatelimitAny);
    assert_eq!(of("anthropic-fast-input-tokens-reset"), Known::AnthropicRatelimitAny);
    for other in ["", "x", "x-", "proxy", "anthropic", "x-custom", "accept", "content_length", "hosts"] {
        assert_eq!(of(other), Known::Other, "{other}");
    }
}
