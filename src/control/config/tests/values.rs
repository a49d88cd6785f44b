//! Values: their types, units and bounds.

use super::*;

#[test]
fn an_unknown_key_is_ignored() {
    assert_eq!(wrong("[limits]\nbodymax = \"1MiB\""), "limits.bodymax: is not a known key; did you mean \"body_max\"?");
    assert_eq!(wrong("[limts]"), "limts: is not a known key; did you mean \"limits\"?");
    let far = wrong("[shards]\nzzzzzzzzzz = 1");
    assert_eq!(far, "shards.zzzzzzzzzz: is not a known key; remove it; known here: count, driver, pin");
    assert!(
        wrong_with("{ upstream = \"main\" }", "{ upstream = \"main\", wieght = 1 }")
            .starts_with("model[0].targets[0].wieght: ")
    );
    assert!(
        wrong_with("{ api_key = \"${KEY}\" }", "{ api_key = \"${KEY}\", x = 1 }").starts_with("upstream[0].auth.x: ")
    );
}

#[test]
fn a_value_of_the_wrong_type_is_taken() {
    let errors = errors_of(&format!("listen = 5\n{BASE}"));
    assert_eq!(errors, ["listen: is a whole number; write [listen] (or listen = { … }), one table"]);
    for (section, path) in [
        ("[shards]\ncount = \"4\"", "shards.count: is a text; write a whole number from 0 to 1024"),
        ("[shards]\npin = 1", "shards.pin: is a whole number; write true or false, without quotes"),
        ("[shards]\ncount = -1", "shards.count: is -1; write a whole number from 0 to 1024"),
        ("[store]\npath = 5", "store.path: is a whole number; write a text in quotes"),
        ("[listen]\nallow_from = [5]", "listen.allow_from[0]: is a whole number"),
        ("[models]\npassthrough = \"yes\"", "models.passthrough: is a text"),
        ("[[limits]]", "limits: is a list; write [limits] (or limits = { … }), one table"),
        ("[budget]\nscope = \"org\"", "budget: is a table; write [[budget]], a list of tables"),
    ] {
        let errors = errors_of(&format!("{BASE}\n{section}"));
        assert!(errors.iter().any(|error| error.starts_with(path)), "{section}: {errors:#?}");
    }
}

#[test]
fn a_limit_outside_its_bounds_is_taken() {
    for line in [
        "body_max = \"65MiB\"",
        "body_max = \"0B\"",
        "head_max = \"65KiB\"",
        "head_max = \"1KiB\"",
        "head_timeout = \"0s\"",
        "connect_timeout = \"3m\"",
        "stream_max_timeout = \"25h\"",
        "idle_timeout = \"5\"",
        "idle_timeout = \"-5s\"",
        "connections = 0",
        "connections = 999999999",
        "streams = 0",
    ] {
        let key = line.split(' ').next().unwrap();
        assert!(wrong(&format!("[limits]\n{line}")).starts_with(&format!("limits.{key}: is ")), "{line}");
    }
    let more = wrong("[limits]\nshed_subagent = 70");
    assert!(more.starts_with("limits.shed_auxiliary: is 80, more than the 70 of limits.shed_subagent"), "{more}");
    let shedding = good("[limits]\nshed_subagent = 70\nshed_auxiliary = 50\nqueue = 0").limits.shedding;
    assert_eq!((shedding.subagent_percent, shedding.auxiliary_percent), (70, 50));
    let more = wrong("[limits]\nconnections = 10\nstreams = 11");
    assert!(more.starts_with("limits.streams: is 11, more than the 10 connections"), "{more}");
    assert_eq!(good("[limits]\nconnections = 10").limits.streams_max, 10);
    assert_eq!(good("[limits]\nbody_max = \"64MiB\"").limits.body_bytes_max, 64 << 20);
}

