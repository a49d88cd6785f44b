//! What must never be wrong in the ledger.

use super::*;
use crate::kernel::{
    ids::{RequestId, ShardId},
    keys::Principal,
    record::{Attempt, AttemptResult, inline},
    usage::{Usage, UsageSource},
    window::Period,
};

const NOON: u64 = 1_763_726_400; // 2025-11-21T12:00:00Z

fn record(names: &Names, n: u64, team: &str, at: u64, cost: i64) -> Record {
    let principal = Principal {
        key: format!("key-{team}"),
        user: format!("user-{}", n % 2),
        team: team.into(),
        project: String::new(),
    };
    Record {
        request_id: RequestId::new(at * 1000, ShardId(0), n),
        started_at: UnixMs(at * 1000),
        ended_at: UnixMs(at * 1000 + 1234),
        principal: Some(names.principal(&principal)),
        session: inline(format!("session-{n}").as_bytes()),
        model_requested: inline(b"sonnet"),
        model_served: inline(b"claude-sonnet-4-6"),
        upstream: Some(names.name("main")),
        status: 200,
        outcome: Outcome::Completed,
        usage: Usage {
            input: 10,
            output: 1,
            cache_read: 100,
            cache_write_5m: 5,
            cache_write_1h: 7,
            ..Usage::default()
        },
        usage_source: UsageSource::Reported,
        cost: Nanos(cost),
        ..Record::default()
    }
}

fn query(text: &[(&str, &str)]) -> Result<UsageQuery, String> {
    UsageQuery::parse(&text.iter().map(|(k, v)| (k.to_string(), v.to_string())).collect::<Vec<_>>())
}

fn filter(text: &[(&str, &str)]) -> Result<RecordFilter, String> {
    RecordFilter::parse(&text.iter().map(|(k, v)| (k.to_string(), v.to_string())).collect::<Vec<_>>())
}

fn ledger() -> (Arc<Names>, Ledger) {
    let names = Arc::new(Names::default());
    let mut ledger = Ledger::new(names.clone());
    ledger.apply(&record(&names, 1, "a", NOON, 1_000_000_001));
    ledger.apply(&record(&names, 2, "b", NOON + 3600, 5_000_000_000));
    ledger.apply(&record(&names, 3, "a", NOON + 86_400, 2_000_000_000));
    let mut refused = record(&names, 4, "a", NOON, 0);
    (refused.outcome, refused.refused_by, refused.usage) = (Outcome::Refused, Some("budget_spent"), Usage::default());
    ledger.apply(&refused);
    (names, ledger)
}

#[test]
fn usage_answers_have_exactly_the_promised_shape_and_exact_money() {
    let (_, ledger) = ledger();
    let rows = ledger.usage(&query(&[("group_by", "team,model")]).unwrap());
    let text = serde_json::to_string(&rows[1]).unwrap();
    assert_eq!(
        text,
        "{\"team\":\"a\",\"model\":\"claude-sonnet-4-6\",\"requests\":2,\"input_tokens\":20,\"output_tokens\":2,\
         \"cache_read_tokens\":200,\"cache_write_5m_tokens\":10,\"cache_write_1h_tokens\":14,\
         \"cost_usd\":\"3.000000001\",\"estimated_requests\":0,\"web_searches\":0,\"cache_hit_rate\":0.82}"
    );
    assert_eq!(rows[0].group[0].1, "b", "the most expensive comes first");
    assert_eq!((rows.len(), ledger.refused()), (2, 1));
}

#[test]
fn every_dimension_groups_and_adds_up_to_the_total() {
    let (_, ledger) = ledger();
    let total = ledger.usage(&UsageQuery::default());
    assert_eq!((total.len(), total[0].sums.requests, total[0].sums.cost), (1, 3, Nanos(8_000_000_001)));
    let groups = |by: &str| ledger.usage(&query(&[("group_by", by)]).unwrap());
    for dimension in Dimension::ALL {
        let rows = groups(dimension.as_str());
        assert_eq!(rows.iter().map(|r| r.sums.cost).sum::<Nanos>(), total[0].sums.cost, "{dimension:?}");
    }
    let names = |by: &str| groups(by).into_iter().map(|r| r.group[0].1.clone()).collect::<Vec<_>>();
    assert_eq!(names("day"), ["2025-11-21", "2025-11-22"]);
    assert_eq!(names("hour"), ["2025-11-21T12:00:00Z", "2025-11-21T13:00:00Z", "2025-11-22T12:00:00Z"]);
    assert_eq!(names("session"), ["session-2", "session-3", "session-1"]);
    assert_eq!(names("org"), ["default"]);
    assert_eq!(groups("day,hour").len(), 3);
    assert_eq!(Ledger::new(Arc::default()).usage(&UsageQuery::default())[0].sums.requests, 0);
}

