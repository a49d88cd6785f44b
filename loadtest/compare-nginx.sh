#!/usr/bin/env bash
# Measures weir against nginx as a plain streaming reverse proxy: CPU time per request and per SSE event.
#
# nginx (one worker) and weir (one shard) share core 0 and take turns; provider and generator live in one process on
# core 1 that never sleeps, so that no wake-up of a peer is charged to a gateway. weir identifies the caller, holds a
# team budget, meters and journals; nginx only relays.
#
# nginx reads bodies into 64 KiB buffers: with its default of 16 KiB a 64 KiB upload costs it twice the CPU time.
#
# usage: loadtest/compare-nginx.sh [options of `weir-loadtest compare`, such as --rounds 5 --seconds 3 --workloads sse]
# environment:
#   BIN            directory with weir and weir-loadtest   (default: target/release, built if it is missing)
#   GATEWAY_CORE   core of the gateways                    (default: 0)
#   PEER_CORE      core of provider and generator          (default: 1)
#   PROVIDER_PORT, NGINX_PORT   loopback ports             (default: 19310, 19311)
#   WITHOUT_WEIR=1 measures nginx alone
set -euo pipefail

here=$(cd "$(dirname "$0")/.." && pwd)
gateway_core=${GATEWAY_CORE:-0}
peer_core=${PEER_CORE:-1}
provider_port=${PROVIDER_PORT:-19310}
nginx_port=${NGINX_PORT:-19311}

fail() {
    echo "compare-nginx: $*" >&2
    exit 1
}

command -v nginx >/dev/null || fail "nginx is not installed; install it (apt-get install nginx-light) and run again"
command -v taskset >/dev/null || fail "taskset is not installed; install util-linux and run again"
[ -d "/sys/devices/system/cpu/cpu$peer_core" ] || fail "there is no core $peer_core: two cores are needed"

if [ -z "${BIN:-}" ]; then
    BIN=${CARGO_TARGET_DIR:-$here/target}/release
    (cd "$here" && cargo build --release --bin weir --bin weir-loadtest)
fi
[ -x "$BIN/weir-loadtest" ] || fail "no weir-loadtest in $BIN"

dir=$(mktemp -d)
nginx_pid=
weir_pid=
clean_up() {
    [ -z "$nginx_pid" ] || kill "$nginx_pid" 2>/dev/null || true
    [ -z "$weir_pid" ] || kill "$weir_pid" 2>/dev/null || true
    wait 2>/dev/null || true
    rm -rf "$dir"
}
trap clean_up EXIT
trap 'exit 130' INT TERM

# Waits until a file holds a line that matches, at most ten seconds.
wait_for_line() {
    local file=$1 pattern=$2 tries=0
    until grep -qE "$pattern" "$file" 2>/dev/null; do
        tries=$((tries + 1))
        [ "$tries" -lt 200 ] || return 1
        sleep 0.05
    done
}

start_nginx() {
    cat >"$dir/nginx.conf" <<CONF
$([ "$(id -u)" -ne 0 ] || echo 'user root;')
worker_processes 1;
daemon off;
pid $dir/nginx.pid;
error_log $dir/nginx.log warn;
events { worker_connections 8192; }
http {
    access_log off;
    client_body_temp_path $dir/body;
    proxy_temp_path $dir/proxy;
    fastcgi_temp_path $dir/fastcgi;
    uwsgi_temp_path $dir/uwsgi;
    scgi_temp_path $dir/scgi;
    client_max_body_size 64m;
    client_body_buffer_size 64k;
    keepalive_requests 1000000000;
    tcp_nodelay on;
    upstream provider {
        server 127.0.0.1:$provider_port;
        keepalive 1024;
        keepalive_requests 1000000000;
    }
    server {
        listen 127.0.0.1:$nginx_port backlog=4096;
        location / {
            proxy_pass http://provider;
            proxy_http_version 1.1;
            proxy_set_header Connection "";
            proxy_buffering off;
            proxy_request_buffering off;
        }
    }
}
CONF
    taskset -c "$gateway_core" nginx -p "$dir" -c "$dir/nginx.conf" 2>"$dir/nginx.err" &
    nginx_pid=$!
    local tries=0
    nginx_worker=
    while [ -z "$nginx_worker" ]; do
        kill -0 "$nginx_pid" 2>/dev/null || fail "nginx did not start: $(cat "$dir/nginx.err" "$dir/nginx.log" 2>/dev/null)"
        nginx_worker=$(tr -d ' ' <"/proc/$nginx_pid/task/$nginx_pid/children" 2>/dev/null || true)
        tries=$((tries + 1))
        [ "$tries" -lt 200 ] || fail "nginx has no worker"
        sleep 0.05
    done
    gateways+=(--gateway "nginx=http://127.0.0.1:$nginx_port,pid=$nginx_worker")
}

