#!/usr/bin/env bash
# Measures everything that README.md promises and writes the table there, between its markers.
#
# One command, about half an hour with ten judged minutes of soak: builds weir for release, runs the benchmarks of governance, then
# `weir-loadtest numbers`: start, CPU beside nginx with TLS and without, memory of 5,000 idle streams, cost of an event among few
# streams and many, delay of events beside uploads, soak. Gateways on core 0, provider and generator on core 1: leave both alone.
#
# usage: loadtest/numbers.sh [options of `weir-loadtest numbers`, such as --rounds 3 --minutes 10 --seconds 3]
# The tables go to stdout, a page with plots to target/loadtest/numbers.html, and each run is one line of
# target/loadtest/history.jsonl.
set -euo pipefail

cd "$(dirname "$0")/.."
target=${CARGO_TARGET_DIR:-target}

fail() {
    echo "numbers: $*" >&2
    exit 1
}

command -v nginx >/dev/null || [ -x /usr/sbin/nginx ] || fail "nginx is not installed; install it (apt-get install nginx-light) and run again"
command -v taskset >/dev/null || fail "taskset is not installed; install util-linux and run again"
[ "$(nproc)" -ge 2 ] || fail "two cores are needed: one for the gateways, one for provider and generator"

cargo build --release --bin weir --bin weir-loadtest
cargo bench --bench governance -- --noplot governance >/dev/null
mkdir -p "$target/loadtest"
ulimit -n "$(ulimit -Hn)"
exec "$target/release/weir-loadtest" numbers --write README.md --criterion "$target/criterion" \
    --html "$target/loadtest/numbers.html" --history "$target/loadtest/history.jsonl" "$@"