#[test]
fn since_is_inside_and_until_is_outside() {
    let (_, ledger) = ledger();
    let requests = |pairs: &[(&str, &str)]| ledger.usage(&query(pairs).unwrap())[0].sums.requests;
    assert_eq!(requests(&[("since", "2025-11-21T13:00:00Z")]), 2);
    assert_eq!(requests(&[("until", "2025-11-21T13:00:00Z")]), 1);
    assert_eq!(requests(&[("since", "2025-11-21"), ("until", "2025-11-22")]), 2);
    assert_eq!(requests(&[("since", &NOON.to_string()), ("until", "")]), 3);
    assert_eq!(requests(&[("since", "2025-11-22T14:00:00+02:00")]), 1);
    assert_eq!(requests(&[("since", "2025-11-22T14:00:00 02:00")]), 1);
}

#[test]
fn a_question_that_cannot_be_answered_is_told_what_can_be_asked() {
    let error = query(&[("groupby", "team")]).unwrap_err();
    assert!(error.contains("groupby") && error.contains("group_by, since, until"), "{error}");
    let error = query(&[("group_by", "team,teams")]).unwrap_err();
    assert!(error.contains("`teams`") && error.contains("org, team, project"), "{error}");
    assert!(query(&[("since", "yesterday")]).unwrap_err().starts_with("since: `yesterday` is no time"));
    assert!(filter(&[("team", "a"), ("colour", "red")]).unwrap_err().contains("limit, request_id"));
    assert!(filter(&[("outcome", "done")]).unwrap_err().contains("client_aborted"));
    for limit in ["0", "10001", "x", ""] {
        assert!(filter(&[("limit", limit)]).unwrap_err().contains("from 1 to 10000"));
    }
}

#[test]
fn spending_is_found_by_scope_and_window_to_the_nano_dollar() {
    let (names, mut ledger) = ledger();
    let mut nobody = record(&names, 9, "a", NOON, 77);
    nobody.principal = None;
    ledger.apply(&nobody);
    let day = Period::Daily.window(NOON as i64);
    let month = Period::Monthly.window(NOON as i64);
    assert_eq!(ledger.spent(&Scope::Team("a".into()), day), Nanos(1_000_000_001));
    assert_eq!(ledger.spent(&Scope::Team("a".into()), month), Nanos(3_000_000_001));
    assert_eq!(ledger.spent(&Scope::Key("key-b".into()), Window::ALWAYS), Nanos(5_000_000_000));
    assert_eq!(ledger.spent(&Scope::User("user-1".into()), Window::ALWAYS), Nanos(3_000_000_001));
    assert_eq!(ledger.spent(&Scope::Org, day), Nanos(6_000_000_078));
    assert_eq!(ledger.spent(&Scope::Org, Period::Daily.window(NOON as i64 - 86_400)), Nanos::ZERO);
    assert_eq!(ledger.spent(&Scope::Team("nobody".into()), month), Nanos::ZERO);
}

