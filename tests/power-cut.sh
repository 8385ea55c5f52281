#!/usr/bin/env bash
# Cuts the power of a file system under a writer, again and again, and checks after each cut that everything the writer
# had acknowledged is there.
#
#   tests/power-cut.sh [ROUNDS [ext4|xfs]]      default: 50 ext4
#
# The file system is on a loop device of its own and is shut down by its own ioctl (FS_IOC_SHUTDOWN, without flushing its
# log): what was not synced is lost, as in a power cut. Needs root, loop devices, python3 and mkfs.
set -euo pipefail
cd "$(dirname "$0")/.."
rounds=${1:-50} kind=${2:-ext4}
[ "$(id -u)" = 0 ] || { echo "skipped: needs root, to mount a file system" >&2; exit 2; }

cargo build --release --locked --package apm2-ledger --example durability
program=$PWD/target/release/examples/durability
scratch=$(mktemp -d)
disk=$scratch/disk
mkdir "$disk"
finish() {
    umount "$disk" 2>/dev/null || true
    rm -rf "$scratch"
}
trap finish EXIT
truncate -s 1200M "$scratch/image"
"mkfs.$kind" -q "$scratch/image"
mount -o loop "$scratch/image" "$disk"

cut_power() {
    # _IOR('X', 125, u32) with 2: do not flush the log.
    python3 -c 'import fcntl, os, struct, sys
fcntl.ioctl(os.open(sys.argv[1], os.O_RDONLY), 0x8004587D, struct.pack("I", 2))' "$disk"
}

acknowledged=0
for ((round = 1; round <= rounds; round++)); do
    "$program" write "$disk/ledger" >"$scratch/acks" 2>&1 &
    writer=$!
    # A moment that differs from round to round, from the midst of opening to thousands of appends.
    sleep "0.$((RANDOM % 900 + 50))"
    cut_power
    kill -KILL "$writer" 2>/dev/null || true
    wait "$writer" 2>/dev/null || true
    umount "$disk"
    mount -o loop "$scratch/image" "$disk"
    last=$(grep -a '^ACK [0-9]*$' "$scratch/acks" | tail -n 1 | cut -d' ' -f2)
    acknowledged=${last:-$acknowledged}
    # sled panics on what a power cut makes of it; the panics are caught, and only their words reach stderr.
    "$program" check "$disk/ledger" "$acknowledged" 2>"$scratch/words" || {
        tail -n 5 "$scratch/words" >&2
        echo "round $round: lost something of $acknowledged acknowledged appends" >&2
        exit 1
    }
done
echo "$kind: $rounds power cuts, $acknowledged appends acknowledged, none lost"
