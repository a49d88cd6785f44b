use super::*;

fn parse(text: &str) -> Script {
    text.parse().unwrap()
}

fn refuse(text: &str) -> String {
    text.parse::<Script>().unwrap_err().to_string()
}

#[test]
fn empty_script_is_not_the_default_answer() {
    assert_eq!(parse(""), Script::default());
    assert_eq!(Script::words_in_body(b"{\"messages\":[]}"), Ok(""));
}

#[test]
fn every_listed_key_is_known() {
    for key in KEYS.split_whitespace() {
        for value in ["1", "200", "103", "reset", "event", "true"] {
            if let Err(error) = format!("{key}={value}").parse::<Script>() {
                assert!(!error.to_string().contains("unknown key"), "{key} is listed but unknown");
            }
        }
    }
}

#[test]
fn unknown_key_is_swallowed() {
    let message = refuse("events=1 evnts=2");
    assert!(message.contains("`evnts`") && message.contains("event_bytes"), "{message}");
}

#[test]
fn commas_and_spaces_separate_alike() {
    let spaced = parse("events=3 gap_ms=2 cache_5m=7 reset_at=4 chunk=split");
    assert_eq!(spaced, parse("events=3,gap_ms=2, cache_5m=7,,reset_at=4\tchunk=split"));
    assert_eq!(spaced.content.events, 3);
    assert_eq!(spaced.fault.cut, Some((Cut::Reset, 4)));
    assert_eq!(spaced.framing.chunk, Some(ChunkMode::Split));
}

#[test]
fn script_in_body_is_missed_or_read_past_its_end() {
    let body = br#"{"messages":[{"role":"user","content":"x [[sim events=2 status=529]] events=9 [[sim events=7]]"}]}"#;
    let script = parse(Script::words_in_body(body).unwrap());
    assert_eq!((script.content.events, script.status.status), (2, Some(529)));
    assert!(Script::words_in_body(b"[[sim events=2").is_err());
}

#[test]
fn a_turn_has_the_words_of_another() {
    let words = "status=529 then tool=auto, tool_command=echo_a_b then events=3";
    let turns: Vec<&str> = (0..5).map(|turn| Script::words_of_turn(words, turn)).collect();
    assert_eq!(turns, ["status=529", "tool=auto, tool_command=echo_a_b", "events=3", "events=3", "events=3"]);
    assert_eq!(parse(turns[1]).content.tool_command.as_deref(), Some("echo a b"));
    assert_eq!(Script::words_of_turn("events=3", 9), "events=3");
}

#[test]
fn value_reaches_a_header_or_json_unescaped() {
    for text in ["model=a\"b", "tool=a\\b", "stop_reason=a\r\nx:y", "error_code=", "speed=ü"] {
        assert!(text.parse::<Script>().is_err(), "{text}");
    }
}

#[test]
fn number_overflows_or_is_out_of_range() {
    for text in [
        "events=99999999",
        "event_bytes=99999999999",
        "status=100",
        "status=99",
        "hundred=200",
        "p_fail=2",
        "p_fail=NaN",
        "output_tokens=18446744073709551615",
        "input_tokens=-1",
        "gap_ms=1.5",
        "thinking=yes",
        "events",
    ] {
        assert!(text.parse::<Script>().is_err(), "{text}");
    }
}

#[test]
fn contradictory_keys_are_taken() {
    for text in [
        "reset_at=1 close_at=2",
        "length=1 gzip=1",
        "length=1 pings=5",
        "until_close=1 chunk=split",
        "fail=reset",
        "length=1 error_at=3",
    ] {
        assert!(text.parse::<Script>().is_err(), "{text}");
    }
}
