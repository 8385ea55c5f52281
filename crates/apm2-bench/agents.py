#!/usr/bin/env python3
"""Figures for a daemon that supervises AI agents, played by processes that print the lines of Claude Code.

    agents.py APM2_LEDGER paced [AGENTS [MINUTES]]        each agent makes a tool call a second (default: 10 for 5 min)
    agents.py APM2_LEDGER day [AGENTS]                    each agent prints the lines of a day of such calls at once
    agents.py APM2_LEDGER rate [MB_PER_SECOND [SECONDS]]  one agent prints this much (default: 50 for 30 s)

APM2_LEDGER is the path of a release build. Processor time is that of the daemon and its file descriptor store (utime and stime
of proc(5)), memory their VmRSS and Pss. Bytes on disk are `stats --disk`, the logs apart. A rate is one of the measured time.
"""

import json
import os
import subprocess
import sys
import tempfile
import time

SECONDS_A_DAY = 86_400
TICKS_A_SECOND = os.sysconf("SC_CLK_TCK")
# Of one write where many lines are due at once: a pipe holds as much.
WRITE_BYTES = 65_536
# The sizes are those of ordinary lines of Claude Code: a command, and some lines that it printed.
ARGUMENT, RESULT = "a" * 200, "a line of a file\\n" * 60
# Of an agent that reads files.
LONG_RESULT = "a line of a file\\n" * 600


def initial():
    return ('{"type":"system","subtype":"init","session_id":"%d","model":"model-5","tools":["Bash"],"mcp_servers":[],'
            '"permissionMode":"default","claude_code_version":"2.1.332"}\n' % os.getpid())


def call(number, result):
    """The two lines of a tool call: about 700 bytes, and those of its result."""
    usage = ('{"input_tokens":10,"cache_creation_input_tokens":200,"cache_read_input_tokens":30000,"output_tokens":40,'
             '"service_tier":"standard","cache_creation":{"ephemeral_1h_input_tokens":0,"ephemeral_5m_input_tokens":200}}')
    return ('{"type":"assistant","message":{"id":"msg_%d","type":"message","role":"assistant","model":"model-5","content":'
            '[{"type":"tool_use","id":"toolu_%d","name":"Bash","input":{"command":"%s"}}],"stop_reason":null,"usage":%s},'
            '"parent_tool_use_id":null,"session_id":"s"}\n'
            '{"type":"user","message":{"role":"user","content":[{"type":"tool_result","content":"%s","is_error":false,'
            '"tool_use_id":"toolu_%d"}]},"parent_tool_use_id":null,"session_id":"s"}\n'
            % (number, number, ARGUMENT, usage, result, number))


