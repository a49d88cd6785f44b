//! What must be there, what must be unique, and what must match something.

use super::*;

#[test]
fn a_gateway_that_could_serve_nobody_starts() {
    let without = |section: &str| {
        let mut keep = true;
        let mut text = String::new();
        for line in BASE.lines() {
            if line.starts_with('[') {
                keep = line != section;
            }
            if keep {
                text.push_str(line);
                text.push('\n');
            }
        }
        errors_of(&text)
    };
    // Keys can be made at run time.
    assert_eq!(without("[[key]]"), Vec::<String>::new());
    assert!(without("[[model]]")[0].starts_with("model: there is none"));
    assert!(without("[[upstream]]").iter().any(|error| error.starts_with("upstream: there is none")));
    let passthrough = BASE.replace(
        "[[model]]\nid = \"claude-sonnet-5-5\"\ntargets = [ { upstream = \"main\" } ]",
        "[models]\npassthrough = true",
    );
    assert_eq!(errors_of(&passthrough), Vec::<String>::new());
}

#[test]
fn two_things_share_a_name_or_a_secret() {
    let second = "[[upstream]]\nname = \"main\"\nprovider = \"anthropic\"\nauth = { bearer = \"${KEY}\" }";
    assert!(wrong(second).starts_with("upstream[1].name: is the name of another upstream too (upstream[0].name)"));
    let model = |id: &str| format!("[[model]]\nid = \"{id}\"\ntargets = [ {{ upstream = \"main\" }} ]");
    assert!(
        wrong(&model("claude-sonnet-5-5"))
            .starts_with("model[1].id: \"claude-sonnet-5-5\" already names a model (model[0].id)")
    );
    let alias = format!("{}\naliases = [\"b\", \"claude-sonnet-5-5\"]", model("a"));
    assert!(wrong(&alias).starts_with("model[1].aliases[1]: "), "{}", wrong(&alias));
    assert!(
        wrong("[[key]]\nid = \"dev-alice\"\nsecret = \"${BOB}\"")
            .starts_with("key[1].id: is the id of another key too")
    );
    let same = wrong("[[key]]\nid = \"dev-bob\"\nsecret = \"${ALICE}\"");
    assert!(same.starts_with("key[1].secret: is the secret of key \"dev-alice\" too"), "{same}");
    let hex: String = good("").keys[0].digest.unwrap().0.iter().map(|b| format!("{b:02x}")).collect();
    let hashed = wrong(&format!("[[key]]\nid = \"dev-bob\"\nsha256 = \"{hex}\""));
    assert!(hashed.starts_with("key[1].sha256: is the secret of key \"dev-alice\" too"), "{hashed}");
    let target = wrong_with("{ upstream = \"main\" }", "{ upstream = \"main\" }, { upstream = \"main\" }");
    assert!(target.starts_with("model[0].targets[1]: is listed twice"), "{target}");
}

#[test]
fn a_model_has_no_target_or_an_unknown_one() {
    assert!(wrong_with("targets = [ { upstream = \"main\" } ]", "").starts_with("model[0].targets: is missing"));
    assert!(wrong_with("[ { upstream = \"main\" } ]", "[]").starts_with("model[0].targets: is empty"));
    let unknown = wrong_with("{ upstream = \"main\" }", "{ upstream = \"elsewhere\" }");
    assert_eq!(unknown, "model[0].targets[0].upstream: no upstream is called \"elsewhere\"; known: \"main\"");
    assert!(wrong_with("\"claude-sonnet-5-5\"", "\"claude sonnet\"").starts_with("model[0].id: "));
}

#[test]
fn a_target_that_is_never_asked_is_taken() {
    let many: Vec<String> = (0..65).map(|n| format!("{{ upstream = \"main\", model = \"m{n}\" }}")).collect();
    let error = wrong_with("{ upstream = \"main\" }", &many.join(", "));
    assert!(error.starts_with("model[0].targets: has 65 entries"), "{error}");
    let error = wrong_with("targets = ", "strategy = \"random\"\ntargets = ");
    assert!(error.starts_with("model[0].strategy: is \"random\""), "{error}");
    for word in ["weight = 0", "rank = 101", "weight = \"1\"", "wieght = 2"] {
        let error = wrong_with("{ upstream = \"main\" }", &format!("{{ upstream = \"main\", {word} }}"));
        assert!(error.starts_with("model[0].targets[0]."), "{error}");
    }
}

#[test]
fn a_key_without_exactly_one_secret_is_taken() {
    assert!(wrong_with("secret = \"${ALICE}\"", "").starts_with("key[0]: has neither secret nor sha256"));
    assert!(wrong_with("secret = ", "sha256 = \"00\"\nsecret = ").starts_with("key[0]: has both"));
    assert!(wrong_with("secret = \"${ALICE}\"", "sha256 = \"00\"").starts_with("key[0].sha256: is not 64"));
    assert!(wrong_with("id = \"dev-alice\"", "").starts_with("key[0].id: is missing"));
    assert!(wrong_with("id = \"dev-alice\"", "id = \" \"").starts_with("key[0].id: is empty"));
}

