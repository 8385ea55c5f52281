#!/usr/bin/env bash
# Cuts the power of a file system under a writer or a migration, again and again, and checks after each cut that everything
# that was acknowledged is there.
#
#   tests/power-cut.sh [ROUNDS [ext4|xfs [append|seal|migrate|retain|rebuild|backup]]]      default: 50 ext4 append
#
#   append    a writer appends
#   seal      a writer with small segments appends, and the segments are sealed and their plain files removed meanwhile
#   migrate   a ledger of format 1 is migrated; after each cut it is checked, migrated to the end, and checked again
#   retain    sealed segments move into an archive; checked, finished and checked again in the same way
#   rebuild   a damaged segment and the store are built again; finished and checked
#   backup    a backup is brought up to date on the disk whose power is cut; after each cut it is restored to a ledger with at least
#             the events of the backup before, finished, and restored with all events
#
# The file system is on a loop device of its own and is shut down by its own ioctl (FS_IOC_SHUTDOWN, without flushing its
# log): what was not synced is lost, as in a power cut. Needs root, loop devices, python3 and mkfs. APM2_DURABILITY names a
# built example `durability`; without it the example is built.
set -euo pipefail
[ "$(id -u)" = 0 ] || { echo "skipped: needs root, to mount a file system" >&2; exit 2; }
# The mounts are in a namespace of this script alone. A process that copies them into a namespace of its own, as some tests do,
# would keep the file system that was shut down, and the next mount would be of that one: every read fails with EIO.
if [ -z "${APM2_OWN_MOUNTS:-}" ]; then
    APM2_OWN_MOUNTS=1 exec unshare --mount --propagation private bash "$0" "$@"
fi
cd "$(dirname "$0")/.."
rounds=${1:-50} kind=${2:-ext4} mode=${3:-append}

program=${APM2_DURABILITY:-}
if [ -z "$program" ]; then
    cargo build --release --locked --package apm2-ledger --example durability
    program=$PWD/target/release/examples/durability
fi
scratch=$(mktemp -d)
disk=$scratch/disk ledger=$scratch/disk/ledger
mkdir "$disk"
finish() {
    umount "$disk" 2>/dev/null || true
    rm -rf "$scratch"
}
trap finish EXIT
truncate -s 1200M "$scratch/image"
"mkfs.$kind" -q "$scratch/image"
mount -o loop "$scratch/image" "$disk"

# Checks that the ledger is sound and has the first $1 appends.
check() {
    # sled panics on what a power cut makes of it; the panics are caught, and only their words reach stderr.
    "$program" check "$ledger" "$1" >"$scratch/words" 2>&1 || {
        tail -n 5 "$scratch/words" >&2
        echo "round $round: lost something of $1 acknowledged appends" >&2
        exit 1
    }
}

# The number of files in the journal with this extension.
count() {
    find "$ledger/journal" -name "*.$1" | wc -l
}

# Starts `durability $1`, and cuts the power after $2 to $3 milliseconds. With $4 segments of a ledger that is migrated, the
# moment is also that at which a random number of them was sealed or removed, so that the short steps are met as often as the
# long ones.
cut_under() {
    python3 - "$program" "$1" "$ledger" "$disk" "$scratch/acks" "$2" "$3" "${4:-0}" <<'END'
import fcntl, os, random, struct, subprocess, sys, time

program, command, ledger, disk, acks = sys.argv[1:6]
low_ms, high_ms, segments = map(int, sys.argv[6:])
disk = os.open(disk, os.O_RDONLY)
journal = os.path.join(ledger, "journal")
step = random.randrange(3) if segments else 0
number = random.randint(1, segments or 1)
moment = time.monotonic() + random.uniform(low_ms, high_ms) / 1000

def is_reached():
    if step == 0:
        return time.monotonic() >= moment
    names = os.listdir(journal)
    sealed = sum(name.endswith(".sealed") for name in names)
    plain = sum(name.endswith(".seg") for name in names)
    return sealed >= number if step == 1 else sealed >= segments and plain <= segments + 1 - number

with open(acks, "wb") as out:
    # The ledger is the first argument, or the word LEDGER.
    words = command.split()
    words = [ledger if word == "LEDGER" else word for word in words] if "LEDGER" in words else [*words, ledger]
    writer = subprocess.Popen([program, *words], stdout=out, stderr=subprocess.STDOUT)
while not is_reached() and writer.poll() is None:
    time.sleep(0.0001)
# _IOR('X', 125, u32) with 2: do not flush the log.
fcntl.ioctl(disk, 0x8004587D, struct.pack("I", 2))
writer.kill()
writer.wait()
END
    umount "$disk"
    mount -o loop "$scratch/image" "$disk"
}

acknowledged=0
declare -A left=([nothing sealed]=0 [some sealed]=0 [all sealed]=0 [some removed]=0 [finished]=0)
if [ "$mode" = migrate ]; then
    acknowledged=800
    "$program" old "$scratch/old" "$acknowledged"
    segments=$(find "$scratch/old/journal" -name '*.seg' | wc -l)
    # How long a migration takes that is not cut.
    cp -a "$scratch/old" "$ledger"
    began=$(date +%s%3N)
    "$program" migrate "$ledger"
    migration_ms=$(($(date +%s%3N) - began))