def play(calls, seconds_apart, result):
    """The agent: prints its calls, each so long after the one before it, and waits for its end."""
    calls, seconds_apart = int(calls), float(seconds_apart)
    result = LONG_RESULT if result == "long" else RESULT
    together = max(1, WRITE_BYTES // len(call(0, result))) if seconds_apart < 0.01 else 1
    begin = time.monotonic()
    os.write(1, initial().encode())
    for first in range(0, calls, together):
        time.sleep(max(0, begin + first * seconds_apart - time.monotonic()))
        piece = "".join(call(number, result) for number in range(first, min(first + together, calls))).encode()
        while piece:
            piece = piece[os.write(1, piece):]
    while True:
        time.sleep(SECONDS_A_DAY)


class Place:
    """A ledger with its daemon and agents."""

    def __init__(self, program, agents, calls, seconds_apart, result="short"):
        self.program, self.directory = program, tempfile.TemporaryDirectory()
        args = [os.path.abspath(__file__), "play", str(calls), str(seconds_apart), result]
        with open(f"{self.directory.name}/ecosystem.toml", "w") as file:
            file.write(f'[[process]]\nname = "agent"\ncommand = {json.dumps(sys.executable)}\nargs = {json.dumps(args)}\n'
                       f'instances = {agents}\n[process.agent]\nkind = "claude-code"\n')
        self.run("up")
        self.pids = self.helpers()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.run("daemon", "--stop")
        self.directory.cleanup()

    def run(self, *args):
        environment = {"PATH": os.environ["PATH"], "APM2_LEDGER_DIR": f"{self.directory.name}/ledger"}
        done = subprocess.run([self.program, *args], cwd=self.directory.name, env=environment, capture_output=True, text=True)
        if done.returncode != 0:
            sys.exit(f"{args}: {done.stderr}")
        return done.stdout

    def json(self, *args):
        return json.loads(self.run("--format", "json", *args))

    def helpers(self):
        """The daemon and its file descriptor store."""
        found = []
        for name in filter(str.isdigit, os.listdir("/proc")):
            try:
                with open(f"/proc/{name}/cmdline") as file:
                    line = file.read().split("\0")
            except OSError:
                continue
            if line[0] == self.program and f"{self.directory.name}/ledger" in line:
                found.append(int(name))
        return found

    def processor_seconds(self):
        fields = [text(f"/proc/{pid}/stat").rpartition(")")[2].split() for pid in self.pids]
        return sum(int(of_one[11]) + int(of_one[12]) for of_one in fields) / TICKS_A_SECOND

    def memory_kib(self, file, key):
        lines = (line.split() for pid in self.pids for line in text(f"/proc/{pid}/{file}").splitlines())
        return sum(int(words[1]) for words in lines if words and words[0] == f"{key}:")

    def print_memory(self):
        rss, pss = self.memory_kib("status", "VmRSS"), self.memory_kib("smaps_rollup", "Pss")
        print(f"  memory: {rss / 1024:.1f} MiB RSS, {pss / 1024:.1f} MiB PSS")

    def size(self):
        """The number of events, and the bytes of the ledger without its logs."""
        disk = self.json("stats", "--disk")
        return disk["events"], disk["total_bytes"] - disk["parts"]["logs"]

    def printed(self):
        """The bytes that the agents have printed, on disk or not any more: those that they have written."""
        pids = [handle["pid"] for handle in self.json("list")]
        return sum(int(line.split()[1]) for pid in pids for line in text(f"/proc/{pid}/io").splitlines()
                   if line.startswith("wchar"))


def text(path):
    with open(path) as file:
        return file.read()


def measured(place, wait):
    """Processor time, seconds, bytes printed, events and bytes of the ledger that a wait takes."""
    def figures():
        return [place.processor_seconds(), time.monotonic(), place.printed(), *place.size()]
    before = figures()
    wait()
    return [after - first for first, after in zip(before, figures())]


def paced(program, agents=10, minutes=5):
    """The first minute is left out: it has the starts."""
    seconds = float(minutes) * 60
    with Place(program, agents, SECONDS_A_DAY, 1) as place:
        time.sleep(60)
        place.print_memory()
        processor, passed, _, events, size = measured(place, lambda: time.sleep(seconds))
        print(f"{agents} agents with a tool call a second for {passed:.0f} s:")
        print(f"  processor: {100 * processor / passed:.2f} % of a core")
        print(f"  ledger: {events} events, {size} bytes, {size / events:.1f} bytes an event, "
              f"in a day {events / passed * SECONDS_A_DAY:.0f} events and {size / passed * SECONDS_A_DAY / 1e6:.0f} MB")
        disk = place.json("stats", "--disk")
        print(f"  of all {disk['events']} events: journal {disk['journal_bytes_per_event']} bytes an event, "
              f"store {disk['store_bytes_per_event']}")
        place.print_memory()


def until_idle(place):
    """Waits until the agents print nothing more and the daemon has nothing to do."""
    before = None
    while (now := (place.printed(), round(place.processor_seconds(), 1))) != before:
        before = now
        time.sleep(3)


def day(program, agents=10):
    with Place(program, agents, SECONDS_A_DAY, 0) as place:
        processor, passed, printed, events, size = measured(place, lambda: until_idle(place))
        calls = int(agents) * SECONDS_A_DAY
        print(f"{calls} tool calls of {agents} agents, {printed / 1e6:.0f} MB, in {passed:.0f} s:")
        per_call, per_byte = processor / calls * 1e6, processor / printed * 1e9
        print(f"  processor: {processor:.1f} s, {per_call:.1f} µs a call, {per_byte:.1f} ns a byte")
        print(f"  ledger: {events} events, {size} bytes")
        place.print_memory()


def rate(program, megabytes=50, seconds=30):
    size = len(call(0, LONG_RESULT))
    with Place(program, 1, SECONDS_A_DAY * 1000, size / (float(megabytes) * 1e6), "long") as place:
        time.sleep(3)
        processor, passed, printed, events, _ = measured(place, lambda: time.sleep(float(seconds)))
        print(f"{printed / passed / 1e6:.1f} MB/s of one agent, {size / 2 / 1000:.1f} kB a line, for {passed:.0f} s:")
        print(f"  processor: {100 * processor / passed:.1f} % of a core, {events} events")
        place.print_memory()


def main():
    if sys.argv[1] == "play":
        return play(*sys.argv[2:])
    return {"paced": paced, "day": day, "rate": rate}[sys.argv[2]](os.path.realpath(sys.argv[1]), *sys.argv[3:])


if __name__ == "__main__":
    main()