#[test]
fn both_listeners_take_the_same_address() {
    for (clients, admin) in [("127.0.0.1:9", "127.0.0.1:9"), ("0.0.0.0:9", "127.0.0.1:9"), ("[::]:9", "[::1]:9")] {
        let error = wrong(&format!("[listen]\nclients = \"{clients}\"\nadmin = \"{admin}\""));
        assert!(error.starts_with("listen.admin: is the same address"), "{error}");
    }
    assert!(wrong("[listen]\nclients = \"127.0.0.1:8081\"").starts_with("listen.admin: "));
    good("[listen]\nclients = \"127.0.0.1:0\"\nadmin = \"127.0.0.1:0\"");
    good("[listen]\nclients = \"127.0.0.1:9\"\nadmin = \"127.0.0.2:9\"");
}

#[test]
fn a_network_or_an_empty_allow_list_is_misread() {
    assert!(wrong("[listen]\ntrusted_proxies = [\"10.0.0.0/33\"]").starts_with("listen.trusted_proxies[0]: is "));
    assert!(wrong("[listen]\nallow_from = []").starts_with("listen.allow_from: "));
}

#[test]
fn a_secret_is_taken_from_nowhere_or_shown() {
    for (written, part) in [
        ("alice-secret-value", "is a secret written out"),
        ("$ALICE", "is a secret written out"),
        ("${}", "is a secret written out"),
        ("x${ALICE}", "is a secret written out"),
        ("${NOBODY}", "NOBODY is not set"),
        ("${EMPTY}", "is empty"),
        ("${LINES}", "holds a space, a line break"),
        ("${file:/nonexistent/secret}", "/nonexistent/secret cannot be read"),
    ] {
        let error = wrong_with("${ALICE}", written);
        assert!(error.starts_with("key[0].secret: ") && error.contains(part), "{error}");
        assert!(!error.contains("alice-secret-value") && !error.contains("two"), "{error}");
    }
    assert!(wrong_with("token = \"${TOKEN}\"", "").starts_with("admin.token: is missing"));
    assert!(wrong_with("[admin]\ntoken = \"${TOKEN}\"", "").starts_with("admin.token: is missing"));
}

#[test]
fn a_secret_file_keeps_its_line_break_or_ignores_the_base_directory() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("alice"), "alice-secret-value\r\n").unwrap();
    let text = BASE.replace("${ALICE}", "${file:alice}");
    let config = parse(&text, dir.path(), &env).unwrap_or_else(|errors| panic!("{errors:#?}"));
    assert!(config.keys[0].digest == good("").keys[0].digest);
    let large = std::fs::File::create(dir.path().join("alice")).unwrap();
    large.set_len(1 << 30).unwrap();
    assert!(parse(&text, dir.path(), &env).is_err(), "a gigabyte is no secret");
}

#[test]
fn an_expiry_is_misread() {
    let at = |written: &str| {
        let text = BASE.replace("id = \"dev-alice\"", &format!("id = \"dev-alice\"\nexpires = {written}"));
        parsed(&text).map(|config| config.keys[0].expires)
    };
    assert_eq!(at("\"2027-01-01T00:00:00Z\"").ok(), Some(Some(1_798_761_600)));
    assert_eq!(at("2027-01-01T01:00:00+01:00").ok(), Some(Some(1_798_761_600)));
    for local in ["\"2027-01-01T00:00:00\"", "2027-01-01", "\"tomorrow\"", "5"] {
        let errors = at(local).err().unwrap_or_default();
        assert!(errors.len() == 1 && errors[0].path == "key[0].expires", "{local}: {errors:?}");
    }
}

#[test]
fn prices_are_misread_or_free() {
    for (section, path) in [
        ("[pricing]\nmultiplier = \"11\"", "pricing.multiplier"),
        ("[pricing]\nmultiplier = 1", "pricing.multiplier"),
        ("[pricing]\nunknown_model = { input = \"0\", output = \"1\" }", "pricing.unknown_model.input"),
        ("[pricing]\nunknown_model = { input = \"1\" }", "pricing.unknown_model.output"),
        ("[[price]]\nupstream = \"main\"\nmodel = \"claude-sonnet-5-5\"\ninput = \"1\"", "price[0].output"),
        (
            "[[price]]\nupstream = \"main\"\nmodel = \"claude-sonnet-5-5\"\ninput = \"1\"\noutput = \"0.0000001\"",
            "price[0].output",
        ),
    ] {
        let error = wrong(section);
        assert!(error.starts_with(&format!("{path}: ")), "{error}");
    }
}
