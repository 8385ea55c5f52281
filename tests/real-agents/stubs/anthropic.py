"""A stub of the Messages API of Anthropic, for Claude Code."""

import json

from canaries import CANARIES
from stubs.server import Handler, unique

USAGE = {"input_tokens": 1000, "cache_creation_input_tokens": 200, "cache_read_input_tokens": 300, "output_tokens": 40}


class Anthropic(Handler):
    def is_of_agent(self, request):
        return any(tool.get("name") == "Bash" for tool in request.get("tools", []))

    def answer(self, request):
        plays = self.next_step("tool_result" in json.dumps(request.get("messages", [""])[-1]))
        if "count_tokens" in self.path:
            return self.send(200, {"input_tokens": 100})
        if plays == "unauthorized":
            return self.error(401, "authentication_error")
        if not self.is_of_agent(request):
            return self.message(request, [text("A title")])
        if plays == "limit":
            return self.error(429, "rate_limit_error", {
                "anthropic-ratelimit-unified-status": "rejected",
                "anthropic-ratelimit-unified-reset": self.server.resets_at,
                "anthropic-ratelimit-unified-representative-claim": "five_hour",
                "x-should-retry": "false",
            })
        if plays == "tool":
            use = {"type": "tool_use", "id": unique("toolu_"), "name": "Bash",
                   "input": {"command": self.server.command, "description": CANARIES["argument"]}}
            return self.message(request, [text(CANARIES["answer"]), use])
        return self.message(request, [text(CANARIES["answer"])])

    def error(self, status, kind, headers=None):
        self.send(status, {"type": "error", "error": {"type": kind, "message": CANARIES["error"]}}, headers)

    def head(self, request):
        return {"id": unique("msg_"), "type": "message", "role": "assistant", "model": request.get("model"),
                "content": [], "stop_reason": None, "stop_sequence": None, "usage": USAGE}

    def message(self, request, blocks):
        reason = "end_turn" if blocks[-1]["type"] == "text" else "tool_use"
        if not request.get("stream"):
            return self.send(200, {**self.head(request), "content": blocks, "stop_reason": reason})
        self.begin_stream()
        self.event("message_start", message=self.head(request))
        if self.server.plays == "stall" and self.is_of_agent(request):
            return self.stall()
        for index, block in enumerate(blocks):
            self.block(index, block)
        self.event("message_delta", delta={"stop_reason": reason, "stop_sequence": None}, usage=USAGE)
        self.event("message_stop")

    def block(self, index, block):
        is_text = block["type"] == "text"
        begun = {**block, **({"text": ""} if is_text else {"input": {}})}
        delta = ({"type": "text_delta", "text": block["text"]} if is_text
                 else {"type": "input_json_delta", "partial_json": json.dumps(block["input"])})
        self.event("content_block_start", index=index, content_block=begun)
        self.event("content_block_delta", index=index, delta=delta)
        self.event("content_block_stop", index=index)

    def event(self, kind, **members):
        self.stream({"type": kind, **members}, kind)


def text(words):
    return {"type": "text", "text": words}
