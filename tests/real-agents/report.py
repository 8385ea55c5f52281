"""Runs the scenarios of each agent in namespaces of its own, and prints what is on record as a table."""

import argparse
import itertools
import json
import subprocess
import sys

from agents import AGENTS

COLUMNS = ("agent", "scenario", "reports", "verdict of each run", "restart policy", "strays", "canaries")
# The loopback interface of a new network namespace is down, and there is no other.
INSIDE = 'ip link set lo up && exec python3 drive.py "$@"'


def begin(program, modules, kind, scenarios):
    namespaces = ["unshare", "--net", "--pid", "--fork", "--kill-child", "--mount-proc"]
    command = [*namespaces, "sh", "-c", INSIDE, "sh", program, modules, kind, *scenarios]
    return subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True)


def grouped(words):
    """The words in a row, each run of equal ones as one with its number."""
    groups = ((word, len(list(group))) for word, group in itertools.groupby(words))
    return ", ".join(word if count == 1 else f"{word} ×{count}" for word, count in groups)


def cells(row):
    return (row["agent"], row["scenario"], grouped(row.get("reports", [])), ", ".join(row.get("verdicts", [])),
            ", ".join(row.get("policy", [])) or "nothing", len(row.get("strays", [])), len(row.get("canaries", [])))


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("program")
    parser.add_argument("modules")
    parser.add_argument("kind", nargs="?", choices=AGENTS)
    parser.add_argument("scenarios", nargs="*")
    args = parser.parse_args()
    running = [begin(args.program, args.modules, kind, args.scenarios) for kind in ([args.kind] if args.kind else AGENTS)]
    rows, is_complete = [], True
    for process in running:
        rows += map(json.loads, process.stdout)
        is_complete &= process.wait() == 0
    for line in (COLUMNS, ["---"] * len(COLUMNS), *map(cells, rows)):
        print("| " + " | ".join(map(str, line)) + " |")
    bad = [row for row in rows if "directory" in row]
    for row in bad:
        print(f"FAILED: {json.dumps(row, indent=1)}", file=sys.stderr)
    return 0 if is_complete and not bad else 1


if __name__ == "__main__":
    sys.exit(main())
