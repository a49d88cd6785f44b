//! Configuration files that change: what a reload would do is told before, and files are watched where that is asked for.

use std::fs;
use std::os::unix::fs::symlink;

use crate::fleet::{self, ALICE_KEY, BOB_KEY, Fleet};
use crate::support::{ADMIN_TOKEN, DEADLINE, eventually};

fn budget(amount: &str) -> String {
    format!("[[budget]]\nscope = \"team:platform\"\namount = \"{amount}\"\nperiod = \"monthly\"\n")
}

/// Exit code and stdout of `weir check --diff`.
fn diff(fleet: &Fleet, more: &[&str]) -> (Option<i32>, String) {
    let admin = format!("http://{}", fleet.weir.admin());
    let mut arguments = vec!["check", "--diff", "--admin", &admin];
    arguments.extend(more);
    let output = fleet::run_weir(&arguments, fleet.weir.dir());
    let text = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    for secret in [ALICE_KEY, BOB_KEY, ADMIN_TOKEN] {
        assert!(!text.contains(secret), "{text}");
    }
    (output.status.code(), text)
}

#[test]
fn a_reload_changes_what_was_not_told_before() {
    let fleet = fleet::start(&budget("1.00"));
    let before = fleet::config(fleet.provider.addr(), &budget("1.00"));
    assert_eq!(diff(&fleet, &[]).0, Some(0));
    let after = fleet::config(fleet.provider.addr(), &budget("2.00"))
        .replace("id = \"dev-eve\"", "id = \"dev-carol\"")
        .replace("${BOB_KEY}", "${EVE_KEY}x")
        .replace(
            "secret = \"${EVE_KEY}x\"",
            "sha256 = \"1111111111111111111111111111111111111111111111111111111111111111\"",
        )
        .replace("count = 2", "count = 3");
    fleet.weir.write_config(&after);
    let (code, text) = diff(&fleet, &[]);
    assert_eq!(code, Some(3), "{text}");
    for line in [
        "~ budget team:platform monthly: amount 1.00 -> 2.00\n",
        "+ key dev-carol\n",
        "- key dev-eve\n",
        "~ key dev-bob: ",
        "~ shards: count 2 -> 3\n",
        "not by a reload, but by weir serve --replace: shards.count\n",
    ] {
        assert!(text.contains(line), "{line} in {text}");
    }
    assert_eq!(fleet.budget("team:platform").amount, 1_000_000_000, "nothing was changed");
    fs::write(fleet.weir.dir().join("before.toml"), &before).expect("a file");
    let (code, against) = diff(&fleet, &["--against", "before.toml"]);
    assert!(code == Some(3) && against.contains("amount 1.00 -> 2.00"), "{against}");
    let (code, other) = diff(&fleet, &["--config", "before.toml"]);
    assert!(code == Some(1) && other.contains("is not what the gateway would read"), "{other}");
    fleet.weir.write_config(&after.replace("[shards]", "[shards]\nspeed = 1"));
    let (code, bad) = diff(&fleet, &[]);
    assert!(code == Some(2) && bad.contains("shards.speed"), "{bad}");
    fleet.weir.write_config(&before);
    let (code, same) = diff(&fleet, &[]);
    assert_eq!(code, Some(0), "{same}");
}

#[test]
fn a_changed_file_waits_for_a_signal_or_a_broken_one_counts() {
    let config = |fleet: &Fleet, amount: &str| {
        fleet::config(fleet.provider.addr(), &format!("{}[reload]\nwatch = true\n", budget(amount)))
    };
    let fleet = fleet::start(&format!("{}[reload]\nwatch = true\n", budget("1.00")));
    let path = fleet.weir.dir().join("weir.toml");
    let amount_is = |amount: i64| {
        eventually(DEADLINE, &format!("the budget is {amount}"), || {
            (fleet.budget("team:platform").amount == amount).then_some(())
        });
    };
    // As a mounted ConfigMap: the file is a link, whose target is swapped.
    let versions = fleet.weir.dir().join("versions");
    fs::create_dir(&versions).expect("a directory");
    let swap = |name: &str, text: &str| {
        fs::write(versions.join(name), text).expect("a version");
        let aside = fleet.weir.dir().join("weir.toml.new");
        symlink(versions.join(name), &aside).expect("a link");
        fs::rename(aside, &path).expect("a swap");
    };
    swap("2", &config(&fleet, "2.00"));
    amount_is(2_000_000_000);
    swap("broken", "[listen");
    eventually(DEADLINE, "the broken file is told", || fleet.weir.log().contains("reload refused").then_some(()));
    swap("3", &config(&fleet, "3.00"));
    amount_is(3_000_000_000);
    assert_eq!(fleet.weir.log().matches("reload refused").count(), 1, "once");
    let changes = fleet.weir.admin_get("/admin/v1/changes");
    assert!(
        changes["data"].as_array().is_some_and(|all| all.iter().any(|change| change["who"] == "watch")),
        "{changes}"
    );
}
