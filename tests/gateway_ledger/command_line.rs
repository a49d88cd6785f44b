//! `weir usage` as it is typed.

use serde_json::Value;

use crate::fleet::{self, Ask, BOB_KEY, HAIKU};

#[test]
fn what_is_printed_is_not_what_the_admin_api_says() {
    let fleet = fleet::start("");
    let sim = "input_tokens=100000 output_tokens=1000";
    fleet.ask_record(Ask { sim, ..Ask::default() });
    fleet.ask_record(Ask { sim, key: BOB_KEY, model: HAIKU, session: "session-2", ..Ask::default() });
    fleet.all_records(2);
    let admin = format!("http://{}", fleet.weir.admin());
    let run = |more: &[&str]| {
        let words: Vec<&str> = ["usage", "--admin", &admin].into_iter().chain(more.iter().copied()).collect();
        let output = fleet::run_weir(&words, fleet.weir.dir());
        (output.status.code(), String::from_utf8_lossy(&output.stdout).into_owned())
    };
    let (code, table) = run(&["--by", "team"]);
    assert_eq!(code, Some(0));
    assert!(
        table.contains("platform") && table.contains("100,000") && !table.contains('█'),
        "no bars in a pipe: {table}"
    );
    let (_, drawn) = run(&["--by", "team", "--bars", "always"]);
    assert!(drawn.contains('█') && drawn.contains('%'), "{drawn}");
    let (_, json) = run(&["--by", "session,hour", "--format", "json"]);
    let json: Value = serde_json::from_str(&json).expect("JSON");
    assert_eq!(json["data"], Value::Array(fleet.usage("group_by=session,hour")));
    assert!(json["as_of"].is_string() && json["detail"]["cells_max"].as_u64() > Some(0), "{json}");
    let (_, csv) = run(&["--by", "session,hour", "--format", "csv", "--since", "2020-01-01"]);
    assert_eq!(csv.lines().count(), 3, "{csv}");
    assert!(csv.starts_with("session,hour,requests,"), "{csv}");
    let (code, _) = run(&["--by", "colour"]);
    assert_eq!(code, Some(1));
}
