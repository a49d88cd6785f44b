#!/usr/bin/env bash
# A network card for weir: as many queues as cores, each queue's interrupt on its own core, so that the packets of a connection
# come in where its shard runs.
#
# usage: tuning/nic.sh show | set | undo INTERFACE [CORES]      CORES as taskset writes them, such as 0-3,6; all cores unless said
#
# `set` stops irqbalance, which would move the interrupts back, notes what was there in /run/weir-tuning/nic-INTERFACE, and `undo`
# puts it back; both need root and ethtool, and last until the next boot.
set -euo pipefail

sys=${WEIR_TUNING_SYS:-/sys}
proc=${WEIR_TUNING_PROC:-/proc}

fail() {
    echo "nic: $*" >&2
    exit 1
}

verb=${1:-} card=${2:-} some=${3:-}
[[ $verb =~ ^(show|set|undo)$ && -n $card ]] || fail "usage: tuning/nic.sh show | set | undo INTERFACE [CORES]"
[ -e "$sys/class/net/$card/device" ] || fail "$card is no network card: $(ls "$sys/class/net" | tr '\n' ' ')"
saved=${WEIR_TUNING_RUN:-/run/weir-tuning}/nic-$card

cores() {
    local part
    for part in ${some:+${some//,/ }}; do
        case $part in
            *-*) seq "${part%-*}" "${part#*-}" ;;
            *) echo "$part" ;;
        esac
    done
    [ -n "$some" ] || seq 0 $(($(nproc --all) - 1))
}

# The card's interrupts, in the order of its queues.
interrupts() {
    ls "$sys/class/net/$card/device/msi_irqs" 2>/dev/null | sort -n | while read -r irq; do
        # Only those that are in use; the first of many cards is not a queue's.
        [ ! -e "$proc/irq/$irq/smp_affinity_list" ] || echo "$irq"
    done
}

queues() {
    find "$sys/class/net/$card/queues" -maxdepth 1 -name 'rx-*' | wc -l
}

show() {
    echo "$card: $(queues) queues, $(cores | wc -l) cores"
    interrupts | while read -r irq; do
        echo "  interrupt $irq on core $(cat "$proc/irq/$irq/smp_affinity_list")"
    done
}

put() {
    mkdir -p "$(dirname "$saved")"
    local count core before place=0 irq
    count=$(cores | wc -l)
    if [ "$(queues)" -ne "$count" ]; then
        command -v ethtool >/dev/null || fail "ethtool is not installed; install it (apt-get install ethtool) and run again"
        grep -qs '^combined ' "$saved" || echo "combined $(queues)" >>"$saved"
        ethtool -L "$card" combined "$count" || echo "nic: $card does not take $count queues; it keeps $(queues)" >&2
    fi
    if systemctl is-active --quiet irqbalance 2>/dev/null; then
        echo "irqbalance active" >>"$saved"
        systemctl stop irqbalance
    fi
    mapfile -t list < <(cores)
    for irq in $(interrupts); do
        core=${list[$((place++ % count))]}
        before=$(cat "$proc/irq/$irq/smp_affinity_list")
        [ "$before" != "$core" ] || continue
        grep -qs "^irq-$irq " "$saved" || echo "irq-$irq $before" >>"$saved"
        echo "$core" >"$proc/irq/$irq/smp_affinity_list" || fail "cannot move interrupt $irq: run as root"
    done
    show
}

take_back() {
    local what value
    [ -e "$saved" ] || fail "nothing was set since the last boot"
    while read -r what value; do
        case $what in
            combined) ethtool -L "$card" combined "$value" ;;
            irqbalance) systemctl start irqbalance ;;
            irq-*) echo "$value" >"$proc/irq/${what#irq-}/smp_affinity_list" || fail "cannot move ${what}: run as root" ;;
        esac
    done <"$saved"
    rm "$saved"
    show
}

case $verb in
    show) show ;;
    set) put ;;
    undo) take_back ;;
esac
