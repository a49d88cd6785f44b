//! Which proxy an upstream is reached through.

use super::*;

/// The upstream's table with more in it, read in that environment: the proxy, or the errors.
fn proxy_of(more: &str, variables: &[(&str, &str)]) -> Result<Option<(String, Option<String>)>, Vec<String>> {
    let text = BASE.replacen("provider = \"anthropic\"", &format!("provider = \"anthropic\"\n{more}"), 1);
    let found = |name: &str| {
        let own = variables.iter().find(|(own, _)| *own == name).map(|(_, value)| (*value).to_owned());
        own.or_else(|| env(name))
    };
    let config = parse(&text, &PathBuf::from("/etc/weir"), &found);
    let config = config.map_err(|errors| errors.iter().map(ToString::to_string).collect::<Vec<_>>())?;
    let proxy = config.upstreams[0].proxy.as_ref();
    Ok(proxy.map(|p| (p.authority.clone(), p.credential.as_ref().map(|secret| secret.expose().clone()))))
}

fn through(authority: &str) -> Result<Option<(String, Option<String>)>, Vec<String>> {
    Ok(Some((authority.to_owned(), None)))
}

#[test]
fn the_environments_proxy_is_passed_by() {
    let corp = ("HTTPS_PROXY", "http://proxy.corp:3128");
    assert_eq!(proxy_of("", &[]), Ok(None));
    assert_eq!(proxy_of("", &[corp]), through("proxy.corp:3128"));
    assert_eq!(proxy_of("", &[("https_proxy", "proxy.corp:3128/")]), through("proxy.corp:3128"));
    assert_eq!(proxy_of("", &[("ALL_PROXY", "http://[fd00::1]:8080")]), through("[fd00::1]:8080"));
    assert_eq!(proxy_of("", &[("HTTPS_PROXY", ""), ("all_proxy", "http://other")]), through("other:80"));
    assert_eq!(proxy_of("", &[("HTTP_PROXY", "http://proxy.corp:3128")]), Ok(None), "such proxies read requests");
}

#[test]
fn an_exception_of_no_proxy_goes_through_the_proxy_or_the_other_way_round() {
    let at = |url: &str, exceptions: &str| {
        let variables = [("HTTPS_PROXY", "http://proxy.corp:3128"), ("NO_PROXY", exceptions)];
        proxy_of(&format!("base_url = \"{url}\""), &variables).expect("a configuration").is_none()
    };
    assert!(at("https://api.anthropic.com", "other.example, anthropic.com"), "a domain and all below it");
    assert!(at("https://api.anthropic.com", ".anthropic.com"));
    assert!(at("https://api.anthropic.com", "*"));
    assert!(!at("https://api.notanthropic.com", "anthropic.com"));
    assert!(!at("https://api.anthropic.com", ""));
    assert!(at("https://10.1.2.3:8443", "10.0.0.0/8"), "a network");
    assert!(!at("https://11.1.2.3", "10.0.0.0/8"));
    assert!(at("https://[fd00::7]", "fd00::/8"));
}

#[test]
fn an_upstreams_own_word_counts_less_than_the_environments() {
    let corp = [("HTTPS_PROXY", "http://proxy.corp:3128"), ("NO_PROXY", "anthropic.com")];
    assert_eq!(proxy_of("proxy = \"direct\"", &corp[..1]), Ok(None));
    assert_eq!(proxy_of("proxy = \"http://own:1\"", &corp), through("own:1"), "exceptions are the environment's alone");
    let plain = "base_url = \"http://127.0.0.1:9\"";
    assert_eq!(proxy_of(plain, &[("HTTPS_PROXY", "http://p:1"), ("ALL_PROXY", "http://p:1")]), Ok(None));
    assert_eq!(proxy_of(&format!("{plain}\nproxy = \"http://own:1\""), &[]), through("own:1"));
}

#[test]
fn a_proxys_password_is_garbled_or_shown() {
    let url = "http://weir:p%40ss%2fword@proxy.corp:3128";
    // weir:p@ss/word
    let expected = Ok(Some(("proxy.corp:3128".to_owned(), Some("Basic d2VpcjpwQHNzL3dvcmQ=".to_owned()))));
    assert_eq!(proxy_of("proxy = \"${CORP}\"", &[("CORP", url)]), expected);
    assert_eq!(proxy_of("", &[("HTTPS_PROXY", url)]), expected);
    let without = Ok(Some(("p:1".to_owned(), Some("Basic d2VpcjoK".to_owned()))));
    assert_ne!(proxy_of("proxy = \"${CORP}\"", &[("CORP", "http://weir@p:1")]), without, "a colon, and no line break");
    for (more, variables) in [
        (format!("proxy = \"{url}\""), vec![]),
        ("proxy = \"${CORP}\"".to_owned(), vec![("CORP", "https://weir:p%40ss@proxy.corp:3128")]),
        ("proxy = \"${CORP}\"".to_owned(), vec![("CORP", "http://weir:p%ss@proxy.corp:3128")]),
        ("proxy = \"${CORP}\"".to_owned(), vec![("CORP", "http://weir:p%40ss@proxy corp")]),
        (String::new(), vec![("HTTPS_PROXY", "socks5://weir:p%40ss@proxy.corp:1080")]),
    ] {
        let errors = proxy_of(&more, &variables).expect_err(&more);
        assert_eq!(errors.len(), 1, "{errors:?}");
        assert!(errors[0].starts_with("upstream[0].proxy"), "{errors:?}");
        assert!(!errors[0].contains("ss@") && !errors[0].contains("p%"), "{errors:?}");
    }
}