#[test]
fn an_allow_list_that_allows_nothing_is_taken() {
    let error = wrong_with("project = \"checkout\"", "models = [\"claude-sonet-*\"]");
    assert_eq!(error, "key[0].models[0]: \"claude-sonet-*\" matches no model; known: \"claude-sonnet-5-5\"");
    assert!(wrong_with("project = \"checkout\"", "models = []").starts_with("key[0].models: allows no model"));
}

#[test]
fn credentials_go_over_plain_http_to_another_machine() {
    let with = |url: &str| BASE.replace("provider = ", &format!("base_url = \"{url}\"\nprovider = "));
    for local in ["http://127.0.0.1:1", "http://localhost:1", "http://[::1]:1", "https://example.com"] {
        assert_eq!(errors_of(&with(local)), Vec::<String>::new());
    }
    for remote in ["http://example.com", "http://10.0.0.1", "http://localhost.example.com"] {
        let errors = errors_of(&with(remote));
        assert!(errors.len() == 1 && errors[0].starts_with("upstream[0].base_url: is plain http"), "{errors:?}");
        assert_eq!(
            errors_of(&with(remote).replace("provider", "allow_plain_http = true\nprovider")),
            Vec::<String>::new()
        );
    }
    assert!(errors_of(&with("https://example.com/v1"))[0].contains("ends in /v1, which weir adds itself"));
}

#[test]
fn an_upstream_without_exactly_one_credential_is_taken() {
    assert!(wrong_with("auth = { api_key = \"${KEY}\" }", "").starts_with("upstream[0].auth: is missing"));
    assert!(wrong_with("{ api_key = \"${KEY}\" }", "{}").starts_with("upstream[0].auth: has neither"));
    let both = "{ api_key = \"${KEY}\", bearer = \"${KEY}\" }";
    assert!(wrong_with("{ api_key = \"${KEY}\" }", both).starts_with("upstream[0].auth: has both"));
}

#[test]
fn a_budget_limits_nobody_or_is_ambiguous() {
    let budget = |scope: &str| format!("[[budget]]\nscope = \"{scope}\"\namount = \"1\"\nperiod = \"daily\"");
    for scope in ["org", "team:platform", "project:checkout", "user:alice@example.com", "key:dev-alice", "team:*"] {
        good(&budget(scope));
    }
    let idle = |scope: &str| good(&budget(scope)).idle_scopes(&[]);
    assert_eq!(idle("user:alice"), ["budget[0] limits nobody: no key has user \"alice\""]);
    assert_eq!(
        idle("team:plattform"),
        ["budget[0] limits nobody: no key has team \"plattform\"; did you mean \"platform\"?"]
    );
    let later = KeyConfig { user: "alice".into(), ..good("").keys[0].clone() };
    assert!(good(&budget("user:alice")).idle_scopes(&[later]).is_empty() && idle("user:*").is_empty());
    for scope in ["team", "team:", "platform", "*", "Team:platform", ""] {
        assert!(wrong(&budget(scope)).starts_with("budget[0].scope: "), "{scope}");
    }
    let twice = wrong(&format!("{}\n{}", budget("org"), budget("org")));
    assert!(twice.starts_with("budget[1].scope: has a daily budget already (budget[0].scope)"), "{twice}");
    good(&format!("{}\n{}", budget("org"), budget("org").replace("daily", "monthly")));
    for (old, new, path) in [
        ("amount = \"1\"", "", "amount: is missing"),
        ("amount = \"1\"", "amount = 1", "amount: is a whole number"),
        ("amount = \"1\"", "amount = \"-1\"", "amount: \"-1\""),
        ("period = \"daily\"", "", "period: is missing"),
        ("\"daily\"", "\"yearly\"", "period: is \"yearly\""),
        ("amount", "mode = \"firm\"\namount", "mode: is \"firm\""),
        ("amount", "blocked_message = \"a\\nb\"\namount", "blocked_message: "),
    ] {
        let error = wrong(&budget("org").replacen(old, new, 1));
        assert!(error.starts_with(&format!("budget[0].{path}")), "{error}");
    }
}

