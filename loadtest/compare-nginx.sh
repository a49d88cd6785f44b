#!/usr/bin/env bash
# Measures weir beside other gateways on this machine: CPU time per request and per SSE event, latency, memory.
#
# One worker of each gateway on one core, provider and generator in one process on the other that never sleeps, so that no
# wake-up of a peer is charged to a gateway; the gateways take turns, round by round. weir does all it does for a fleet, the
# others only relay. nginx is the reference; whatever else of HAProxy (HTTP and TCP) and LiteLLM is installed is measured too.
#
# usage: loadtest/compare-nginx.sh [options of `weir-loadtest compare`, such as --rounds 5 --seconds 3 --workloads sse]
# The tables go to stdout, a page with plots to target/loadtest/report.html, and each run is one line of
# target/loadtest/history.jsonl.
set -euo pipefail

cd "$(dirname "$0")/.."
target=${CARGO_TARGET_DIR:-target}

fail() {
    echo "compare: $*" >&2
    exit 1
}

command -v nginx >/dev/null || [ -x /usr/sbin/nginx ] || fail "nginx is not installed; install it (apt-get install nginx-light) and run again"
command -v taskset >/dev/null || fail "taskset is not installed; install util-linux and run again"

cargo build --release --bin weir --bin weir-loadtest
mkdir -p "$target/loadtest"
ulimit -n "$(ulimit -Hn)"
exec "$target/release/weir-loadtest" compare --html "$target/loadtest/report.html" --history "$target/loadtest/history.jsonl" "$@"
