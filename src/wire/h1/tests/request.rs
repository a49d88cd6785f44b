use super::*;

#[test]
fn claude_code_head_is_read_into_offsets() {
    let input = b"POST /v1/messages?beta=true HTTP/1.1\r\nHost: gw.example:8443\r\nContent-Length: 17\r\n\
        Authorization: Bearer k\r\nX-Claude-Code-Session-Id:  s-1 \t\r\nAnthropic-Beta: a\r\nanthropic-beta: b\r\n\
        X-Empty:\r\n\r\n{\"model\":\"x\"}";
    let head = request(input).unwrap().unwrap();
    assert_eq!(head.method, Method::Post);
    assert_eq!(head.method_name.of(input), b"POST");
    assert_eq!(head.target.of(input), b"/v1/messages?beta=true");
    assert_eq!(head.path.of(input), b"/v1/messages");
    assert_eq!(head.query.of(input), b"beta=true");
    assert_eq!((head.minor_version, head.keep_alive, head.expect_continue), (1, true, false));
    assert_eq!(head.body, RequestBody::Length(17));
    assert_eq!(&input[head.head_len..], b"{\"model\":\"x\"}");
    assert_eq!(header(input, &head.headers, Known::ClaudeCodeSessionId), Some(&b"s-1"[..]));
    assert_eq!(header(input, &head.headers, Known::Cookie), None);
    let betas: Vec<_> = header_all(input, &head.headers, Known::AnthropicBeta).collect();
    assert_eq!(betas, [b"a", b"b"]);
    let empty = head.headers.last().unwrap();
    assert_eq!(
        (empty.name.of(input), empty.value.of(input), empty.value.is_empty()),
        (&b"X-Empty"[..], &b""[..], true)
    );
}

#[test]
fn a_reused_head_keeps_nothing_of_the_request_before() {
    let mut parser = RequestParser::new(LIMITS);
    let mut head = RequestHead::default();
    let first =
        b"POST /a?q HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 3\r\nConnection: close\r\n\r\n";
    assert_eq!(parser.parse(first, &mut head), Ok(Progress::Complete));
    assert!(head.expect_continue && !head.keep_alive);
    let second = b"GET /b HTTP/1.1\r\nHost: b\r\n\r\n";
    assert_eq!(parser.parse(second, &mut head), Ok(Progress::Complete));
    assert_eq!(Some(&head), request(second).unwrap().as_ref());
}

#[test]
fn a_stale_parser_starts_over_instead_of_skipping_bytes() {
    let mut parser = RequestParser::new(LIMITS);
    let mut head = RequestHead::default();
    assert_eq!(
        parser.parse(b"GET /long/path/that/never/ends HTTP/1.1\r\nHost: a\r\nX: y\r\n", &mut head),
        Ok(Progress::Partial)
    );
    assert_eq!(parser.parse(b"GET / HTTP/1.1\r\nHost: b\r\n\r\n", &mut head), Ok(Progress::Complete));
}

#[test]
fn a_span_of_another_buffer_is_empty_and_does_not_panic() {
    assert_eq!(Span { start: 5, end: 9 }.of(b"abc"), b"");
    assert_eq!(Span { start: 2, end: 1 }.of(b"abc"), b"");
    assert_eq!(Span { start: 2, end: 1 }.len(), 0);
    assert!(Span { start: 2, end: 1 }.is_empty());
    assert_eq!(Span { start: 1, end: u32::MAX }.of(b"abc"), b"");
}

fn path_and_query(method: &str, target: &str) -> Result<(String, String), HeadError> {
    let input = format!("{method} {target} HTTP/1.1\r\nHost: h\r\n\r\n");
    let head = request(&input)?.expect("complete");
    let text = |span: Span| String::from_utf8(span.of(input.as_bytes()).to_vec()).unwrap();
    assert_eq!(text(head.target), target);
    Ok((text(head.path), text(head.query)))
}