#[test]
fn a_record_keeps_the_field_names_that_others_rely_on() {
    let names = Names::default();
    let mut record = record(&names, 1, "a", NOON, 5);
    record.attempts.push(Attempt {
        upstream: names.name("main"),
        status: 529,
        result: AttemptResult::Answered,
        duration_us: 3,
        maybe_billed: false,
    });
    record.request_sha256 = Some([0xab; 32]);
    record.usage_raw = Some(r#"{"input_tokens":7,"iterations":[]}"#.into());
    let json = serde_json::to_string(&RecordView::of(&record, &names)).unwrap();
    let expected = "request_id, upstream_request_id, started_at, ended_at, key, user, team, project, session, agent, \
        request_class, format, operation, model_requested, model_served, upstream, status, outcome, refused_by, stream, \
        request_bytes, response_bytes, usage, usage_source, usage_raw, cost_usd, reserved_usd, price_version, attempts, \
        ttfb_us, duration_us, gateway_us, request_sha256, response_sha256, body, request_cut, response_cut, \
        duplicate_of, repeated_by, objects, object_event";
    let mut from = 0;
    for name in expected.split(", ") {
        let at = json[from..].find(&format!("\"{name}\":")).unwrap_or_else(|| panic!("{name} in {json}"));
        from += at;
    }
    let value: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(value.as_object().unwrap().len(), expected.split(", ").count());
    let usage: Vec<_> = value["usage"].as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(usage, ["cache_read", "cache_write_1h", "cache_write_5m", "input", "output", "web_search"]);
    assert_eq!(value["started_at"], "2025-11-21T12:00:00.000Z");
    assert_eq!((&value["usage_source"], &value["cost_usd"]), (&"reported".into(), &"0.000000005".into()));
    assert_eq!((&value["project"], &value["attempts"][0]["status"]), (&serde_json::Value::Null, &529.into()));
    assert_eq!(value["request_sha256"], "ab".repeat(32));
    assert_eq!(value["usage_raw"], serde_json::json!({"input_tokens": 7, "iterations": []}));
    record.usage_raw = None;
    assert!(RecordView::of(&record, &names).usage_raw.is_none());
}

#[test]
fn the_newest_records_come_first_and_only_those_asked_for() {
    let (_, ledger) = ledger();
    let sessions = |pairs: &[(&str, &str)]| -> Vec<String> {
        ledger.requests(&filter(pairs).unwrap()).into_iter().filter_map(|r| r.session).collect()
    };
    assert_eq!(sessions(&[]), ["session-4", "session-3", "session-2", "session-1"]);
    assert_eq!(sessions(&[("limit", "1")]), ["session-4"]);
    assert_eq!(sessions(&[("team", "a"), ("outcome", "completed")]), ["session-3", "session-1"]);
    assert_eq!(sessions(&[("user", "user-0")]), ["session-4", "session-2"]);
    assert_eq!(sessions(&[("since", "2025-11-22")]), ["session-3"]);
    assert_eq!(sessions(&[("session", "session-2"), ("key", "key-b"), ("project", "")]), ["session-2"]);
    let id = ledger.requests(&filter(&[("session", "session-1")]).unwrap())[0].request_id.clone();
    assert_eq!(sessions(&[("request_id", &id)]), ["session-1"]);
}

#[test]
fn a_fleet_with_endless_sessions_does_not_grow_the_ledger_and_no_sum_changes() {
    let names = Arc::new(Names::default());
    let mut ledger = Ledger::bounded(names.clone(), 200);
    let start = NOON / 86_400 * 86_400;
    assert_eq!((ledger.image().detail().sessions_since, ledger.image().detail().hours_since), (None, None));
    for n in 0..10_000_u64 {
        // 72 hours, two teams, each request with a session of its own.
        let team = if n % 3 == 0 { "a" } else { "b" };
        ledger.apply(&record(&names, n, team, start + n * 72 * 3600 / 10_000, 1));
    }
    let detail = ledger.image().detail();
    assert!(detail.cells <= 460 && detail.cells_max == 200, "{detail:?}");
    // It says from when on it still knows sessions and hours, and it does.
    let (sessions, hours) = (detail.sessions_since.unwrap(), detail.hours_since.unwrap());
    assert!(sessions.starts_with("2025-11-23T") && hours.starts_with("2025-11-2"), "{sessions} {hours}");
    let rows = |pairs: &[(&str, &str)]| ledger.usage(&query(pairs).unwrap());
    let without = |pairs: &[(&str, &str)]| rows(pairs).iter().filter(|row| row.group[0].1.is_empty()).count();
    assert_eq!(without(&[("group_by", "session"), ("since", &sessions)]), 0);
    assert_eq!(without(&[("group_by", "session"), ("until", &sessions)]), 1);
    let costs: Vec<_> = rows(&[("group_by", "day")]).iter().map(|r| r.sums.cost.0).collect();
    assert_eq!(costs, [3334, 3333, 3333]);
    let teams: Vec<_> = rows(&[("group_by", "team")]).iter().map(|r| r.sums.cost.0).collect();
    assert_eq!(teams, [6666, 3334]);
}

#[test]
fn a_client_that_invents_models_does_not_grow_the_ledger() {
    let (names, mut ledger) = ledger();
    for n in 0..MODELS_MAX as u64 + 99 {
        let mut record = record(&names, 0, "a", NOON, 1);
        record.model_served = inline(format!("model-{n}").as_bytes());
        ledger.apply(&record);
    }
    let rows = ledger.usage(&query(&[("group_by", "model")]).unwrap());
    assert_eq!(rows.len(), MODELS_MAX + 1);
    let other = rows.iter().find(|row| row.group[0].1 == "other").unwrap();
    assert_eq!(other.sums.requests, 100);
}

#[test]
fn every_pair_of_dimensions_adds_up_and_a_condition_holds_without_being_shown() {
    let (names, mut ledger) = ledger();
    let mut odd = record(&names, 5, "b", NOON + 7200, 4);
    (odd.usage.batch, odd.usage.fast, odd.usage.geo_us, odd.usage.cache_read) = (true, true, true, 200_000);
    ledger.apply(&odd);
    let total = ledger.usage(&UsageQuery::default())[0].sums;
    for one in Dimension::ALL {
        for other in Dimension::ALL {
            let by = format!("{},{}", one.as_str(), other.as_str());
            let rows = ledger.usage(&query(&[("group_by", &by)]).unwrap());
            assert_eq!(rows.iter().map(|row| row.sums.requests).sum::<u64>(), total.requests, "{by}");
            assert_eq!(rows.iter().map(|row| row.sums.cost).sum::<Nanos>(), total.cost, "{by}");
        }
    }
    let classes = query(&[("group_by", "service_tier,context_window,inference_geo,speed")]).unwrap();
    let names_of = |row: &UsageRow| row.group.iter().map(|(_, name)| name.clone()).collect::<Vec<_>>();
    let rows: Vec<_> = ledger.usage(&classes).iter().map(names_of).collect();
    assert_eq!(rows, [["standard", "0-200k", "global", "standard"], ["batch", "200k-1M", "us", "fast"]]);
    let only = vec![(Dimension::Team, vec!["b".to_owned()]), (Dimension::Speed, vec!["fast".to_owned()])];
    let rows = ledger.usage(&UsageQuery { group_by: vec![Dimension::Key], only, ..UsageQuery::default() });
    assert_eq!((rows.len(), rows[0].group[0].1.as_str(), rows[0].sums.cost), (1, "key-b", Nanos(4)));
    let by_minute = UsageQuery { group_by: vec![Dimension::Minute], ..UsageQuery::default() };
    let minutes: Vec<_> = ledger.now.usage(&by_minute).iter().map(|row| row.group[0].1.clone()).collect();
    let wanted = ["2025-11-21T12:00:00Z", "2025-11-21T13:00:00Z", "2025-11-21T14:00:00Z", "2025-11-22T12:00:00Z"];
    assert_eq!(minutes, wanted);
}

#[test]
fn minutes_that_have_left_come_back_half_or_their_hours_lose_a_sum() {
    let names = Arc::new(Names::default());
    let mut ledger = Ledger::new(names.clone());
    for n in 0..MINUTES_MAX as u64 + 10 {
        ledger.apply(&record(&names, n, "a", NOON + 60 * n, 1));
    }
    ledger.apply(&record(&names, 0, "a", NOON, 1));
    let image = ledger.image();
    assert_eq!(image.minutes_since(), NOON as i64 + 600);
    let rows = |dimension| image.usage(&UsageQuery { group_by: vec![dimension], ..UsageQuery::default() });
    let minutes = rows(Dimension::Minute);
    assert_eq!(minutes.len(), MINUTES_MAX);
    assert!(minutes.iter().all(|row| row.sums.requests == 1));
    assert_eq!(rows(Dimension::Hour).iter().map(|row| row.sums.requests).sum::<u64>(), MINUTES_MAX as u64 + 11);
}

#[test]
fn a_clock_that_goes_back_makes_a_sum_negative_or_opens_a_spent_window_again() {
    let (names, mut ledger) = ledger();
    let day = |at: u64| Period::Daily.window(at as i64);
    let before = ledger.spent(&Scope::Team("a".into()), day(NOON));
    ledger.set_as_of(UnixMs((NOON + 86_400) * 1000));
    // Begun at noon, ended an hour before it: somebody has set the clock.
    let mut back = record(&names, 6, "a", NOON, 7);
    back.ended_at = UnixMs((NOON - 3600) * 1000);
    ledger.apply(&back);
    ledger.set_as_of(UnixMs((NOON - 3600) * 1000));
    assert_eq!(ledger.image().as_of(), UnixMs((NOON - 3600) * 1000), "it does not claim a future it has not seen");
    assert_eq!(ledger.spent(&Scope::Team("a".into()), day(NOON)), before + Nanos(7));
    ledger.apply(&record(&names, 7, "a", NOON - 86_400, 5));
    assert_eq!(ledger.spent(&Scope::Team("a".into()), day(NOON - 86_400)), Nanos(5));
    assert_eq!(ledger.spent(&Scope::Team("a".into()), day(NOON)), before + Nanos(7), "yesterday again is yesterday");
    assert!(ledger.requests(&RecordFilter::default()).iter().all(|record| !record.cost_usd.starts_with('-')));
}
