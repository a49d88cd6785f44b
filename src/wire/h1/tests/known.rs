use proptest::prelude::*;

use super::super::known::{EXACT_NAMES, is_name};
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
    for other in ["", "x", "x-", "proxy", "anthropic", "x-custom", "accepts", "content_length", "hosts"] {
        assert_eq!(of(other), Known::Other, "{other}");
    }
}

/// The families by prefix, in the order in which they are to be asked.
const FAMILIES: &[(&str, Known)] = &[
    ("x-stainless-", Known::XStainlessAny),
    ("x-claude-code-", Known::ClaudeCodeAny),
    ("x-claude-remote-", Known::ClaudeRemoteAny),
    ("x-forwarded-", Known::XForwardedAny),
    ("x-amzn-", Known::XAmznAny),
    ("x-amz-", Known::XAmzAny),
    ("x-goog-", Known::XGoogAny),
    ("anthropic-ratelimit-unified-", Known::AnthropicRatelimitUnifiedAny),
    ("anthropic-ratelimit-", Known::AnthropicRatelimitAny),
    ("anthropic-priority-", Known::AnthropicRatelimitAny),
    ("anthropic-fast-", Known::AnthropicRatelimitAny),
    ("anthropic-", Known::AnthropicAny),
    ("proxy-", Known::ProxyAny),
];

/// The meaning of a name, looked up the plain way.
fn plainly(name: &[u8]) -> Known {
    let lower = name.to_ascii_lowercase();
    let exact = EXACT_NAMES.iter().find(|(exact, _)| lower == exact.as_bytes());
    let member = || FAMILIES.iter().find(|(prefix, _)| lower.starts_with(prefix.as_bytes()));
    exact.or_else(member).map_or(Known::Other, |(_, known)| *known)
}

/// Names that are known, and names that nearly are.
fn names() -> impl Strategy<Value = Vec<u8>> {
    let known = EXACT_NAMES.iter().chain(FAMILIES).map(|(name, _)| *name).collect::<Vec<_>>();
    let known = proptest::sample::select(known);
    (known, "[a-zA-Z0-9_-]{0,5}", any::<u64>(), any::<(bool, prop::sample::Index, u8)>()).prop_map(
        |(name, tail, capitals, (spoilt, place, byte))| {
            let mut name: Vec<u8> = name.bytes().chain(tail.bytes()).collect();
            for (place, byte) in name.iter_mut().enumerate() {
                if capitals >> (place % 64) & 1 == 1 {
                    byte.make_ascii_uppercase();
                }
            }
            if spoilt {
                let place = place.index(name.len());
                name[place] = byte;
            }
            name
        },
    )
}

proptest! {
    #[test]
    fn a_name_is_taken_for_another_than_the_plain_look_up_finds(
        name in prop_oneof![names(), proptest::collection::vec(any::<u8>(), 0..40)],
    ) {
        prop_assert_eq!(Known::of(&name), plainly(&name));
        for (known, _) in EXACT_NAMES {
            prop_assert_eq!(is_name(&name, known.as_bytes()), name.eq_ignore_ascii_case(known.as_bytes()));
        }
    }

    #[test]
    fn the_index_finds_other_lines_than_a_walk_over_all_does(
        names in proptest::collection::vec(proptest::sample::select(EXACT_NAMES), 0..40),
    ) {
        let lines: String = names.iter().enumerate().map(|(n, (name, _))| format!("{name}: {n}\r\n")).collect();
        let input = format!("HTTP/1.1 200 OK\r\n{lines}\r\n");
        if let Ok(Some(head)) = response(&input) {
            for (_, known) in EXACT_NAMES {
                let all: Vec<_> = head.headers.iter().filter(|header| header.known == *known).collect();
                prop_assert_eq!(&head.headers.of(*known).collect::<Vec<_>>(), &all);
                prop_assert_eq!(header(input.as_bytes(), &head.headers, *known), all.first().map(|h| h.value.of(input.as_bytes())));
            }
        }
    }
}
