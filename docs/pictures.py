#!/usr/bin/env python3
"""Makes the pictures of the README from a real run: docs/timeline.svg, top.svg, report.png and terminal.svg.

Usage: docs/pictures.py PROGRAM [FOLDER]    (PROGRAM: target/debug/apm2-ledger; FOLDER: docs)

Runs the processes of docs/example/night.toml for about half a minute in a temporary directory, and kills some of them and their daemon.
Needs tmux for top.svg and Chromium for report.png; without them, those pictures stay as they are, and the exit code is 1.
"""

import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time

import terminal

DOCS = os.path.dirname(os.path.abspath(__file__))
TOP_COLUMNS, TOP_ROWS = 112, 30
RECORDING_COLUMNS = 118
# The page is laid out in this size, and drawn in this part of it.
REPORT_WIDTH, REPORT_HEIGHT, REPORT_SCALE = 1280, 1180, 0.62
REPORT_BYTES_MAX = 150_000
# Seconds to wait for a screen, a process or a browser.
PATIENCE_SECONDS = 60

# What is run in a ledger of its own for terminal.svg.
TYPED = [
    "run --name demo --restart on-failure --max-restarts 2 --backoff 500ms -- sh -c 'echo working; exit 7'",
    "list --all",
    "show demo --events 8",
]


class Ledger:
    """A ledger in a temporary directory."""

    def __init__(self, program, place):
        self.program, self.place = program, place
        # No proxy, locale or terminal of the caller is in the pictures.
        self.environment = {"PATH": os.environ["PATH"], "HOME": place, "TERM": "xterm-256color", "TZ": "UTC", "LANG": "C.UTF-8"}

    def command(self, *arguments):
        # The name is relative, because `top` shows it.
        return [self.program, "--ledger", "ledger", *arguments]

    def run(self, *arguments):
        done = subprocess.run(self.command(*arguments), env=self.environment, cwd=self.place, capture_output=True, text=True)
        return done.stdout

    def pid_of(self, name):
        return json.loads(self.run("--format", "json", "list", "--name", name))[0]["pid"]

    def daemon(self):
        return json.loads(self.run("--format", "json", "tail", "-n", "1", "--type", "supervisor_started"))[0]["pid"]


def night(ledger):
    """A bad night in less than half a minute. Its processes still run when it returns."""
    shutil.copy(os.path.join(DOCS, "example", "night.toml"), ledger.place)
    begin = time.monotonic()

    def at(seconds):
        time.sleep(max(0.0, begin + seconds - time.monotonic()))

    ledger.run("up", "night.toml")
    at(6)
    os.kill(ledger.pid_of("cache"), signal.SIGKILL)
    at(8)
    ledger.run("stop", "stubborn", "--reason", "makes room for the backup")
    at(12)
    scheduler = ledger.pid_of("scheduler")
    os.kill(ledger.daemon(), signal.SIGKILL)
    at(14)
    os.kill(scheduler, signal.SIGTERM)
    at(16)
    ledger.run("start", "stubborn", "--reason", "the backup is done")  # starts a daemon, which adopts the rest
    at(20)
    ledger.run("restart", "api", "--reason", "new certificates")
    at(24)


def top(ledger):
    """The lines of the screen of `top`, with the process that gave up selected and its causes shown."""
    tmux = ["tmux", "-L", f"apm2-pictures-{os.getpid()}", "-f", "/dev/null"]
    environment = {**ledger.environment, "TMUX_TMPDIR": ledger.place}

    def ask(*arguments):
        return subprocess.run([*tmux, *arguments], env=environment, check=True, capture_output=True, text=True).stdout

    def wait_for(text):
        end = time.monotonic() + PATIENCE_SECONDS
        while text not in ask("capture-pane", "-p"):
            if time.monotonic() > end:
                sys.exit(f"top does not show {text!r}:\n" + ask("capture-pane", "-p"))
            time.sleep(0.1)

    size = ["-x", str(TOP_COLUMNS), "-y", str(TOP_ROWS)]
    ask("new-session", "-d", "-c", ledger.place, *size, *ledger.command("--color", "always", "top"))
    try:
        wait_for("importer")
        ask("send-keys", "g", "Down", "Down", "Down", "4")
        wait_for("importer is crashed (9), gave up")
        return ask("capture-pane", "-e", "-p").rstrip("\n").split("\n")
    finally:
        ask("kill-server")


def report(ledger, chromium, path):
    """A screenshot of the beginning of the report."""
    page = os.path.join(ledger.place, "report.html")
    ledger.run("report", "-o", page)
    switches = ["--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking",
                "--disable-component-update", "--disable-sync", "--hide-scrollbars"]
    command = [chromium, *switches, f"--user-data-dir={ledger.place}/browser",
               "--virtual-time-budget=5000", f"--window-size={REPORT_WIDTH},{REPORT_HEIGHT}", f"--force-device-scale-factor={REPORT_SCALE}",
               f"--screenshot={path}", f"file://{page}"]
    subprocess.run(command, check=True, capture_output=True, timeout=PATIENCE_SECONDS)


def write(folder, name, text):
    with open(os.path.join(folder, name), "w", encoding="utf-8") as file:
        file.write(text)


def main():
    if len(sys.argv) not in (2, 3):
        sys.exit(__doc__)
    program = os.path.abspath(sys.argv[1])
    folder = os.path.abspath(sys.argv[2] if len(sys.argv) == 3 else DOCS)
    missing = []
    with tempfile.TemporaryDirectory(prefix="night-") as place:
        ledger = Ledger(program, place)
        try:
            night(ledger)
            if shutil.which("tmux"):
                write(folder, "top.svg", terminal.screen(top(ledger), TOP_COLUMNS, "A terminal: apm2-ledger top"))
            else:
                missing.append("tmux: top.svg")
            write(folder, "timeline.svg", ledger.run("timeline", "--format", "svg"))
            chromium = shutil.which("chromium") or shutil.which("chromium-browser")
            if chromium:
                path = os.path.join(folder, "report.png")
                report(ledger, chromium, path)
                if os.path.getsize(path) > REPORT_BYTES_MAX:
                    sys.exit(f"{path} has more than {REPORT_BYTES_MAX} bytes")
            else:
                missing.append("chromium: report.png")
        finally:
            ledger.run("daemon", "--stop")
    with tempfile.TemporaryDirectory(prefix="demo-") as place:
        ledger = Ledger(program, place)
        shown = [(ledger.command("--color", "always", *shlex.split(typed)), "apm2-ledger " + typed) for typed in TYPED]
        label = "A terminal: apm2-ledger run, list and show"
        write(folder, "terminal.svg", terminal.recording(shown, (ledger.environment, place), RECORDING_COLUMNS, label))
        ledger.run("daemon", "--stop")
    if missing:
        sys.exit("not made, since a program is missing: " + "; ".join(missing))


if __name__ == "__main__":
    main()