fi
# A time after all events.
future=2999-01-01T00:00:00Z
archived=0
case $mode in
retain | rebuild | backup)
    before=300 acknowledged=600
    "$program" sealed "$scratch/old" "$before"
    [ "$mode" != backup ] || "$program" backup "$scratch/old" "$scratch/first"
    "$program" sealed "$scratch/old" $((acknowledged - before))
    [ "$mode" != backup ] || "$program" retain "$scratch/old" "$future"
    if [ "$mode" = rebuild ]; then
        damaged=$(find "$scratch/old/journal" -name '*.sealed' | sort | sed -n 3p)
        printf 'damaged' | dd of="$damaged" bs=1 seek=200 conv=notrunc status=none
    fi
    case $mode in
    retain) from=$scratch/old command="retain LEDGER $future" ;;
    rebuild) from=$scratch/old command=rebuild ;;
    backup) from=$scratch/first command="backup $scratch/old LEDGER" ;;
    esac
    # How long it takes when it is not cut.
    cp -a "$from" "$ledger"
    began=$(date +%s%3N)
    # shellcheck disable=SC2086 # a word of the command each
    "$program" ${command/LEDGER/$ledger} $([[ $command == *LEDGER* ]] || echo "$ledger")
    took_ms=$(($(date +%s%3N) - began))
    ;;
esac

# Restores the backup, and checks that the new ledger has the first $1 appends.
check_backup() {
    rm -rf "$scratch/restored"
    "$program" restore "$ledger" "$scratch/restored"
    "$program" check "$scratch/restored" "$1" >"$scratch/words" 2>&1 || {
        tail -n 5 "$scratch/words" >&2
        echo "round $round: the backup lacks something of $1 appends" >&2
        exit 1
    }
}

for ((round = 1; round <= rounds; round++)); do
    if [ "$mode" = retain ] || [ "$mode" = rebuild ] || [ "$mode" = backup ]; then
        rm -rf "$ledger"
        cp -a "$from" "$ledger"
        sync -f "$disk"
        cut_under "$command" 0 $((took_ms * 3 / 2))
        [ ! -e "$ledger/journal/base" ] || archived=$((archived + 1))
        case $mode in
        retain) check "$acknowledged" ;;
        backup) check_backup "$before" ;;
        esac
        # shellcheck disable=SC2086
        "$program" ${command/LEDGER/$ledger} $([[ $command == *LEDGER* ]] || echo "$ledger")
        [ "$mode" = rebuild ] || [ -e "$ledger/journal/base" ] || { echo "round $round: nothing was archived" >&2; exit 1; }
        if [ "$mode" = backup ]; then check_backup "$acknowledged"; else check "$acknowledged"; fi
        continue
    fi
    if [ "$mode" = migrate ]; then
        rm -rf "$ledger"
        cp -a "$scratch/old" "$ledger"
        sync -f "$disk"
        cut_under migrate 0 "$migration_ms" "$segments"
        sealed=$(count sealed) plain=$(count seg)
        if ((sealed == 0)); then state="nothing sealed"
        elif ((plain == 1)); then state=finished
        elif ((sealed < segments)); then state="some sealed"
        elif ((plain <= segments)); then state="some removed"
        else state="all sealed"; fi
        left[$state]=$((${left[$state]} + 1))
        check "$acknowledged"
        "$program" migrate "$ledger"
        [ "$(count sealed) $(count seg)" = "$segments 1" ] || { echo "round $round: not migrated" >&2; exit 1; }
        check "$acknowledged"
        continue
    fi
    # A moment that differs from round to round, from the midst of opening to thousands of appends.
    if [ "$mode" = seal ]; then cut_under seal 50 1500; else cut_under write 50 950; fi
    last=$(grep -a '^ACK [0-9]*$' "$scratch/acks" | tail -n 1 | cut -d' ' -f2 || true)
    acknowledged=${last:-$acknowledged}
    check "$acknowledged"
    # In the next round, the plain files of the sealed segments may be removed.
    find "$ledger/journal" -name '*.sealed' -exec touch -d '10 minutes ago' {} +
done
case $mode in
migrate)
    echo "$kind: $rounds power cuts of a migration of $segments segments in $migration_ms ms, $acknowledged appends each, none lost; the cuts left:"
    for state in "${!left[@]}"; do echo "  $state: ${left[$state]}"; done
    ;;
retain | rebuild | backup)
    echo "$kind: $rounds power cuts of $mode in $took_ms ms, $acknowledged appends each, none lost; a base was there after $archived cuts"
    ;;
seal) echo "$kind: $rounds power cuts, $acknowledged appends acknowledged, none lost; $(count sealed) sealed and $(count seg) plain segments, $(count catalog) catalogs" ;;
*) echo "$kind: $rounds power cuts, $acknowledged appends acknowledged, none lost" ;;
esac
