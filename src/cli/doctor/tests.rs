//! Hosts made of files.

use super::*;

const LIMITS: &str = "Limit                     Soft Limit           Hard Limit           Units     \n\
                      Max locked memory         unlimited            unlimited            bytes     \n\
                      Max open files            65536                1048576              files     \n";

/// A host that has everything, changed in one place; `None` takes a file away.
fn host(change: Option<(&str, Option<&str>)>) -> (tempfile::TempDir, Host) {
    let dir = tempfile::tempdir().unwrap();
    let files = [
        ("self/limits", LIMITS),
        ("sys/kernel/osrelease", "6.12.3-generic\n"),
        ("sys/kernel/io_uring_disabled", "0\n"),
        ("sys/net/core/somaxconn", "4096\n"),
        ("sys/net/ipv4/tcp_max_syn_backlog", "8192\n"),
        ("sys/net/ipv4/ip_local_port_range", "32768\t60999\n"),
        ("sys/net/ipv4/tcp_congestion_control", "cubic\n"),
    ];
    for (path, content) in files {
        let content = match change {
            Some((changed, content)) if changed == path => content,
            _ => Some(content),
        };
        let path = dir.path().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        if let Some(content) = content {
            std::fs::write(path, content).unwrap();
        }
    }
    let host = Host { proc: dir.path().into(), cores: 4 };
    (dir, host)
}

fn not_ok(host: &Host, probe: &dyn Fn() -> Result<(), String>) -> Vec<(&'static str, Verdict)> {
    let findings = examine(host, probe);
    findings.iter().filter(|f| f.verdict != Verdict::Ok).map(|f| (f.name, f.verdict)).collect()
}

#[test]
fn a_good_host_is_complained_about() {
    let (_dir, host) = host(None);
    assert_eq!(not_ok(&host, &|| Ok(())), []);
}

#[test]
fn a_shortcoming_goes_unnoticed() {
    use Verdict::{Fail, Warn};
    let few = LIMITS.replace("65536 ", "1024  ");
    let some = LIMITS.replace("65536 ", "8192  ");
    let locked = LIMITS.replace("Max locked memory         unlimited ", "Max locked memory         65536     ");
    for (path, content, name, verdict) in [
        ("sys/kernel/osrelease", Some("5.15.0-1"), "kernel", Fail),
        ("sys/kernel/osrelease", Some("6.0.19"), "kernel", Fail),
        ("sys/kernel/osrelease", Some("weird"), "kernel", Fail),
        ("sys/kernel/osrelease", None, "kernel", Fail),
        ("sys/kernel/io_uring_disabled", Some("1"), "kernel.io_uring_disabled", Warn),
        ("sys/kernel/io_uring_disabled", Some("2"), "kernel.io_uring_disabled", Fail),
        ("sys/net/core/somaxconn", Some("128"), "net.core.somaxconn", Warn),
        ("sys/net/core/somaxconn", None, "net.core.somaxconn", Warn),
        ("sys/net/ipv4/tcp_max_syn_backlog", Some("512"), "net.ipv4.tcp_max_syn_backlog", Warn),
        ("sys/net/ipv4/ip_local_port_range", Some("60999 32768"), "net.ipv4.ip_local_port_range", Warn),
        ("sys/net/ipv4/ip_local_port_range", Some("50000 60000"), "net.ipv4.ip_local_port_range", Warn),
        ("sys/net/ipv4/tcp_congestion_control", Some("reno"), "net.ipv4.tcp_congestion_control", Warn),
        ("self/limits", Some(few.as_str()), "open files (RLIMIT_NOFILE)", Fail),
        ("self/limits", Some(some.as_str()), "open files (RLIMIT_NOFILE)", Warn),
        ("self/limits", Some(locked.as_str()), "locked memory (RLIMIT_MEMLOCK)", Warn),
    ] {
        let (_dir, host) = host(Some((path, content)));
        assert_eq!(not_ok(&host, &|| Ok(())), [(name, verdict)], "{path} {content:?}");
    }
}

#[test]
fn a_kernel_without_the_switch_counts_as_switched_off() {
    let (_dir, host) = host(Some(("sys/kernel/io_uring_disabled", None)));
    assert_eq!(not_ok(&host, &|| Ok(())), []);
}

#[test]
fn a_ring_that_cannot_be_made_or_a_lonely_core_goes_unnoticed() {
    let (_dir, mut host) = host(None);
    host.cores = 1;
    let found = not_ok(&host, &|| Err("Operation not permitted".into()));
    assert_eq!(found, [("io_uring", Verdict::Fail), ("cores", Verdict::Warn)]);
}

#[test]
fn a_finding_is_printed_without_value_or_mend() {
    let (_dir, host) = host(Some(("sys/net/core/somaxconn", Some("128"))));
    let mut out = Vec::new();
    print(&examine(&host, &|| Err("no".into())), &mut out).unwrap();
    let text = String::from_utf8(out).unwrap();
    let somaxconn = "warn  net.core.somaxconn               128 (wanted: at least 4096)\n      \
                     mend: sysctl -w net.core.somaxconn=4096\n";
    assert!(text.contains(somaxconn), "{text}");
    assert!(text.contains("fail  io_uring                         not usable: no (wanted: usable)\n"), "{text}");
    assert!(text.contains("ok    open files (RLIMIT_NOFILE)       65536 (wanted: at least 65536)\n"), "{text}");
}

#[test]
fn the_limits_of_a_real_process_cannot_be_read() {
    let host = Host { proc: "/proc".into(), cores: 1 };
    assert!(host.limit("Max open files").is_some_and(|files| files > 0));
    assert!(host.sysctl("kernel.osrelease").is_some_and(|release| !release.is_empty()));
}
