//! Hosts made of files, and the files of `tuning/` held against the table.

use super::*;
use std::path::Path;

const LIMITS: &str = "Limit                     Soft Limit           Hard Limit           Units     \n\
                      Max locked memory         unlimited            unlimited            bytes     \n\
                      Max open files            65536                1048576              files     \n";
const GOVERNOR: &str = "S/devices/system/cpu/cpu3/cpufreq/scaling_governor";

/// A host that has everything, changed in one place; `None` takes a file away. `S` stands for `/sys`.
fn host(change: Option<(&str, Option<&str>)>) -> (tempfile::TempDir, Host) {
    let dir = tempfile::tempdir().unwrap();
    let files = [
        ("self/limits", LIMITS),
        ("sys/kernel/osrelease", "6.12.3-generic\n"),
        ("sys/kernel/io_uring_disabled", "0\n"),
        ("sys/net/core/somaxconn", "4096\n"),
        ("sys/net/ipv4/tcp_max_syn_backlog", "8192\n"),
        ("sys/net/ipv4/ip_local_port_range", "32768\t60999\n"),
        ("sys/net/ipv4/tcp_slow_start_after_idle", "0\n"),
        ("sys/net/ipv4/tcp_congestion_control", "cubic\n"),
        ("S/devices/system/cpu/cpu0/cpufreq/scaling_governor", "performance\n"),
        (GOVERNOR, "performance\n"),
        ("S/devices/system/cpu/cpufreq/scaling_governor", "not a core\n"),
        ("S/devices/system/cpu/cpu0/cpuidle/state0/latency", "0\n"),
        ("S/devices/system/cpu/cpu0/cpuidle/state1/latency", "133\n"),
        ("S/devices/system/cpu/cpu0/cpuidle/state1/disable", "1\n"),
        ("S/class/net/lo/queues/rx-0/rps_cpus", "0\n"),
        ("S/class/net/eth0/device/vendor", "0x8086\n"),
        ("S/class/net/eth0/queues/rx-0/rps_cpus", "0\n"),
        ("S/class/net/eth0/queues/rx-1/rps_cpus", "0\n"),
    ];
    for (path, content) in files {
        let content = match change {
            Some((changed, content)) if changed == path => content,
            _ => Some(content),
        };
        let path = dir.path().join(path);
        if let Some(content) = content {
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, content).unwrap();
        }
    }
    let host = Host { proc: dir.path().into(), sys: dir.path().join("S"), cores: 2 };
    (dir, host)
}

fn examined(host: &Host, probe: Probe<'_>) -> Vec<Finding> {
    examine(&knobs::all().unwrap(), host, probe)
}

fn not_ok(host: &Host, probe: Probe<'_>) -> Vec<(String, Verdict)> {
    let findings = examined(host, probe);
    findings.into_iter().filter(|f| f.verdict != Verdict::Ok).map(|f| (f.name, f.verdict)).collect()
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
        ("sys/net/ipv4/tcp_slow_start_after_idle", Some("1"), "net.ipv4.tcp_slow_start_after_idle", Warn),
        ("sys/net/ipv4/tcp_congestion_control", Some("reno"), "net.ipv4.tcp_congestion_control", Warn),
        ("self/limits", Some(few.as_str()), "open files (RLIMIT_NOFILE)", Fail),
        ("self/limits", Some(some.as_str()), "open files (RLIMIT_NOFILE)", Warn),
        ("self/limits", Some(locked.as_str()), "locked memory (RLIMIT_MEMLOCK)", Warn),
        (GOVERNOR, Some("powersave\n"), "frequency governor", Warn),
        ("S/devices/system/cpu/cpu0/cpuidle/state1/disable", Some("0"), "deep idle states", Warn),
        ("S/devices/system/cpu/cpu0/cpuidle/state1/disable", None, "deep idle states", Warn),
        ("S/class/net/eth0/queues/rx-1/rps_cpus", None, "network card queues", Warn),
    ] {
        let (_dir, host) = host(Some((path, content)));
        assert_eq!(not_ok(&host, &|| Ok(())), [(name.to_owned(), verdict)], "{path} {content:?}");
    }
}

#[test]
fn what_a_host_cannot_have_is_asked_of_it() {
    for path in ["sys/kernel/io_uring_disabled", GOVERNOR, "S/class/net/eth0/device/vendor"] {
        let (_dir, host) = host(Some((path, None)));
        assert_eq!(not_ok(&host, &|| Ok(())), [], "{path}");
    }
    let (dir, host) = host(None);
    std::fs::remove_dir_all(dir.path().join("S")).unwrap();
    assert_eq!(not_ok(&host, &|| Ok(())), [], "a container without /sys");
}

