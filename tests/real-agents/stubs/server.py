"""What the stub servers share: a server on the loopback interface whose behaviour a scenario sets."""

import json
import sys
import threading
import time
import uuid
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

LIMIT_SECONDS = 20


class Stub(ThreadingHTTPServer):
    """A server on a free port. `plays` is what it does with a request of the agent itself:

    answer        it answers with a text
    tool          it calls a tool, and answers with a text when it has the result
    unauthorized  it refuses the key
    limit         it reports a usage limit, with its reset time
    tool, limit   it calls a tool, and reports a usage limit when it has the result
    stall         it begins to answer, and sends nothing more
    """

    daemon_threads = True

    def __init__(self, handler):
        super().__init__(("127.0.0.1", 0), handler)
        self.plays = "answer"
        self.command = ""
        self.requests = []  # The texts of the requests of the agent itself, without those for titles and the like.
        self.resets_at = 0
        self.is_closing = threading.Event()
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def begin_limit(self, plays="limit"):
        self.plays, self.resets_at = plays, int(time.time()) + LIMIT_SECONDS

    def handle_error(self, request, client_address):
        """An agent that ends closes its connections in the middle of a request."""
        if not isinstance(sys.exc_info()[1], ConnectionError):
            super().handle_error(request, client_address)

    def close(self):
        self.is_closing.set()
        self.shutdown()
        self.server_close()


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def next_step(self, has_result):
        """The word for this request, where `plays` has one for the request with the result of a tool and one for the others."""
        first, _, then = self.server.plays.partition(", ")
        return (then or "answer") if has_result and first == "tool" else first

    def log_message(self, *_):
        pass

    def do_GET(self):
        self.send(404, {})

    do_HEAD = do_GET

    def do_POST(self):
        text = self.rfile.read(int(self.headers.get("content-length") or 0)).decode()
        request = json.loads(text or "{}")
        if self.is_of_agent(request):
            self.server.requests.append(text)
        self.answer(request)

    def send(self, status, document, headers=None):
        body = json.dumps(document).encode()
        self.send_response(status)
        for name, value in {"content-type": "application/json", "content-length": len(body), **(headers or {})}.items():
            self.send_header(name, str(value))
        self.end_headers()
        self.wfile.write(body)

    def begin_stream(self):
        self.send_response(200)
        self.send_header("content-type", "text/event-stream")
        self.send_header("connection", "close")
        self.end_headers()
        self.close_connection = True

    def stream(self, document, name=None):
        event = f"event: {name}\n" if name else ""
        self.wfile.write(f"{event}data: {json.dumps(document)}\n\n".encode())
        self.wfile.flush()

    def stall(self):
        self.server.is_closing.wait()


def unique(prefix):
    return prefix + uuid.uuid4().hex[:24]