#[test]
fn the_path_is_never_decoded_or_normalised() {
    for path in ["/model/arn%3Aaws%3Abedrock%2Fx/invoke", "//a/./../b", "/a;b:c@d", "/%2e%2e/x", "/"] {
        assert_eq!(path_and_query("POST", path), Ok((path.into(), String::new())), "{path}");
    }
    assert_eq!(path_and_query("GET", "/a?b?c/d"), Ok(("/a".into(), "b?c/d".into())));
    assert_eq!(path_and_query("GET", "/a?"), Ok(("/a".into(), String::new())));
}

#[test]
fn absolute_form_is_routed_by_its_raw_path() {
    let ok = |path: &str, query: &str| Ok((path.to_owned(), query.to_owned()));
    assert_eq!(path_and_query("GET", "http://gw/v1/models?limit=1"), ok("/v1/models", "limit=1"));
    assert_eq!(path_and_query("GET", "HTTPS://gw:443/v1%2Fx"), ok("/v1%2Fx", ""));
    assert_eq!(path_and_query("GET", "http://gw"), ok("/", ""));
    assert_eq!(path_and_query("GET", "http://gw?a=/b"), ok("/", "a=/b"));
    assert_eq!(path_and_query("GET", "http://[::1]:80/"), ok("/", ""));
    assert_eq!(path_and_query("OPTIONS", "*"), ok("*", ""));
}

#[test]
fn targets_in_other_forms_are_refused() {
    for target in [
        "*",
        "a/b",
        "?x",
        "http:/a",
        "http:///a",
        "ftp://h/a",
        "http://u@h/",
        "h:443",
        "/a#b",
        "/a\"\u{e9}",
        "/\u{7f}",
        ":",
    ] {
        let error = path_and_query("GET", target).unwrap_err();
        assert_eq!((error.status(), target), (400, target));
    }
    assert_eq!(path_and_query("OPTIONS", "*x"), Err(HeadError::Target));
}

#[test]
fn tunnels_are_refused_and_unknown_methods_kept() {
    assert_eq!(request("CONNECT h:443 HTTP/1.1\r\nHost: h\r\n\r\n"), Err(HeadError::MethodRefused));
    assert_eq!(request("TRACE / HTTP/1.1\r\nHost: h\r\n\r\n"), Err(HeadError::MethodRefused));
    let method = |name: &str| request(format!("{name} / HTTP/1.1\r\nHost: h\r\n\r\n")).unwrap().unwrap().method;
    assert_eq!(method("PROPFIND"), Method::Other);
    assert_eq!(method("get"), Method::Other);
    assert_eq!(method("HEAD"), Method::Head);
    assert_eq!(request(format!("{} / HTTP/1.1\r\n", "A".repeat(33))), Err(HeadError::MethodName));
}

