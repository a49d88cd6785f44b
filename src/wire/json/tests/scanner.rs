use super::*;

const BODY: &str = r#" {"model" : "claude-\"x\\", "messages":[{"a":"}]\"\\","b":[[],{}]},"\u0022"],"stream":true,"metadata":{"user_id":"0123456789abcdef"} ,"max_tokens":-1.5e+3}"#;

#[test]
fn members_are_found_with_their_offsets() {
    assert_eq!(raw(BODY, MODEL).unwrap(), r#""claude-\"x\\""#);
    assert_eq!(raw(BODY, MESSAGES).unwrap(), r#"[{"a":"}]\"\\","b":[[],{}]},"\u0022"]"#);
    assert_eq!(raw(BODY, STREAM).unwrap(), "true");
    assert_eq!(raw(BODY, METADATA).unwrap(), r#"{"user_id":"0123456789abcdef"}"#);
    assert_eq!(raw(BODY, MAX_TOKENS).unwrap(), "-1.5e+3");
    assert_eq!(raw("{}", MODEL), None);
    assert_eq!(raw(" \t\r\n{ } \n", MODEL), None);
}

#[test]
fn every_pair_of_splits_sees_the_same() {
    let mut scanner = TopLevelScanner::new(WANTED);
    let whole = scan(BODY, &[]);
    assert!(whole.complete && whole.values[METADATA].1.as_ref().unwrap().3);
    let steps: Vec<usize> = (0..=BODY.len()).collect();
    assert_eq!(scan(BODY, &steps), whole);
    for first in 0..=BODY.len() {
        for second in first..=BODY.len() {
            assert_eq!(scan_with(&mut scanner, BODY.as_bytes(), &[first, second]), whole, "split at {first}, {second}");
        }
    }
}

#[test]
fn a_key_in_disguise_is_the_same_key() {
    let body = r#"{"mod\u0065l":"a","\u006d\u006f\u0064\u0065\u006c":"b","k\u00e9y\ud83d\ude00":1}"#;
    let whole = scan(body, &[]);
    assert_eq!(whole.values[MODEL], (2, Some((14, 17, b"\"a\"".to_vec(), false))));
    assert_eq!(whole.values[UNICODE].0, 1);
    for split in 0..=body.len() {
        assert_eq!(scan(body, &[split]), whole, "split at {split}");
    }
    assert_eq!(scan("{\"k\u{e9}y\u{1f600}\":1}", &[]).values[UNICODE].0, 1);
    for other in ["Model", "model ", "mode", "models", "\\u0000model", "m\\u00f6del", "mod\\\\u0065l"] {
        assert_eq!(scan(format!("{{\"{other}\":1}}"), &[]).values[MODEL].0, 0, "{other}");
    }
}

#[test]
fn a_key_with_a_bad_escape_is_an_error_at_any_split() {
    for key in [r"\model", r"mod\el", r"\u12", r"\ud800", r"\udc00model"] {
        let body = format!("{{\"{key}\":1}}");
        let whole = scan(&body, &[]);
        assert_eq!(whole.result, Err(JsonError::KeyEscape { offset: 2 + key.len() as u64 }), "{key}");
        for split in 0..=body.len() {
            assert_eq!(scan(&body, &[split]), whole);
        }
    }
}

#[test]
fn duplicates_are_counted_and_the_first_value_stays() {
    let mut scanner = TopLevelScanner::new(WANTED);
    scanner.feed(br#"{"model":"a","model""#).unwrap();
    assert_eq!(scanner.seen(MODEL), 2, "visible as soon as the key is read");
    scanner.feed(br#":"b","messages":{"model":"c"}}"#).unwrap();
    assert_eq!(scanner.seen(MODEL), 2, "nested keys do not count");
    assert_eq!(scanner.value(MODEL).unwrap().raw, b"\"a\"");
    assert!(scanner.is_complete());
}

#[test]
fn a_value_shows_only_when_it_is_complete() {
    let mut scanner = TopLevelScanner::new(WANTED);
    scanner.feed(br#"{"max_tokens":12"#).unwrap();
    assert_eq!((scanner.seen(MAX_TOKENS), found(&scanner, MAX_TOKENS)), (1, None));
    scanner.feed(b"8").unwrap();
    assert_eq!(found(&scanner, MAX_TOKENS), None);
    scanner.feed(b"").unwrap();
    scanner.feed(b"\n").unwrap();
    assert_eq!(found(&scanner, MAX_TOKENS), Some((14, 17, b"128".to_vec(), false)));
    assert!(!scanner.is_complete());
    scanner.feed(br#","model":"cl"#).unwrap();
    assert_eq!(found(&scanner, MODEL), None);
    scanner.feed(b"\"").unwrap();
    assert_eq!(scanner.value(MODEL).unwrap().raw, b"\"cl\"");
}

#[test]
fn capture_stops_at_its_cap_and_offsets_go_on() {
    let long = "x".repeat(100);
    let body = format!(r#"{{"model":"{long}","messages":"abc"}}"#);
    for ends in [vec![], (0..body.len()).collect()] {
        let sight = scan(&body, &ends);
        let (start, end, captured, truncated) = sight.values[MODEL].1.clone().unwrap();
        assert_eq!((start, end, captured.len(), truncated), (9, 111, 64, true));
        assert_eq!(sight.values[MESSAGES].1, Some((123, 128, vec![], true)));
    }
    let exact = format!(r#"{{"model":"{}"}}"#, "x".repeat(62));
    assert!(!scan(exact, &[]).values[MODEL].1.as_ref().unwrap().3);
}

#[test]
fn a_5_mb_string_full_of_escapes_is_skipped() {
    let inside = r#"let s = \"{[\\\"]}\";\n"#.repeat(5 << 20 >> 4);
    let body = format!(r#"{{"messages":["{inside}"],"system":"{inside}","model":"m"}}"#);
    for step in [usize::MAX, 64 * 1024, 4093] {
        let ends: Vec<usize> =
            (1..).map_while(|n: usize| n.checked_mul(step).filter(|end| *end < body.len())).collect();
        let sight = scan(&body, &ends);
        assert_eq!((sight.result, sight.complete), (Ok(()), true));
        assert_eq!(sight.values[MODEL].1.as_ref().unwrap().2, b"\"m\"");
        assert_eq!(sight.values[MESSAGES].1.as_ref().unwrap().1, 12 + 4 + inside.len() as u64);
    }
}

#[test]
fn a_huge_key_is_skipped_without_being_kept() {
    let body = format!(r#"{{"{}":1,"model":2}}"#, r"\u0041".repeat(200_000));
    for ends in [vec![], vec![5, 100, 1000, 900_000]] {
        let mut scanner = TopLevelScanner::new(WANTED);
        let sight = scan_with(&mut scanner, body.as_bytes(), &ends);
        assert_eq!((sight.complete, sight.values[MODEL].0), (true, 1));
    }
}

#[test]
fn bodies_that_are_not_one_object_are_named() {
    let error = |body: &[u8]| scan(body, &[]).result.unwrap_err();
    assert_eq!(error(b"\xef\xbb\xbf{}"), JsonError::ByteOrderMark);
    for (body, found) in [
        ("[1]", "an array"),
        ("\"x\"", "a string"),
        (" -1", "a number"),
        ("true", "a boolean"),
        ("null", "null"),
        ("<", "not JSON"),
    ] {
        assert_eq!(error(body.as_bytes()), JsonError::NotAnObject { found });
        assert!(error(body.as_bytes()).to_string().contains(found));
    }
    assert_eq!(error(b"{}x"), JsonError::Trailing { offset: 2 });
    assert_eq!(error(b"{} {}"), JsonError::Trailing { offset: 3 });
}

#[test]
fn broken_structure_is_an_error_where_it_breaks() {
    for (body, at) in [
        ("{,", 1),
        ("{1", 1),
        ("{a", 1),
        ("{\"a\"}", 4),
        ("{\"a\" 1", 5),
        ("{\"a\":}", 5),
        ("{\"a\":,", 5),
        ("{\"a\":]", 5),
        ("{\"a\":x", 5),
        ("{\"a\":1 2", 7),
        ("{\"a\":1]", 6),
        ("{\"a\":1:", 6),
        ("{\"a\":1\"", 6),
        ("{\"a\":1,}", 7),
        ("{\"a\":1,,", 7),
        ("{\"a\":\"b\"\"", 8),
        ("{\"a\":[]]", 7),
        ("{\"a\":'b'", 5),
        ("{\"a\":1\0", 6),
        ("{\"a\":[\\\"],\"b\":[\"]}", 6),
        ("{\"a\":[\"\\\\\"\\]}", 10),
    ] {
        let result = scan(body, &[]).result;
        assert!(matches!(result, Err(JsonError::Unexpected { offset, .. }) if offset == at), "{body}: {result:?}");
    }
    for (body, at) in [("{\"a\":[}", 6), ("{\"a\":{]", 6), ("{\"a\":[[{}]}", 10), ("{\"a\":{\"b\":[}", 11)] {
        assert_eq!(scan(body, &[]).result, Err(JsonError::Mismatched { offset: at }), "{body}");
    }
}

#[test]
fn nesting_is_followed_to_its_cap_and_no_further() {
    let nested =
        |open: &str, close: &str, depth: usize| format!("{{\"a\":{}{}}}", open.repeat(depth), close.repeat(depth));
    assert!(scan(nested("[", "]", 512), &[]).complete);
    assert!(scan(nested("{\"a\":", "}", 512), &[7, 100]).complete);
    assert_eq!(scan(nested("[", "]", 513), &[]).result, Err(JsonError::TooDeep { offset: 5 + 512 }));
    let alternating = format!("{{\"a\":{}{}", "[{".repeat(200), "}]".repeat(200));
    assert_eq!(scan(&alternating, &[]).result, Ok(()));
    assert!(scan(alternating + "}", &[]).complete);
}

#[test]
fn a_cut_body_is_not_complete() {
    for end in 0..BODY.len() {
        let sight = scan(&BODY[..end], &[]);
        assert_eq!((sight.result, sight.complete), (Ok(()), false), "cut at {end}");
    }
}

#[test]
fn a_reset_scanner_keeps_nothing_of_the_body_before() {
    let mut scanner = TopLevelScanner::new(WANTED);
    for before in ["{\"model\":\"abc\",\"model\":1", "{\"mod", "{\"model\":[{\"\\", "]", "{\"a\":[["] {
        let _ = scanner.feed(before.as_bytes());
        assert_eq!(scan_with(&mut scanner, BODY.as_bytes(), &[]), scan(BODY, &[]), "after {before}");
    }
}

#[test]
fn an_index_nobody_asked_for_is_no_panic() {
    let scanner = TopLevelScanner::new(WANTED);
    assert_eq!((scanner.seen(99), scanner.value(99)), (0, None));
}
