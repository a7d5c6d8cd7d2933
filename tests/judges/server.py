"""A server on this machine that speaks the protocols of OpenAI and Gemini, well or badly.

What it does is decided by `plan(image, number)`: the digest of the image and how often it was
asked about. Everything that it counts tokens for is in its log.
"""

import base64
import hashlib
import json
import socket
import threading
import time
from contextlib import contextmanager
from dataclasses import dataclass
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from pixelsmile.judges.prompt import PROMPT_LABELS, SCORING_PROMPT

KEY = "sk-planted-0123456789"

FREE = ("limit", "overload", "denied", "policy", "forbidden", "quota", "rejected")
"""What no tokens are counted for."""


def true_scores(image):
    """Return the scores of an image by label; two decimals, drawn from its digest."""
    return {
        label: int(hashlib.sha256(f"{image}{label}".encode()).hexdigest(), 16) % 101 / 100
        for label in PROMPT_LABELS
    }


def good(image):
    return json.dumps(true_scores(image))


def set_content(completion, content):
    completion["choices"][0]["message"]["content"] = content


def set_parts(completion):
    text = completion["choices"][0]["message"]["content"]
    halves = [{"type": "text", "text": half} for half in (text[:30], text[30:])]
    set_content(completion, [{"type": "thinking", "thinking": "Hmm {"}, *halves])


def set_usage(completion, **tokens):
    del completion["usage"]["total_tokens"]  # with all three the client turns "12" into 12
    completion["usage"].update(tokens)


ODD = {
    "empty": lambda completion: completion.update(choices=[]),
    "dict": lambda completion: completion.update(choices={"0": completion["choices"][0]}),
    "words": lambda completion: completion.update(choices=["Hello"]),
    "picture": lambda completion: set_content(completion, {"image": "x"}),
    "numbers": lambda completion: set_content(completion, [1, 2]),
    "parts": set_parts,
    "strings": lambda completion: set_usage(completion, prompt_tokens="12"),
    "floats": lambda completion: set_usage(completion, completion_tokens=1.5),
    "negative": lambda completion: set_usage(completion, prompt_tokens=-1),
    "truth": lambda completion: set_usage(completion, prompt_tokens=True),
    "list": lambda completion: completion.update(usage=[1, 2]),
}
"""Completions of a shape that the protocol does not have, made from one that it has."""


@dataclass
class Entry:
    """One question as the server saw it."""

    image: str
    attempt: str
    kind: str
    input: int
    output: int
    idempotency: str = ""
    moment: float = 0.0
    body: dict | None = None


class Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.guard, self.release, self.busy = threading.Lock(), threading.Event(), 0
        self.log = []
        self.asked = {}
        self.reset()

    def reset(self, plan=lambda image, number: "answer"):
        """Forget everything, and let go of those who are being stalled."""
        self.release.set()
        while self.busy:
            time.sleep(0.01)
        self.release = threading.Event()
        with self.guard:
            self.plan, self.log, self.asked = plan, [], {}
        self.delay, self.stall, self.retry_after = 0.0, 2.0, "0.05"
        self.waiting = self.most = 0  # questions unanswered at once, and the most there were

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_port}"

    def total(self, entries=None):
        """Return tokens in and out of some questions, or of all."""
        entries = self.log if entries is None else entries
        return sum(item.input for item in entries), sum(item.output for item in entries)

    def handle_error(self, *_):
        """A client that was killed is no news."""


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        """Stay quiet."""

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        gemini = "generateContent" in self.path
        server = self.server
        with server.guard:
            server.busy += 1
        try:
            (self.gemini if gemini else self.openai)(body)
        finally:
            with server.guard:
                server.busy -= 1

    def note(self, image, body):
        """Log the question; return what to do and the tokens."""
        server = self.server
        with server.guard:
            number = server.asked[image] = server.asked.get(image, 0) + 1
            kind = server.plan(image, number)
            free = kind in FREE
            seed = int(image[:8], 16)
            entry = Entry(
                image,
                self.headers.get("x-client-request-id", ""),
                kind,
                0 if free else 1000 + seed % 97 + number,
                0 if free else 100 + seed % 31 + number,
                self.headers.get("idempotency-key", ""),
                time.monotonic(),
                body,
            )
            server.log.append(entry)
            server.waiting += 1
            server.most = max(server.most, server.waiting)
        time.sleep(server.delay)
        # Before the reply: whoever has it may ask anew at once, sooner than this thread goes on.
        with server.guard:
            server.waiting -= 1
        return entry

    def text(self, kind, image):
        """Return what the model says."""
        scores = true_scores(image)
        return {
            "answer": good(image),
            "fence": f"```json\n{good(image)}\n```",
            "json": good(image)[:-20],
            "keys": json.dumps({**scores, "Neutral": 0.5}),
            "missing": json.dumps(dict(list(scores.items())[:-1])),
            "nan": good(image).replace(": ", ': NaN, "x": ', 1),
            "percent": json.dumps({**scores, "Anger": "40%"}),
            "range": json.dumps({**scores, "Anger": 40}),
            "sorry": "I'm sorry, but I can't help with that.",
            "echo": f"The key is {KEY}",
        }.get(kind, good(image))

    def trouble(self, kind, image):
        """Do what is common to both protocols; return whether that was it."""
        if kind == "stall":
            self.server.release.wait(self.server.stall)
            self.close_connection = True
        elif kind == "drop":
            self.send_response(200)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", "4000")
            self.end_headers()
            self.wfile.write(b'{"id": "x", "choi')
            self.wfile.flush()
            self.connection.shutdown(socket.SHUT_RDWR)
            self.close_connection = True
        elif kind == "page":
            self.reply(200, "<html>Welcome</html>", content="text/html")
        elif kind == "limit":
            wait = self.server.retry_after
            wait = wait() if callable(wait) else wait
            self.reply(429, _error("slow down", "rate_limit"), wait=wait)
        elif kind == "quota":
            self.reply(429, _error("pay first", "insufficient_quota"))
        elif kind == "overload":
            self.reply(503, _error("overloaded", "server_error"))
        elif kind == "denied":
            self.reply(401, _error(f"Incorrect API key provided: {KEY}", "invalid_api_key"))
        elif kind == "rejected":
            self.reply(400, _error("temperature is not supported", "unsupported_value"))
        elif kind == "policy":
            self.reply(400, _error("violates our policy", "content_policy_violation"))
        elif kind == "forbidden":
            self.reply(403, _error("violates our policy", "content_policy_violation"))
        else:
            return False
        return True

    def openai(self, body):
        image_part, text_part = body["messages"][0]["content"]
        assert text_part["text"] == SCORING_PROMPT
        kind_of_image, _, data = image_part["image_url"]["url"].partition(";base64,")
        assert kind_of_image.startswith("data:image/")
        image = hashlib.sha256(base64.b64decode(data)).hexdigest()
        entry = self.note(image, body)
        if self.trouble(entry.kind, image):
            return
        message = {"role": "assistant", "content": self.text(entry.kind, image)}
        reason = "stop"
        if entry.kind == "refuse":
            message = {"role": "assistant", "content": None, "refusal": "not this face"}
        elif entry.kind == "filter":
            message["content"], reason = "", "content_filter"
        elif entry.kind == "cut":
            message["content"], reason = good(image)[:-20], "length"
        usage = {
            "prompt_tokens": entry.input,
            "completion_tokens": entry.output,
            "total_tokens": entry.input + entry.output,
            "prompt_tokens_details": {"cached_tokens": 64},
        }
        completion = {
            "id": "x",
            "object": "chat.completion",
            "created": 0,
            "model": body["model"],
            "choices": [{"index": 0, "message": message, "finish_reason": reason}],
            "usage": None if entry.kind == "untold" else usage,
        }
        if entry.kind in ODD:
            ODD[entry.kind](completion)
        self.reply(200, completion)

    def gemini(self, body):
        image_part, text_part = body["contents"][0]["parts"]
        assert text_part["text"] == SCORING_PROMPT
        data = image_part["inlineData"]["data"]
        image = hashlib.sha256(base64.b64decode(data, altchars=b"-_")).hexdigest()
        entry = self.note(image, body)
        if entry.kind == "limit":
            info = {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "0.05s"}
            error = {"code": 429, "status": "RESOURCE_EXHAUSTED", "message": "x", "details": [info]}
            return self.reply(429, {"error": error})
        if entry.kind == "denied":
            info = {
                "@type": "type.googleapis.com/google.rpc.ErrorInfo",
                "reason": "API_KEY_INVALID",
            }
            error = {"code": 400, "status": "INVALID_ARGUMENT", "message": KEY, "details": [info]}
            return self.reply(400, {"error": error})
        if self.trouble(entry.kind, image):
            return None
        thoughts = 40
        usage = {
            "promptTokenCount": entry.input,
            "candidatesTokenCount": entry.output - thoughts,
            "thoughtsTokenCount": thoughts,
            "cachedContentTokenCount": 64,
            "totalTokenCount": entry.input + entry.output,
        }
        if entry.kind == "negative":
            usage["promptTokenCount"] = -1
        if entry.kind == "refuse":
            feedback = {"blockReason": "PROHIBITED_CONTENT"}
            return self.reply(200, {"promptFeedback": feedback, "usageMetadata": usage})
        parts = [{"text": "Hmm {", "thought": True}, {"text": self.text(entry.kind, image)}]
        candidate = {"content": {"role": "model", "parts": parts}, "finishReason": "STOP"}
        if entry.kind == "filter":
            candidate = {"finishReason": "SAFETY"}
        candidates = {"0": candidate} if entry.kind == "dict" else [candidate]
        return self.reply(200, {"candidates": candidates, "usageMetadata": usage})

    def reply(self, status, body, *, wait=None, content="application/json"):
        data = (body if isinstance(body, str) else json.dumps(body)).encode()
        self.send_response(status)
        self.send_header("content-type", content)
        self.send_header("content-length", str(len(data)))
        if wait is not None:
            self.send_header("retry-after", wait)
        self.end_headers()
        self.wfile.write(data)


def _error(message, code):
    return {"error": {"message": message, "type": code, "code": code, "param": None}}


def http_date(seconds):
    """Return the moment so many seconds from now as HTTP writes it, to the next full second."""
    return formatdate(time.time() + seconds, usegmt=True)


@contextmanager
def serving():
    server = Server()
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