#[test]
fn a_price_that_changes_nothing_is_taken() {
    let price = |upstream: &str, model: &str| {
        format!("[[price]]\nupstream = \"{upstream}\"\nmodel = \"{model}\"\ninput = \"1\"\noutput = \"2\"")
    };
    good(&price("main", "claude-sonnet-5-5"));
    good(&format!("[models]\npassthrough = true\n{}", price("main", "anything")));
    assert!(
        wrong(&price("mian", "claude-sonnet-5-5")).starts_with("price[0].upstream: no upstream is called \"mian\"")
    );
    assert!(wrong(&price("main", "claude-opus-5")).starts_with("price[0].model: no model with a target at \"main\""));
    let twice = format!("{}\n{}", price("main", "claude-sonnet-5-5"), price("main", "claude-sonnet-5-5"));
    assert!(wrong(&twice).starts_with("price[1].model: has a price at this upstream already (price[0].model)"));
}

#[test]
fn tls_files_that_do_not_work_are_found_only_at_the_start() {
    let dir = tls_dir();
    let check = |tls: &str| {
        let text = format!("{BASE}\n[listen]\ntls = {tls}");
        parse(&text, dir.path(), &env).err().unwrap_or_default().iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    assert_eq!(check("{ cert = \"tls.crt\", key = \"tls.key\", client_ca = \"other.crt\" }"), Vec::<String>::new());
    for (tls, start) in [
        ("{ cert = \"none.crt\", key = \"tls.key\" }", "listen.tls.cert: "),
        ("{ cert = \"tls.key\", key = \"tls.key\" }", "listen.tls.cert: "),
        ("{ cert = \"tls.crt\", key = \"tls.crt\" }", "listen.tls.key: "),
        ("{ cert = \"tls.crt\", key = \"other.key\" }", "listen.tls.key: does not go with the certificate"),
        ("{ cert = \"tls.crt\", key = \"tls.key\", client_ca = \"tls.key\" }", "listen.tls.client_ca: "),
        ("{ cert = \"tls.crt\", key = \".\" }", "listen.tls.key: "),
        ("{ cert = \"tls.crt\" }", "listen.tls.key: is missing"),
    ] {
        let errors = check(tls);
        assert!(errors.len() == 1 && errors[0].starts_with(start), "{tls}: {errors:?}");
        assert!(!errors[0].contains("PRIVATE"));
    }
    let text = BASE.replace("provider = ", "ca = \"tls.key\"\nprovider = ");
    let errors = parse(&text, dir.path(), &env).err().unwrap_or_default();
    assert!(errors.len() == 1 && errors[0].path == "upstream[0].ca", "{errors:?}");
}

#[test]
fn a_drain_time_without_a_drain_is_silently_ignored() {
    let upstream = |more: &str| format!("provider = \"anthropic\"\n{more}");
    let unused = wrong_with("provider = \"anthropic\"", &upstream("drain_max = \"5s\""));
    assert!(unused.starts_with("upstream[0].drain_max: "), "{unused}");
    let word = wrong_with("provider = \"anthropic\"", &upstream("on_abort = \"wait\""));
    assert!(word.starts_with("upstream[0].on_abort: is \"wait\"; write \"cancel\" or \"drain\""), "{word}");
    let long = wrong_with("provider = \"anthropic\"", &upstream("on_abort = \"drain\"\ndrain_max = \"2h\""));
    assert!(long.starts_with("upstream[0].drain_max: "), "{long}");
}

#[test]
fn a_rate_limit_that_limits_nothing_is_accepted_or_one_for_nobody_is_not_told() {
    for (table, start) in [
        ("scope = \"org\"", "rate_limit[0]: limits nothing"),
        ("requests_per_minute = 5", "rate_limit[0].scope: is missing"),
        ("scope = \"org\"\nrequests_per_minute = 0", "rate_limit[0].requests_per_minute: is 0"),
        (
            "scope = \"org\"\nrequests_per_minut = 5\nconcurrent_requests = 1",
            "rate_limit[0].requests_per_minut: is not",
        ),
        (
            "scope = \"org\"\nrequests_per_minute = 5\ncache_read_weight = \"0.1\"",
            "rate_limit[0].cache_read_weight: weighs",
        ),
        (
            "scope = \"org\"\ninput_tokens_per_minute = 5\ncache_read_weight = \"1.1\"",
            "rate_limit[0].cache_read_weight: is \"1.1\"",
        ),
        (
            "scope = \"org\"\ninput_tokens_per_minute = 5\ncache_read_weight = 0.1",
            "rate_limit[0].cache_read_weight: is a",
        ),
    ] {
        let error = wrong(&format!("[[rate_limit]]\n{table}"));
        assert!(error.starts_with(start), "{error}");
    }
    let idle = good("[[rate_limit]]\nscope = \"team:nobody\"\nrequests_per_minute = 5").idle_scopes(&[]);
    assert_eq!(idle, ["rate_limit[0] limits nobody: no key has team \"nobody\""]);
    let twice = "[[rate_limit]]\nscope = \"org\"\nrequests_per_minute = 5\n";
    let error = wrong(&format!("{twice}{twice}"));
    assert!(error.starts_with("rate_limit[1].scope: has rate limits already (rate_limit[0].scope)"), "{error}");
}
