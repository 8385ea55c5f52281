#!/usr/bin/env python3
"""Figures for the daemon, side by side with pm2, supervisord and pueue in one run.

    supervisors.py APM2_LEDGER PM2 SUPERVISORD PUEUE PUEUED [ROUNDS]

Each starts 100 children of `sleep`, in turn, ROUNDS times (default 5). Printed are medians: the time until all run, the
resident memory of the daemon with its helpers, the share of a core that it takes while nothing happens, the time until a
child that was killed is back, and what is known of the children after a SIGKILL of the daemon.
"""

import json
import os
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time

CHILDREN = 100
IDLE_SECONDS = 10
PATIENCE_SECONDS = 30
SECONDS_SLEPT = "86413"  # By this argument our children are known from others.


def run(*args, env=None, check=True):
    done = subprocess.run(args, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if check and done.returncode != 0:
        sys.exit(f"{args}: {done.stdout}")
    return done.stdout


def pids_of(found):
    pids = set()
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                with open(f"/proc/{name}/cmdline", "rb") as file:
                    line = file.read().split(b"\0")[:-1]
                with open(f"/proc/{name}/stat") as file:
                    is_alive = ") Z" not in file.read()
            except OSError:
                continue
            if is_alive and found([word.decode(errors="replace") for word in line]):
                pids.add(int(name))
    return pids


def sleepers():
    return pids_of(lambda line: line[-1:] == [SECONDS_SLEPT] and line[0].endswith("sleep"))


def until(condition):
    began = time.monotonic()
    while not condition():
        if time.monotonic() - began > PATIENCE_SECONDS:
            return None
        time.sleep(0.0005)
    return time.monotonic() - began


def resident_mib(pids):
    total = 0
    for pid in pids:
        with open(f"/proc/{pid}/status") as file:
            total += next(int(line.split()[1]) for line in file if line.startswith("VmRSS"))
    return total / 1024


def processor_seconds(pids):
    # The clock of the process, as clock_getcpuclockid(3) names it, contains the time of threads that have ended.
    return sum(time.clock_gettime(~pid << 3 | 2) for pid in pids)


def children_of(pids):
    found = set()
    for pid in pids:
        for task in os.listdir(f"/proc/{pid}/task"):
            try:
                with open(f"/proc/{pid}/task/{task}/children") as file:
                    found.update(int(child) for child in file.read().split())
            except OSError:
                pass
    return found


class Ours:
    name = "apm2-ledger"

    def __init__(self, home, program):
        self.program = program
        self.env = dict(os.environ, APM2_LEDGER_DIR=f"{home}/ledger")
        self.file = f"{home}/ecosystem.toml"
        with open(self.file, "w") as file:
            for number in range(CHILDREN):
                file.write(f"[[process]]\nname = 'p{number}'\ncommand = 'sleep'\nargs = ['{SECONDS_SLEPT}']\n")
                file.write("restart = { policy = 'always', backoff = '0ms' }\n")

    def start(self):
        run(self.program, "up", self.file, env=self.env)

    def daemons(self):
        ledger = self.env["APM2_LEDGER_DIR"]
        return pids_of(lambda line: line[:1] == [self.program] and ledger in line)

    def spawner(self):
        ledger = self.env["APM2_LEDGER_DIR"]
        return pids_of(lambda line: line[:1] == [self.program] and ledger in line and "daemon" in line)

    def after_death(self):
        self.start()
        handles = json.loads(run(self.program, "--format", "json", "list", env=self.env))
        return sorted(handle["state"] for handle in handles), {handle["pid"] for handle in handles}

    def end(self):
        run(self.program, "down", "--all", env=self.env, check=False)
        run(self.program, "daemon", "--stop", env=self.env, check=False)


class Pm2:
    name = "pm2"

    def __init__(self, home, program):
        self.program = program
        self.env = dict(os.environ, PM2_HOME=home)
        self.file = f"{home}/apps.json"
        app = {"script": shutil.which("sleep"), "args": SECONDS_SLEPT, "interpreter": "none"}
        with open(self.file, "w") as file:
            json.dump({"apps": [dict(app, name=f"p{number}") for number in range(CHILDREN)]}, file)

    def start(self):
        run(self.program, "start", self.file, env=self.env)

    def daemons(self):
        return pids_of(lambda line: " ".join(line).startswith("PM2 ") and self.env["PM2_HOME"] in " ".join(line))

    spawner = daemons

    def after_death(self):
        handles = json.loads(run(self.program, "jlist", env=self.env).split("\n")[-1] or "[]")
        return sorted(handle["pm2_env"]["status"] for handle in handles), {handle["pid"] for handle in handles}

    def end(self):
        run(self.program, "kill", env=self.env, check=False)


class Supervisord:
    name = "supervisord"

    def __init__(self, home, program):
        self.program, self.home = program, home
        self.control = os.path.join(os.path.dirname(program), "supervisorctl")
        self.file = f"{home}/supervisord.conf"
        with open(self.file, "w") as file:
            file.write(f"[supervisord]\nlogfile={home}/log\npidfile={home}/pid\nchildlogdir={home}\n")
            file.write(f"[unix_http_server]\nfile={home}/sock\n[supervisorctl]\nserverurl=unix://{home}/sock\n")
            file.write("[rpcinterface:supervisor]\n")
            file.write("supervisor.rpcinterface_factory=supervisor.rpcinterface:make_main_rpcinterface\n")
            for number in range(CHILDREN):
                file.write(f"[program:p{number}]\ncommand=sleep {SECONDS_SLEPT}\nautorestart=true\nstartsecs=0\n")

    def start(self):
        run(self.program, "-c", self.file)

    def daemons(self):
        return pids_of(lambda line: self.file in line and any("supervisord" in word for word in line[:2]))

    spawner = daemons

    def after_death(self):
        return ["forgotten; a new one would start all of them again"], set()

    def end(self):
        run(self.control, "-c", self.file, "shutdown", check=False)
        until(lambda: not self.daemons())


class Pueue:
    name = "pueue"

    def __init__(self, home, program, daemon):
        self.program, self.daemon, self.home = program, daemon, home
        self.file = f"{home}/pueue.yml"
        with open(self.file, "w") as file:
            file.write(f"shared:\n  pueue_directory: {home}\n  runtime_directory: {home}\n")
            file.write(f"  use_unix_socket: true\n  unix_socket_path: {home}/sock\n")

    def client(self, *args, check=True):
        return run(self.program, "-c", self.file, *args, check=check)

    def daemonize(self):
        # It keeps its standard output open. A reader of a pipe would wait for the end of the daemon.
        subprocess.run([self.daemon, "-c", self.file, "-d"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        until(lambda: subprocess.run([self.program, "-c", self.file, "status"], capture_output=True).returncode == 0)

    def start(self):
        self.daemonize()
        self.client("parallel", str(CHILDREN))
        for _ in range(CHILDREN):
            self.client("add", "--", "exec", "sleep", SECONDS_SLEPT)

    def daemons(self):
        return pids_of(lambda line: line[:1] == [self.daemon] and self.file in line)

    spawner = daemons

    def after_death(self):
        self.daemonize()
        tasks = json.loads(self.client("status", "--json"))["tasks"].values()
        words = []
        for task in tasks:
            status = task["status"]
            words.append(json.dumps(status["Done"]["result"]) if "Done" in status else next(iter(status)))
        return sorted(words), set()

    def end(self):
        self.client("kill", "--all", check=False)
        self.client("shutdown", check=False)
        until(lambda: not self.daemons())


def kill(pids):
    for pid in pids:
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            pass


def measured(peer):
    """One round: all figures of one peer."""
    figures = {}
    began = time.monotonic()
    peer.start()
    until(lambda: len(sleepers()) >= CHILDREN)
    figures["all running, s"] = time.monotonic() - began
    # The work that follows the starts has ended by then.
    time.sleep(15)
    daemons = peer.daemons()
    before = processor_seconds(daemons)
    time.sleep(IDLE_SECONDS)
    figures["idle, % of a core"] = (processor_seconds(daemons) - before) / IDLE_SECONDS * 100
    figures["memory, MiB"] = resident_mib(daemons)
    if peer.name != "pueue":  # It restarts nothing.
        spawner = peer.spawner()
        old = children_of(spawner)
        victim = min(sleepers())
        os.kill(victim, signal.SIGKILL)
        took = until(lambda: children_of(spawner) - old)
        if took is not None:
            figures["killed child back, ms"] = took * 1000
    alive = sleepers()
    kill(peer.spawner())
    until(lambda: not peer.spawner())
    time.sleep(0.2)
    figures["children alive after kill -9"] = len(alive & sleepers())
    said, pids = peer.after_death()
    figures["said of them"] = {word: said.count(word) for word in dict.fromkeys(said)}
    figures["known by pid"] = len(alive & pids)
    peer.end()
    kill(sleepers())
    kill(peer.daemons())
    return figures


def main():
    if len(sys.argv) not in (6, 7):
        sys.exit(__doc__)
    ours, pm2, supervisord, pueue, pueued = map(os.path.abspath, sys.argv[1:6])
    rounds = int(sys.argv[6]) if len(sys.argv) == 7 else 5
    makers = [
        lambda home: Ours(home, ours),
        lambda home: Pm2(home, pm2),
        lambda home: Supervisord(home, supervisord),
        lambda home: Pueue(home, pueue, pueued),
    ]
    results = {}
    for number in range(rounds):
        for make in makers:
            with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as home:
                peer = make(home)
                figures = measured(peer)
            results.setdefault(peer.name, []).append(figures)
            print(number + 1, peer.name, figures, flush=True)
    print()
    for name, all_figures in results.items():
        print(name)
        for figure in all_figures[0]:
            values = [figures[figure] for figures in all_figures if figure in figures]
            is_number = isinstance(values[0], (int, float))
            print(f"  {figure:30} {round(statistics.median(values), 3) if is_number else values[-1]}")


if __name__ == "__main__":
    main()
