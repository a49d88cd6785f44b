#!/usr/bin/env bash
# Cores for weir: the performance governor, and no idle state that takes longer than 20 µs to leave.
#
# usage: tuning/cpu.sh show | set | undo [CORES]      CORES as taskset writes them, such as 0-3,6; all cores unless said
#
# `set` notes what was there in /run/weir-tuning/cpu, `undo` puts it back; both need root and last until the next boot. For cores of
# weir's own, put isolcpus=CORES nohz_full=CORES rcu_nocbs=CORES on the kernel's command line, and CPUAffinity=CORES in a drop-in of
# weir.service: weir runs one shard on each core that it may use.
set -euo pipefail

cpus=${WEIR_TUNING_SYS:-/sys}/devices/system/cpu
saved=${WEIR_TUNING_RUN:-/run/weir-tuning}/cpu
latency_us_max=20

fail() {
    echo "cpu: $*" >&2
    exit 1
}

cores() {
    local part
    if [ -z "$1" ]; then
        printf '%s\n' "$cpus"/cpu[0-9]* | sed 's/.*cpu//' | sort -n
        return
    fi
    for part in ${1//,/ }; do
        case $part in
            *-*) seq "${part%-*}" "${part#*-}" ;;
            *) echo "$part" ;;
        esac
    done
}

# The files to set on these cores, each with its value: "file value".
wanted() {
    local core state
    for core in $(cores "$1"); do
        [ -d "$cpus/cpu$core" ] || fail "there is no core $core"
        [ ! -e "$cpus/cpu$core/cpufreq/scaling_governor" ] || echo "$cpus/cpu$core/cpufreq/scaling_governor performance"
        for state in "$cpus/cpu$core"/cpuidle/state*; do
            [ -e "$state/latency" ] || continue
            [ "$(cat "$state/latency")" -le "$latency_us_max" ] || echo "$state/disable 1"
        done
    done
}

case ${1:-} in
    show)
        wanted "${2:-}" | while read -r file value; do
            echo "$file: $(cat "$file") (wanted: $value)"
        done
        ;;
    set)
        mkdir -p "$(dirname "$saved")"
        wanted "${2:-}" | while read -r file value; do
            before=$(cat "$file")
            [ "$before" != "$value" ] || continue
            # What was there first counts, however often this is run.
            grep -qs "^$file " "$saved" || echo "$file $before" >>"$saved"
            echo "$value" >"$file" || fail "cannot write $file: run as root"
            echo "$file: $before -> $value"
        done
        ;;
    undo)
        [ -e "$saved" ] || fail "nothing was set since the last boot"
        while read -r file value; do
            echo "$value" >"$file" || fail "cannot write $file: run as root"
            echo "$file: $value"
        done <"$saved"
        rm "$saved"
        ;;
    *) fail "usage: tuning/cpu.sh show | set | undo [CORES]" ;;
esac
