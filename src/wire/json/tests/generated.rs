//! Generated bodies: what serde_json prints is found again, and no bytes make the scanner panic or see a split.

use proptest::prelude::*;

use super::*;

/// Some JSON value as serde_json prints it.
fn value() -> impl Strategy<Value = serde_json::Value> {
    let leaf = prop_oneof![
        Just(serde_json::Value::Null),
        any::<bool>().prop_map(Into::into),
        any::<i64>().prop_map(Into::into),
        any::<f64>().prop_map(Into::into),
        ".{0,20}".prop_map(Into::into),
        // Source code as printed: longer than a block, with an escape or a bracket every few bytes.
        "([\\\\\"\n{}\\[\\]]{1,5}|[a-z ]{1,12}){0,24}".prop_map(Into::into),
    ];
    leaf.prop_recursive(4, 24, 4, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..4).prop_map(Into::into),
            proptest::collection::hash_map(".{0,6}", inner, 0..4)
                .prop_map(|members| serde_json::Value::Object(members.into_iter().collect())),
        ]
    })
}

fn key() -> impl Strategy<Value = String> {
    prop_oneof![(0..WANTED.len()).prop_map(|index| WANTED[index].key.to_owned()), ".{0,12}", Just("mode".to_owned()),]
}

fn space() -> impl Strategy<Value = &'static str> {
    prop_oneof![4 => Just(""), 1 => Just(" "), 1 => Just("\r\n\t ")]
}

fn key_text(key: &str, escaped: bool) -> String {
    if escaped {
        let units: String = key.encode_utf16().map(|unit| format!("\\u{unit:04X}")).collect();
        format!("\"{units}\"")
    } else {
        serde_json::to_string(key).unwrap()
    }
}

/// Pieces that make interesting bodies far more often than random bytes do.
fn likely_body() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        Just("{"),
        Just("}"),
        Just("["),
        Just("]"),
        Just(","),
        Just(":"),
        Just("\""),
        Just("\\"),
        Just("\\\""),
        Just("\\u0065"),
        Just("\"model\":"),
        Just("\"a\":1,"),
        Just("\"stream\":true"),
        Just("1"),
        Just("tru"),
        Just(" "),
        Just("x"),
        Just("\"mod\\u0065l\""),
        Just("\"max_tokens\":10"),
        Just("\"messages\":[{\"a\":\"b\"}],"),
        Just("\u{e9}"),
        Just("\n"),
    ];
    (any::<bool>(), proptest::collection::vec(piece, 0..14)).prop_map(|(object, pieces)| {
        let start = if object { "{" } else { "" };
        (start.to_owned() + &pieces.concat()).into_bytes()
    })
}

proptest! {
    #[test]
    fn what_was_printed_is_found_at_its_offset(
        members in proptest::collection::vec((key(), any::<bool>(), value(), space(), space(), space(), space()), 0..6),
        mut ends in proptest::collection::vec(0_usize..1500, 0..6),
    ) {
        let mut body = String::from("{");
        let mut expected: Vec<(u32, Option<(u64, u64)>)> = vec![(0, None); WANTED.len()];
        for (n, (key, escaped, value, a, b, c, d)) in members.iter().enumerate() {
            let comma = if n > 0 { "," } else { "" };
            body += &format!("{comma}{a}{}{b}:{c}", key_text(key, *escaped));
            let start = body.len() as u64;
            body += &value.to_string();
            if let Some(index) = WANTED.iter().position(|wanted| wanted.key == key) {
                expected[index].0 += 1;
                expected[index].1.get_or_insert((start, body.len() as u64));
            }
            body += d;
        }
        body += "}";
        ends.sort_unstable();
        let sight = scan(&body, &ends);
        prop_assert_eq!(sight.result, Ok(()));
        prop_assert!(sight.complete);
        for (index, (seen, found)) in sight.values.into_iter().enumerate() {
            let (expected_seen, place) = expected[index];
            prop_assert_eq!(seen, expected_seen);
            let expected_found = place.map(|(start, end)| {
                let whole = &body.as_bytes()[start as usize..end as usize];
                let kept = whole.len().min(WANTED[index].capture_bytes_max);
                (start, end, whole[..kept].to_vec(), kept < whole.len())
            });
            prop_assert_eq!(found, expected_found);
        }
    }

    #[test]
    fn likely_bodies_never_panic_and_splits_change_nothing(
        body in likely_body(), mut ends in proptest::collection::vec(0_usize..120, 0..6),
    ) {
        ends.sort_unstable();
        let whole = scan(&body, &[]);
        prop_assert_eq!(&scan(&body, &ends), &whole);
        if serde_json::from_slice::<serde_json::Map<String, serde_json::Value>>(&body).is_ok() {
            prop_assert!(whole.complete);
        }
    }

    #[test]
    fn any_bytes_never_panic_and_splits_change_nothing(
        body in proptest::collection::vec(any::<u8>(), 0..120), mut ends in proptest::collection::vec(0_usize..120, 0..6),
    ) {
        ends.sort_unstable();
        prop_assert_eq!(scan(&body, &ends), scan(&body, &[]));
        let object = [b"{\"model\":".as_slice(), &body].concat();
        prop_assert_eq!(scan(&object, &ends), scan(&object, &[]));
    }
}
