#!/usr/bin/env bash
# Counts instructions instead of time: a regression of a hot path shows on a machine too noisy for a clock.
#
# weir serves a workload under callgrind, everything on, one shard; the table says how many instructions a request costs in
# user space, by thread and by function. callgrind knows no io_uring, so the shard runs on epoll here; and it knows no SHA
# instructions, so digests look dearer than they are.
#
# usage: loadtest/instructions.sh [WORKLOAD [REQUESTS [LINES]]]      (default: unary, 20000, 25)
# The whole profile stays in target/loadtest/callgrind.*: look at it with callgrind_annotate or kcachegrind.
set -euo pipefail

cd "$(dirname "$0")/.."
workload=${1:-unary}
requests=${2:-20000}
lines=${3:-25}
target=${CARGO_TARGET_DIR:-target}

command -v valgrind >/dev/null || {
    echo "instructions: valgrind is not installed; install it (apt-get install valgrind) and run again" >&2
    exit 1
}
cargo build --release --bin weir --bin weir-loadtest
mkdir -p "$target/loadtest"
rm -f "$target"/loadtest/callgrind.*
exec "$target/release/weir-loadtest" instructions --weir "$target/release/weir" --workload "$workload" \
    --requests "$requests" --lines "$lines" --out "$target/loadtest/callgrind"