start_weir() {
    [ -x "$BIN/weir" ] || fail "no weir in $BIN"
    cat >"$dir/weir.toml" <<'CONF'
[listen]
clients = "127.0.0.1:0"
admin = "127.0.0.1:0"

[shards]
count = 1
pin = false

[store]
path = "${COMPARE_STORE}"

[admin]
token = "${COMPARE_ADMIN_TOKEN}"

[[upstream]]
name = "provider"
provider = "anthropic"
base_url = "BASE_URL"
auth = { api_key = "${COMPARE_PROVIDER_KEY}" }

[[model]]
id = "claude-sonnet-4-6"
targets = [{ upstream = "provider" }]

[[model]]
id = "claude-haiku-4-5-20251001"
targets = [{ upstream = "provider" }]

[[key]]
id = "compare"
secret = "${COMPARE_CLIENT_KEY}"
user = "compare@example.com"
team = "compare"

[[budget]]
scope = "team:compare"
amount = "100000000.00"
period = "monthly"
mode = "hard"
CONF
    # Only secrets may stand as ${NAME} in the file.
    sed -i -e "s|BASE_URL|http://127.0.0.1:$provider_port|" -e "s|\${COMPARE_STORE}|$dir/store|" "$dir/weir.toml"
    COMPARE_ADMIN_TOKEN=admin-compare COMPARE_PROVIDER_KEY=sk-compare-provider COMPARE_CLIENT_KEY=sk-compare-client \
        taskset -c "$gateway_core" "$BIN/weir" serve --config "$dir/weir.toml" >"$dir/weir.out" 2>"$dir/weir.log" &
    weir_pid=$!
    wait_for_line "$dir/weir.out" '^weir: ready ' || fail "weir did not start: $(tail -n 20 "$dir/weir.log")"
    weir_url=$(sed -n 's/^weir: ready clients=\([^ ]*\).*/\1/p' "$dir/weir.out")
    gateways+=(--gateway "weir=$weir_url,pid=$weir_pid,key=sk-compare-client")
}

gateways=()
start_nginx
[ -n "${WITHOUT_WEIR:-}" ] || start_weir

echo "cores: gateways $gateway_core, provider and generator $peer_core (awake); $(nginx -v 2>&1)"
taskset -c "$peer_core" "$BIN/weir-loadtest" compare --awake --provider-listen "127.0.0.1:$provider_port" \
    "${gateways[@]}" "$@"

# The figures count only if the bytes were right.
verify() {
    local name=$1 url=$2 key=$3
    echo "$name, bytes on both sides:"
    taskset -c "$peer_core" "$BIN/weir-loadtest" run --provider-listen "127.0.0.1:$provider_port" --target "$url" \
        --key "$key" --workload fleet --requests 300 --verify | grep -E '^(verified|differs|error)' || fail "$name: no verdict"
}
verify nginx "http://127.0.0.1:$nginx_port" any
[ -n "${WITHOUT_WEIR:-}" ] || verify weir "$weir_url" sk-compare-client
