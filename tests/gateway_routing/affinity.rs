//! A session stays where its prompts are cached.

use std::collections::HashMap;

use crate::fixture::{Fleet, ask, name};

/// Which accounts served which sessions, from the providers' own books.
fn homes(fleet: &Fleet) -> HashMap<String, Vec<usize>> {
    let mut homes: HashMap<String, Vec<usize>> = HashMap::new();
    for place in 0..fleet.accounts.len() {
        fleet.asked(place);
        for entry in fleet.accounts[place].books().entries.iter().filter(|entry| entry.status == 200) {
            homes.entry(entry.headers["anthropic-sim-session"].clone()).or_default().push(place);
        }
    }
    homes
}

#[test]
fn a_session_wanders_between_accounts_or_all_go_to_one() {
    let fleet = Fleet::start("", &["", "", "", ""], "");
    for turn in 0..4 {
        for session in 0..40 {
            assert_eq!(ask(&fleet.weir, &format!("session-{session}"), "").status, 200, "{turn}");
        }
    }
    let homes = homes(&fleet);
    assert!(homes.values().all(|places| places.iter().all(|place| *place == places[0])), "{homes:?}");
    for place in 0..4 {
        let here = homes.values().filter(|places| places[0] == place).count();
        assert!((2..=20).contains(&here), "{here} of 40 sessions at {}", name(place));
    }
}

#[test]
fn a_session_that_had_to_move_moves_back_and_pays_for_its_prompt_again() {
    let fleet = Fleet::start("affinity", &["", ""], "");
    assert_eq!(ask(&fleet.weir, "mine", "").status, 200);
    let home = homes(&fleet)["mine"][0];
    fleet.accounts[home].set_script("status=529");
    assert_eq!(ask(&fleet.weir, "mine", "").status, 200);
    fleet.accounts[home].set_script("");
    for _ in 0..10 {
        assert_eq!(ask(&fleet.weir, "mine", "").status, 200);
    }
    let served = homes(&fleet).remove("mine").expect("served");
    assert_eq!(served.iter().filter(|place| **place == home).count(), 1, "bound where it was served last: {served:?}");
}

#[test]
fn a_failed_turn_binds_its_session() {
    let fleet = Fleet::start("affinity", &["", ""], "");
    assert_eq!(ask(&fleet.weir, "mine", "").status, 200);
    let home = homes(&fleet)["mine"][0];
    // Both fail once, the other last; nothing was served there.
    fleet.accounts.iter().for_each(|account| account.set_script("status=529"));
    assert_eq!(ask(&fleet.weir, "mine", "").status, 529);
    fleet.accounts.iter().for_each(|account| account.set_script(""));
    assert_eq!(ask(&fleet.weir, "mine", "").status, 200);
    assert!(homes(&fleet)["mine"].iter().all(|place| *place == home));
}

#[test]
fn weights_and_ranks_mean_nothing() {
    let fleet = {
        let accounts: Vec<_> = ["", "", ""].iter().map(|script| crate::fixture::account(script)).collect();
        let upstreams: String =
            accounts.iter().enumerate().map(|(at, a)| crate::fixture::upstream(&name(at), a.addr())).collect();
        let targets = [
            format!("{{ upstream = \"{}\", rank = 1 }}", name(2)),
            format!("{{ upstream = \"{}\", weight = 9 }}", name(0)),
            format!("{{ upstream = \"{}\", weight = 1 }}", name(1)),
        ];
        let model = crate::fixture::model("weighted", &targets);
        Fleet { weir: crate::fixture::gateway(1, &format!("{upstreams}{model}")), accounts }
    };
    for _ in 0..200 {
        assert_eq!(ask(&fleet.weir, "", "").status, 200);
    }
    let shares: Vec<u64> = (0..3).map(|place| fleet.asked(place)).collect();
    assert!(shares[0] > 140 && shares[1] > 2 && shares[2] == 0, "{shares:?}");
    for place in 0..2 {
        fleet.accounts[place].set_script("status=429,retry_after=600");
    }
    for _ in 0..5 {
        assert_eq!(ask(&fleet.weir, "", "").status, 200);
    }
    assert_eq!(fleet.asked(2), 5, "the later rank serves when the first takes nothing");
}