#[test]
fn a_ring_that_cannot_be_made_or_a_lonely_core_goes_unnoticed() {
    let (_dir, mut host) = host(None);
    host.cores = 1;
    let found = not_ok(&host, &|| Err("Operation not permitted".into()));
    assert_eq!(found, [("io_uring".to_owned(), Verdict::Fail), ("cores".to_owned(), Verdict::Warn)]);
}

#[test]
fn a_finding_is_printed_without_value_or_mend() {
    let (_dir, host) = host(Some(("sys/net/core/somaxconn", Some("128"))));
    let mut out = Vec::new();
    print(&examined(&host, &|| Err("no".into())), &mut out).unwrap();
    let text = String::from_utf8(out).unwrap();
    let somaxconn = "warn  net.core.somaxconn               128 (wanted: at least 4096)\n      \
                     mend: sysctl -w net.core.somaxconn=4096\n";
    assert!(text.contains(somaxconn), "{text}");
    assert!(text.contains("fail  io_uring                         not usable: no (wanted: usable)\n"), "{text}");
    assert!(text.contains("ok    open files (RLIMIT_NOFILE)       65536 (wanted: at least 65536)\n"), "{text}");
    assert!(text.contains("ok    locked memory (RLIMIT_MEMLOCK)   unlimited (wanted"), "{text}");
}

#[test]
fn the_limits_of_a_real_process_cannot_be_read() {
    let host = Host { proc: "/proc".into(), sys: "/sys".into(), cores: 1 };
    assert!(host.limit("Max open files").is_some_and(|files| files > 0));
    assert!(host.sysctl("kernel.osrelease").is_some_and(|release| !release.is_empty()));
}

fn tuning(file: &str) -> String {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("tuning").join(file)).unwrap()
}

#[test]
fn a_file_of_tuning_sets_what_the_table_does_not_know() {
    let knobs = knobs::all().unwrap();
    let from = |file: &'static str| knobs.iter().filter(move |knob| knob.from.as_deref() == Some(file));
    let sysctls = tuning("90-weir.conf");
    let set: Vec<(&str, &str)> =
        sysctls.lines().filter_map(|line| line.split_once(" = ")).filter(|(name, _)| !name.starts_with('#')).collect();
    let mut known: Vec<(&str, &str)> =
        from("90-weir.conf").map(|knob| (knob.key.as_str(), knob.set.as_deref().unwrap())).collect();
    let mut sorted = set.clone();
    known.sort_unstable();
    sorted.sort_unstable();
    assert_eq!(sorted, known);
    for file in ["weir.service", "cpu.sh", "nic.sh"] {
        let text = tuning(file);
        assert!(from(file).count() > 0, "{file}");
        for knob in from(file) {
            assert!(text.contains(knob.set.as_deref().unwrap()), "{file} does not set {}", knob.name);
        }
    }
}

#[test]
fn the_readme_says_something_else_of_a_knob_than_the_table() {
    let shown = |value: &Option<String>| value.clone().unwrap_or_else(|| "-".to_owned());
    let mut table =
        "| knob | value | set by | reason | measured effect | undo |\n|---|---|---|---|---|---|\n".to_owned();
    for knob in knobs::all().unwrap() {
        let value = if knob.set.is_some() { shown(&knob.set) } else { knob.wanted() };
        let value = if value.is_empty() { "usable".to_owned() } else { value };
        table.push_str(&format!(
            "| {} | `{value}` | {} | {} | {} | {} |\n",
            knob.name,
            shown(&knob.from),
            knob.why,
            knob.effect,
            if knob.undo == "-" { "-".to_owned() } else { format!("`{}`", knob.undo) },
        ));
    }
    assert!(tuning("README.md").contains(&table), "tuning/README.md wants this table:\n\n{table}");
}

#[test]
fn a_script_changes_something_that_it_cannot_take_back() {
    let (dir, _host) = host(Some(("S/devices/system/cpu/cpu0/cpuidle/state1/disable", Some("0\n"))));
    let governor = dir.path().join(GOVERNOR);
    std::fs::write(&governor, "powersave\n").unwrap();
    let state = dir.path().join("S/devices/system/cpu/cpu0/cpuidle/state1/disable");
    let script = |verb: &str| {
        let output = std::process::Command::new("bash")
            .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tuning/cpu.sh"))
            .arg(verb)
            .env("WEIR_TUNING_SYS", dir.path().join("S"))
            .env("WEIR_TUNING_RUN", dir.path().join("run"))
            .output()
            .unwrap();
        assert!(output.status.success(), "{verb}: {}", String::from_utf8_lossy(&output.stderr));
        [&governor, &state].map(|file| std::fs::read_to_string(file).unwrap())
    };
    assert_eq!(script("set"), ["performance\n", "1\n"]);
    assert_eq!(script("set"), ["performance\n", "1\n"], "twice is once");
    assert_eq!(script("undo"), ["powersave\n", "0\n"]);
}
