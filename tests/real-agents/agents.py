"""How each of the three agents is set up against its stub: the program, its arguments, its settings."""

import json
import os

from canaries import CANARIES
from stubs.anthropic import Anthropic
from stubs.gemini import Gemini
from stubs.openai import OpenAi


class ClaudeCode:
    kind, stub, shell = "claude-code", Anthropic, "Bash"
    reports_reset = keeps_session_without_an_answer = True
    limit_wait_max = "3m"
    first_args, resume_args = ["--session-id", "{session}"], ["--resume", "{session}"]

    def __init__(self, modules):
        self.program = [f"{modules}/@anthropic-ai/claude-code-linux-x64/claude"]
        self.args = ["-p", "--output-format", "stream-json", "--verbose", "--permission-mode", "dontAsk",
                     "--allowedTools", "Bash", "{session-args}"]

    def environment(self, port, scenario):
        # Only the limits of a subscription have a reset time, and this is its token.
        self.key_variable = "CLAUDE_CODE_OAUTH_TOKEN" if scenario.startswith("limit") else "ANTHROPIC_API_KEY"
        return {"ANTHROPIC_BASE_URL": f"http://127.0.0.1:{port}", "DISABLE_AUTOUPDATER": "1", "CLAUDE_CODE_MAX_RETRIES": "1"}

    def configure(self, home, port):
        pass

    def prepare_for_a_person(self, place):
        """Answers the questions that it asks a new user, and that about the key."""
        settings = {"hasCompletedOnboarding": True, "theme": "dark",
                    "projects": {place.work: {"hasTrustDialogAccepted": True}},
                    "customApiKeyResponses": {"approved": [CANARIES["key"][-20:]], "rejected": []}}
        with open(f"{place.home}/.claude.json", "w") as file:
            json.dump(settings, file)


class Codex:
    kind, stub, shell = "codex", OpenAi, "command_execution"
    reports_reset = keeps_session_without_an_answer = True
    limit_wait_max = "3m"
    first_args, resume_args = [], ["resume", "{session}"]

    def __init__(self, modules):
        self.program = [f"{modules}/@openai/codex-linux-x64/vendor/x86_64-unknown-linux-musl/bin/codex"]
        self.args = ["exec", "--json", "--skip-git-repo-check", "-s", "workspace-write",
                     "{session-args}", "-"]
        self.key_variable = "STUB_KEY"

    def environment(self, port, scenario):
        # The home of the tests is in /tmp. Codex puts no helper program below the directory of temporary files, and where bwrap(1) is
        # installed it cannot run a command without its helper.
        return {"TMPDIR": "/var/tmp"}

    def configure(self, home, port):
        os.makedirs(f"{home}/.codex")
        with open(f"{home}/.codex/config.toml", "w") as file:
            file.write(f'model = "gpt-5-codex"\nmodel_provider = "stub"\n[model_providers.stub]\nname = "stub"\n'
                       f'base_url = "http://127.0.0.1:{port}/v1"\nenv_key = "STUB_KEY"\nwire_api = "responses"\n')

    def prepare_for_a_person(self, place):
        pass


class GeminiCli:
    kind, stub, shell = "gemini", Gemini, "run_shell_command"
    reports_reset = keeps_session_without_an_answer = False
    limit_wait_max = "20s"  # It ends the wait of 15 min for a limit whose reset time is not known.
    first_args, resume_args = [], ["--resume", "{session}"]

    def __init__(self, modules):
        self.program = ["node", f"{modules}/@google/gemini-cli/bundle/gemini.js"]
        self.args = ["--output-format", "stream-json", "--yolo", "--skip-trust", "-m", "gemini-2.5-flash", "{session-args}"]
        self.key_variable = "GEMINI_API_KEY"

    def environment(self, port, scenario):
        return {"GOOGLE_GEMINI_BASE_URL": f"http://127.0.0.1:{port}", "GEMINI_CLI_NO_RELAUNCH": "true"}

    def configure(self, home, port):
        os.makedirs(f"{home}/.gemini")
        with open(f"{home}/.gemini/settings.json", "w") as file:
            json.dump({"security": {"auth": {"selectedType": "gemini-api-key"}}}, file)

    def prepare_for_a_person(self, place):
        pass


AGENTS = {agent.kind: agent for agent in (ClaudeCode, Codex, GeminiCli)}
