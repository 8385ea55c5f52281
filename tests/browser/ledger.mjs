// A ledger with a bad night of a few seconds, and with hostile text.

import { execFileSync, spawn } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

export const HOSTILE = "</script><script>window.ran = 1</script><img src=x onerror='window.ran = 1'>&lt;b&gt;\u202eevil\u200b{{data}}";

const ECOSYSTEM = `
[[process]]
name = "steady"
command = "sh"
args = ["-c", "while :; do sleep 0.2; done"]

[[process]]
name = "flaky"
command = "sh"
args = ["-c", "while :; do sleep 0.2; done"]
[process.restart]
policy = "on-failure"
backoff = "100ms"

[[process]]
name = "broken"
command = "sh"
args = ["-c", "echo oops >&2; exit 7"]
[process.restart]
policy = "never"
`;

export class Ledger {
  constructor() {
    this.dir = mkdtempSync(join(tmpdir(), "apm2-browser-"));
    writeFileSync(join(this.dir, "ecosystem.toml"), ECOSYSTEM);
  }

  path(name) {
    return join(this.dir, name);
  }

  // Runs the command. Returns what it prints.
  run(...args) {
    const options = { cwd: this.dir, encoding: "utf8", env: { ...process.env, APM2_LEDGER: this.path("ledger") }, stdio: ["ignore", "pipe", "ignore"] };
    try {
      return execFileSync(process.env.APM2_PROGRAM, ["--ledger", this.path("ledger"), ...args], options);
    } catch (error) {
      return error.stdout;
    }
  }

  pidOf(name) {
    return JSON.parse(this.run("--format", "json", "list")).find((one) => one.name === name).pid;
  }

  fill() {
    this.run("run", "--name", "hostile", "--reason", HOSTILE, "--", "sh", "-c", `sleep 2; printf '%s\\n' "$0" >&2; exit 3`, HOSTILE);
    this.run("up", "ecosystem.toml");
  }

  // Starts the live page. Returns its address with the token.
  async serve(...args) {
    this.server = spawn(process.env.APM2_PROGRAM, ["--ledger", this.path("ledger"), "web", ...args], { stdio: ["ignore", "pipe", "inherit"] });
    for await (const chunk of this.server.stdout) return String(chunk).trim();
    throw new Error("the server has ended");
  }

  remove() {
    if (this.server) this.server.kill("SIGTERM");
    this.run("down", "ecosystem.toml");
    this.run("daemon", "--stop");
    rmSync(this.dir, { recursive: true, force: true });
  }
}