#[test]
fn foreign_protocols_are_refused_before_they_fill_the_buffer() {
    assert_eq!(request(b"\x16\x03\x01\x02\x00"), Err(HeadError::RequestLine));
    assert_eq!(request(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"), Err(HeadError::Version));
    for version in ["HTTP/1.2", "HTTP/0.9", "HTTP/3", "HTTP/2.0"] {
        assert_eq!(request(format!("GET / {version}\r\nHost: h\r\n\r\n")).unwrap_err().status(), 505, "{version}");
    }
    for line in [
        "GET /",
        "GET",
        "GET / http/1.1",
        "GET  / HTTP/1.1",
        "GET / HTTP/1.1 ",
        "GET /  HTTP/1.1",
        " GET / HTTP/1.1",
        "GET\t/ HTTP/1.1",
        "GET / HTTP/1.10",
    ] {
        assert_eq!(request(format!("{line}\r\nHost: h\r\n\r\n")).map_err(|error| error.status()), Err(400), "{line:?}");
    }
}

#[test]
fn one_leading_crlf_is_skipped_and_a_second_refused() {
    let input = b"\r\nGET /x HTTP/1.1\r\nHost: h\r\n\r\nrest";
    let head = request(input).unwrap().unwrap();
    assert_eq!((head.path.of(input), &input[head.head_len..]), (&b"/x"[..], &b"rest"[..]));
    assert_eq!(request(b"\r\n\r\nGET / HTTP/1.1\r\nHost: h\r\n\r\n"), Err(HeadError::RequestLine));
}

#[test]
fn persistence_follows_version_and_connection_tokens() {
    let keep = |version: &str, lines: &str| {
        request(format!("GET / {version}\r\nHost: h\r\n{lines}\r\n")).unwrap().unwrap().keep_alive
    };
    assert!(keep("HTTP/1.1", ""));
    assert!(!keep("HTTP/1.0", ""));
    assert!(keep("HTTP/1.0", "Connection: foo , Keep-Alive\r\n"));
    assert!(!keep("HTTP/1.1", "Connection: x-a,, CLOSE\r\n"));
    assert!(!keep("HTTP/1.1", "Connection: keep-alive\r\nConnection: close\r\n"));
    assert!(keep("HTTP/1.1", "Connection: not-close\r\n"));
    let input = b"GET / HTTP/1.1\r\nHost: h\r\nConnection: close, X-Hop\r\n\r\n";
    let head = request(input).unwrap().unwrap();
    assert_eq!(connection_names(input, &head.headers).collect::<Vec<_>>(), [&b"close"[..], b"X-Hop"]);
}

#[test]
fn limits_cut_off_a_head_that_is_not_complete_yet() {
    let long = |len: usize| "a".repeat(len);
    let target = format!("GET /{}", long(LIMITS.target_bytes_max));
    assert_eq!(request(&target), Err(HeadError::TargetTooLong));
    assert_eq!(request(&target[..target.len() - 1]), Ok(None));
    assert_eq!(request(format!("GET /{} HTTP/1.1\r\nHost: h\r\n\r\n", long(40_000))), Err(HeadError::TargetTooLong));
    assert_eq!(post_with(&format!("X: {}", long(LIMITS.head_bytes_max))), Err(HeadError::HeadTooLong));
    assert_eq!(
        request(format!("GET / HTTP/1.1\r\nHost: h\r\nX: {}", long(LIMITS.head_bytes_max))),
        Err(HeadError::HeadTooLong)
    );
    let at_limit = |extra: usize| {
        let fixed = "GET / HTTP/1.1\r\nHost: h\r\nX: \r\n\r\n".len();
        request(format!("GET / HTTP/1.1\r\nHost: h\r\nX: {}\r\n\r\n", long(LIMITS.head_bytes_max - fixed + extra)))
    };
    assert!(at_limit(0).unwrap().is_some());
    assert_eq!(at_limit(1), Err(HeadError::HeadTooLong));
    assert!(post_with(&"a: b\r\n".repeat(99)).unwrap().is_some());
    assert_eq!(post_with(&"a: b\r\n".repeat(100)), Err(HeadError::TooManyHeaders));
}

#[test]
fn a_configured_header_count_above_the_table_does_not_panic() {
    let limits = HeadLimits { headers_max: 10_000, ..LIMITS };
    let parse = |count: usize| {
        let input = format!("GET / HTTP/1.1\r\nHost: h\r\n{}\r\n", "a: b\r\n".repeat(count));
        RequestParser::new(limits).parse(input.as_bytes(), &mut RequestHead::default())
    };
    assert_eq!(parse(HEADERS_MAX - 1), Ok(Progress::Complete));
    assert_eq!(parse(HEADERS_MAX), Err(HeadError::TooManyHeaders));
}

#[test]
fn every_error_has_a_client_status_and_a_sentence() {
    for error in [HeadError::Target, HeadError::LengthWithCoding, HeadError::BareLineFeed, HeadError::HostMissing] {
        assert_eq!(error.status(), 400);
        assert!(error.to_string().len() > 20);
    }
    assert_eq!(HeadError::TargetTooLong.status(), 414);
    assert_eq!(HeadError::Expectation.status(), 417);
    assert_eq!(HeadError::HeadTooLong.status(), 431);
    assert_eq!(HeadError::TooManyHeaders.status(), 431);
    assert_eq!(HeadError::CodingUnknown.status(), 501);
}
