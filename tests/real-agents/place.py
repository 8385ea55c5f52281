"""One agent under `apm2-ledger` in directories of its own, and what the record says of it."""

import json
import os
import signal
import subprocess
import tempfile
import time

import canaries
from stubs.server import Stub

PATIENCE_SECONDS = 240
NAME = "agent"
# Longer than an agent needs to begin a request.
SILENCE_OF_MODEL = "8s"
ENDS = ("stopped", "terminated", "restart_refused")
TURNING_POINTS = (*ENDS, "crashed", "restart_scheduled", "start_requested")


class TimedOut(Exception):
    """Something did not happen in time."""


def wait_until(what, condition, seconds=PATIENCE_SECONDS):
    end = time.monotonic() + seconds
    while not (value := condition()):
        if time.monotonic() > end:
            raise TimedOut(what)
        time.sleep(0.1)
    return value


class Place:
    def __init__(self, program, agent, scenario):
        self.program, self.agent = program, agent
        self.stub = Stub(agent.stub)
        self.directory = tempfile.mkdtemp(prefix=f"apm2-{agent.kind}-{scenario.split()[0]}-")
        self.work, self.home, self.ledger = (os.path.join(self.directory, name) for name in ("work", "home", "ledger"))
        for directory in (self.work, self.home):
            os.mkdir(directory)
        canaries.result_file(self.work)
        self.stub.command = canaries.command()
        agent.configure(self.home, self.stub.server_port)
        self.variables = agent.environment(self.stub.server_port, scenario)
        self.write_ecosystem()

    def write_ecosystem(self):
        self.write("prompt.md", canaries.CANARIES["prompt"])
        self.write("api.env", f"KEY={canaries.CANARIES['key']}\n")
        words, agent = json.dumps, self.agent
        environment = ", ".join(f"{name} = {words(value)}" for name, value in self.variables.items())
        self.write("ecosystem.toml", f"""
[[process]]
name = "{NAME}"
command = {words(agent.program[0])}
args = {words(agent.program[1:] + agent.args)}
cwd = "work"
stdin = "prompt.md"
env = {{ {environment} }}
restart = {{ policy = "on-failure", backoff = "1s", max_restarts = 3 }}
credentials = {{ profile = "api", variables = {{ {agent.key_variable} = "KEY" }} }}

[process.agent]
kind = "{agent.kind}"
first_args = {words(agent.first_args)}
resume_args = {words(agent.resume_args)}
limit_wait_max = "{agent.limit_wait_max}"
silence = {{ model = "{SILENCE_OF_MODEL}" }}

[profile.api]
file = "api.env"
""")

    def write(self, name, text):
        with open(os.path.join(self.directory, name), "w", opener=lambda path, flags: os.open(path, flags, 0o600)) as file:
            file.write(text)

    def environment(self):
        return {"PATH": os.environ["PATH"], "HOME": self.home, "APM2_LEDGER_DIR": self.ledger}

    def run(self, *args):
        done = subprocess.run([self.program, *args], cwd=self.directory, env=self.environment(), stdin=subprocess.DEVNULL,
                              capture_output=True, text=True, timeout=PATIENCE_SECONDS)
        if done.returncode != 0:
            raise RuntimeError(f"{args}: {done.stderr}")
        return done.stdout

    def json(self, *args):
        return json.loads(self.run("--format", "json", *args))

    def up(self):
        self.run("up")

    def stop(self):
        """Stops what a failed scenario left running; an agent that has ended is left as it is."""
        if self.handle()["pid"]:
            self.run("stop", NAME)

    def handle(self):
        return self.json("show", NAME)["handle"]

    def events(self, kind=None, report=None):
        events = self.json("show", NAME)["events"]
        return [event for event in events
                if (kind is None or event["type"] == kind) and (report is None or event.get("event") == report)]

    def wait_for_event(self, kind, report=None, count=1):
        wait_until(report or kind, lambda: len(self.events(kind, report)) >= count)

    def wait_for_end(self):
        """Waits until the agent has ended and its policy starts nothing more."""
        return wait_until("the end", lambda: self.is_over() and self.handle())

    def is_over(self):
        kinds = [event["type"] for event in self.events() if event["type"] in TURNING_POINTS]
        # Without a success, a decision of the policy follows a crash.
        return kinds[-1] in ENDS or kinds[-1] == "crashed" and self.handle()["agent"]["outcome"] == "success"

    def daemon(self):
        for pid, line in processes():
            if "daemon" in line and self.ledger in line and "--stop" not in line:
                return pid
        return None

    def kill_daemon(self):
        pid = self.daemon()
        os.kill(pid, signal.SIGKILL)
        wait_until("the end of the daemon", lambda: has_ended(pid))

    def start_daemon(self):
        """A command that needs a daemon starts one. `up` would also start what waits."""
        subprocess.run([self.program, "start", "no-such-name"], env=self.environment(), capture_output=True,
                       timeout=PATIENCE_SECONDS)
        wait_until("a daemon", self.daemon)

    def leaked(self):
        """The canaries on record, once all is written."""
        export = self.run("export") + self.run("export", "--as", "otlp")
        self.run("daemon", "--stop")
        wait_until("the end of the daemon", lambda: not self.helpers())
        return canaries.found(self.ledger, export)

    def tool_runs(self):
        return any(line[0] == "tail" for _, line in processes())

    def helpers(self):
        return [pid for pid, line in processes() if line[0] == self.program]

    def strays(self):
        """What runs in this pid namespace beside the test and the daemon, once an end had the time to take effect."""
        def others():
            return [(pid, line) for pid, line in processes() if pid != os.getpid() and line[0] != self.program]
        try:
            wait_until("the end of all processes", lambda: not others(), seconds=5)
        except TimedOut:
            pass
        return [" ".join(line) for _, line in others()]


def has_ended(pid):
    """Whether all that the process held is released: a zombie holds nothing, a process without arguments may still."""
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] in "ZX"
    except FileNotFoundError:
        return True


def processes():
    """Each process that runs, with its arguments. A zombie has none."""
    found = []
    for name in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{name}/cmdline", "rb") as file:
                line = [word.decode(errors="replace") for word in file.read().split(b"\0")[:-1]]
        except OSError:
            continue
        if line:
            found.append((int(name), line))
    return found
