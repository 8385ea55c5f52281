"""A stub of the Responses API of OpenAI, for Codex CLI."""

import json
import time

from canaries import CANARIES
from stubs.server import Handler, unique

USAGE = {"input_tokens": 1000, "input_tokens_details": {"cached_tokens": 300}, "output_tokens": 40,
         "output_tokens_details": {"reasoning_tokens": 7}, "total_tokens": 1040}
# The tool that runs a command, and its arguments: the name depends on the model and on the version.
SHELLS = {
    "exec_command": lambda command: {"cmd": command},
    "shell_command": lambda command: {"command": command},
    "shell": lambda command: {"command": ["bash", "-lc", command]},
}


class OpenAi(Handler):
    def do_GET(self):
        self.send(200 if "/models" in self.path else 404, {"object": "list", "data": [], "models": []})

    def is_of_agent(self, request):
        return bool(request.get("tools"))

    def answer(self, request):
        plays = self.next_step(request.get("input", [{}])[-1].get("type", "").endswith("call_output"))
        if plays == "unauthorized":
            return self.send(401, error("invalid_request_error", code="invalid_api_key"))
        if plays == "limit":
            left = self.server.resets_at - int(time.time())
            limit = error("usage_limit_reached", resets_at=self.server.resets_at, resets_in_seconds=left, plan_type="plus")
            return self.send(429, limit, {"x-codex-primary-used-percent": "100.0", "x-codex-primary-window-minutes": "300",
                                          "x-codex-primary-reset-at": self.server.resets_at})
        self.begin_stream()
        response = {"id": unique("resp_"), "object": "response", "status": "in_progress", "model": request.get("model"),
                    "output": []}
        self.event("response.created", response=response)
        if plays == "stall":
            return self.stall()
        items = [reasoning(), self.call(request) if plays == "tool" else message()]
        for index, item in enumerate(items):
            begun = {**item, **({"content": []} if item["type"] == "message" else {})}
            self.event("response.output_item.added", output_index=index, item=begun)
            self.event("response.output_item.done", output_index=index, item=item)
        done = {**response, "status": "completed", "output": items, "usage": USAGE}
        self.event("response.completed", response=done)

    def call(self, request):
        names = {tool.get("name") or tool.get("type") for tool in request["tools"]}
        name = next(name for name in SHELLS if name in names)
        return {"type": "function_call", "id": unique("fc_"), "call_id": unique("call_"), "name": name,
                "arguments": json.dumps(SHELLS[name](self.server.command))}

    def event(self, kind, **members):
        self.stream({"type": kind, **members}, kind)


def error(kind, code=None, **more):
    return {"error": {"type": kind, "message": CANARIES["error"], "param": None, "code": code, **more}}


def reasoning():
    return {"type": "reasoning", "id": unique("rs_"), "summary": [{"type": "summary_text", "text": CANARIES["reasoning"]}]}


def message():
    return {"type": "message", "id": unique("msg_"), "role": "assistant",
            "content": [{"type": "output_text", "text": CANARIES["answer"]}]}
