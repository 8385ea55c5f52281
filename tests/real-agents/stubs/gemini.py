"""A stub of the Gemini API, for Gemini CLI."""

import json

from canaries import CANARIES
from stubs.server import Handler, unique

USAGE = {"promptTokenCount": 1000, "candidatesTokenCount": 33, "thoughtsTokenCount": 7, "totalTokenCount": 1040,
         "cachedContentTokenCount": 300}
PER_DAY = {"@type": "type.googleapis.com/google.rpc.QuotaFailure",
           "violations": [{"quotaId": "GenerateRequestsPerDayPerProjectPerModel-FreeTier", "quotaValue": "100"}]}
BAD_KEY = {"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": "API_KEY_INVALID", "domain": "googleapis.com"}


class Gemini(Handler):
    def is_of_agent(self, request):
        declarations = [item for tool in request.get("tools") or [] for item in tool.get("functionDeclarations") or []]
        return any(item.get("name") == "run_shell_command" for item in declarations)

    def answer(self, request):
        plays = self.next_step("functionResponse" in json.dumps(request.get("contents", [""])[-1]))
        if "countTokens" in self.path:
            return self.send(200, {"totalTokens": 100})
        if plays == "unauthorized":
            return self.error(400, "INVALID_ARGUMENT", BAD_KEY, "API key not valid. Please pass a valid API key. ")
        if plays == "limit":
            return self.error(429, "RESOURCE_EXHAUSTED", PER_DAY)
        if not self.is_of_agent(request):
            return self.parts([{"text": json.dumps(filled(request))}])
        if plays == "tool":
            call = {"name": "run_shell_command", "args": {"command": self.server.command, "description": CANARIES["argument"]}}
            return self.parts([{"text": CANARIES["answer"]}, {"functionCall": call, "thoughtSignature": "c2ln"}])
        thought = {"text": CANARIES["reasoning"], "thought": True}
        return self.parts([thought, {"text": CANARIES["answer"]}])

    def error(self, status, word, detail, words=""):
        message = words + CANARIES["error"]
        self.send(status, {"error": {"code": status, "message": message, "status": word, "details": [detail]}})

    def parts(self, parts):
        if "stream" not in self.path:
            return self.send(200, candidate(parts, is_last=True))
        self.begin_stream()
        self.stream(candidate(parts[:1]))
        if self.server.plays == "stall":
            return self.stall()
        self.stream(candidate(parts[1:], is_last=True))


def candidate(parts, is_last=False):
    end = {"finishReason": "STOP"} if is_last else {}
    usage = {"usageMetadata": USAGE} if is_last else {}
    one = {"content": {"role": "model", "parts": parts}, "index": 0, **end}
    return {"candidates": [one], "modelVersion": "stub", "responseId": unique(""), **usage}


def filled(request):
    """A document of the form that a request asks for, which has to name a model when it asks for one."""
    form = (request.get("generationConfig") or {}).get("responseJsonSchema") or {}
    values = {"string": "flash", "number": 10, "integer": 10, "boolean": True}
    return {name: values.get(value.get("type"), []) for name, value in form.get("properties", {}).items()}
