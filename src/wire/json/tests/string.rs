use proptest::prelude::*;

use super::*;

fn text(raw: &str) -> Option<String> {
    unescape_string(raw.as_bytes()).map(|text| text.into_owned())
}

#[test]
fn every_escape_says_what_json_says() {
    assert_eq!(
        text(r#""a\"\\\/\b\f\n\r\t\u0041\u00e9\u20AC\uD83D\uDE00z""#).unwrap(),
        "a\"\\/\u{8}\u{c}\n\r\tA\u{e9}\u{20ac}\u{1f600}z"
    );
    assert_eq!(text(r#""\u0000""#).unwrap(), "\0");
    assert_eq!(text(r#""""#).unwrap(), "");
    assert_eq!(text("\"h\u{e9}\u{1f600}\"").unwrap(), "h\u{e9}\u{1f600}");
}

#[test]
fn a_string_without_escapes_is_not_copied() {
    assert!(matches!(unescape_string(b"\"claude\""), Some(std::borrow::Cow::Borrowed("claude"))));
}

#[test]
fn what_is_not_one_string_is_nothing() {
    for raw in [
        "",
        "\"",
        "a",
        "\"a",
        "a\"",
        "\"a\"b\"",
        r#""\""#,
        r#""\q""#,
        r#""\u12""#,
        r#""\u12g4""#,
        r#""\u+123""#,
        r#""\ud800""#,
        r#""\ud800x""#,
        r#""\ud800\n""#,
        r#""\ud800\u0041""#,
        r#""\udc00""#,
        r#""\ud83d\ud83d""#,
        "\"a\nb\"",
        "\"\\n\n\"",
        "\"\\n\"\"",
    ] {
        assert_eq!(text(raw), None, "{raw}");
    }
    assert_eq!(unescape_string(b"\"\xff\""), None);
    assert_eq!(unescape_string(b"\"\\n\xff\""), None);
}

/// What a plain text is, byte by byte.
fn plain_by_bytes(rest: &[u8]) -> Option<&[u8]> {
    let len = rest.iter().position(|byte| !matches!(byte, b' '..=b'~') || matches!(byte, b'"' | b'\\'))?;
    (rest[len] == b'"').then(|| &rest[..len])
}

#[test]
fn every_byte_at_any_place_is_text_or_ends_it() {
    for byte in 0..=u8::MAX {
        for (before, after) in [(0, 40), (1, 0), (15, 1), (16, 15), (17, 40), (31, 0), (32, 16)] {
            let mut rest = vec![b'x'; before];
            rest.push(byte);
            rest.extend(std::iter::repeat_n(b'y', after));
            assert_eq!(plain_text(&rest), plain_by_bytes(&rest));
            rest.push(b'"');
            assert_eq!(plain_text(&rest), plain_by_bytes(&rest));
        }
    }
}

proptest! {
    #[test]
    fn plain_text_ends_where_a_look_byte_by_byte_says(rest in "[a-z \"\\\\\u{7f}\u{e9}\u{1}]{0,4}[a-z_]{0,40}[\"\\\\\n\u{e9}]?[a-z\"]{0,20}") {
        prop_assert_eq!(plain_text(rest.as_bytes()), plain_by_bytes(rest.as_bytes()));
    }

    #[test]
    fn any_text_survives_printing_and_unescaping(text in any::<String>()) {
        let printed = serde_json::to_string(&text).unwrap();
        prop_assert_eq!(unescape_string(printed.as_bytes()).unwrap(), text.as_str());
        let ascii: String = text.encode_utf16().map(|unit| format!("\\u{unit:04x}")).collect();
        let ascii = format!("\"{ascii}\"");
        prop_assert_eq!(unescape_string(ascii.as_bytes()).unwrap(), text.as_str());
    }

    #[test]
    fn strings_are_judged_like_serde_json_does(inside in "[\"\\\\ubn0-9a-fDd8C\n]{0,12}") {
        let raw = format!("\"{inside}\"");
        prop_assert_eq!(text(&raw), serde_json::from_str::<String>(&raw).ok());
    }

    #[test]
    fn any_bytes_never_panic(raw in proptest::collection::vec(any::<u8>(), 0..40)) {
        prop_assert_eq!(unescape_string(&raw).map(|text| text.into_owned()), serde_json::from_slice::<String>(&raw).ok());
    }
}
