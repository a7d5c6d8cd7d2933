"""What a paid service is to a judge: one question, one reply or one kind of failure."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import ModuleType
from typing import Any, NamedTuple, Protocol
from urllib.parse import urlsplit

from pixelsmile.errors import UserError
from pixelsmile.judges.base import Picture, Usage

RATE_LIMITED = "rate_limited"
OVERLOADED = "server_error"
TIMEOUT = "timeout"
DROPPED = "dropped"
BROKEN = "broken"
UNREACHABLE = "unreachable"
REFUSED = "refused"
REJECTED = "rejected"
DENIED = "denied"
"""Kinds of failure. The first six are asked again. `refused` is the service's policy, `rejected` a
question that it does not take, `denied` means that no question will be taken: key, model, quota."""

_POLICY = ("content_filter", "content_policy_violation", "moderation_blocked", "safety")
_HOPELESS = ("insufficient_quota", "invalid_api_key", "API_KEY_INVALID", "model_not_found")


class Reply(NamedTuple):
    """What a service said.

    Attributes:
        text: Word for word.
        usage: Tokens, None where the service does not tell.
        refused: The reason, where its policy kept it from answering.
        cut: The answer ended at the limit of tokens.
    """

    text: str
    usage: Usage | None
    refused: str = ""
    cut: bool = False


class CallError(Exception):
    """A question without an answer.

    Args:
        kind: One of the kinds above.
        reason: For people; without the key.
        wait: Seconds that the service asks to wait, if it does.
        usage: Tokens, where it counted some all the same.
    """

    def __init__(
        self, kind: str, reason: str, wait: float | None = None, usage: Usage | None = None
    ) -> None:
        super().__init__(reason)
        self.kind, self.reason, self.wait, self.usage = kind, reason, wait, usage


class Line(Protocol):
    """An open connection to a service."""

    async def ask(self, picture: Picture, prompt: str, question: "Question") -> Reply:
        """Ask about one image.

        Raises:
            CallError: If there is no answer.
        """
        ...

    async def close(self) -> None:
        """Hang up."""
        ...


class Question(NamedTuple):
    """Names under which a service may log a question.

    Attributes:
        attempt: Differs whenever something is sent.
        idempotency: The same for a question that is sent again because its answer was lost, so
            that a service that supports it answers, and bills, once.
    """

    attempt: str
    idempotency: str


class Service(Protocol):
    """A kind of service with its settings."""

    id: str
    settings: dict[str, Any]
    server: str
    secret: "Secret"

    def connect(self, timeout: float) -> Line:
        """Open a line; called inside a running event loop. Nothing is sent yet."""
        ...


NO_KEY = "none"
"""What is sent to a server that asks for no key, as clients insist on one."""

_PLACEHOLDERS = (NO_KEY, "empty", "null", "dummy", "sk-no-key-required")
"""Words that people export as a key for such a server; found in answers they are just words."""


@dataclass(frozen=True, repr=False)
class Secret:
    """A key from the environment, kept out of every text."""

    value: str = ""

    def hide(self, text: str) -> str:
        """Return a text without the key; a word that only fills its place stays.

        Example:
            >>> Secret("sk-1").hide("Incorrect API key: sk-1")
            'Incorrect API key: ***'
            >>> Secret(NO_KEY).hide("there is none")
            'there is none'
        """
        public = not self.value or self.value.lower() in _PLACEHOLDERS
        return text if public else text.replace(self.value, "***")


def key_from(variables: Sequence[str], *, default: str | None = None) -> Secret:
    """Return the first of these environment variables that is set.

    Raises:
        UserError: If none is and there is no default.
    """
    for name in variables:
        if value := os.environ.get(name, "").strip():
            return Secret(value)
    if default is None:
        raise UserError(
            f"No API key: export {' or '.join(variables)} in the shell that runs this command. "
            "Keys are read from the environment only."
        )
    return Secret(default)


def checked_url(url: str | None) -> str | None:
    """Return a base URL that holds no secret.

    Raises:
        UserError: If it is no http(s) URL, or has a user, password, or query.
    """
    if url is None:
        return None
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise UserError(f"base_url={url!r} is no URL: say http://localhost:8000/v1, for example.")
    if parts.username or parts.password or parts.query:
        raise UserError(
            f"base_url for {parts.hostname} holds a user, a password or a query: give the bare "
            "address, and the key in the environment."
        )
    return url


def told_usage(prompt: object, cached: object, output: object) -> Usage | None:
    """Return the tokens that a service tells of, None where one of the three is no count.

    Args:
        prompt: Tokens of the question.
        cached: Those among them that were in its cache; None stands for none.
        output: Tokens of the answer.

    Example:
        >>> told_usage(5, None, 2), told_usage("5", 0, 2), told_usage(5, 0, -2)
        (Usage(input=5, cached=0, output=2), None, None)
    """
    counts = [count for count in (prompt, 0 if cached is None else cached, output)]
    whole = [count for count in counts if type(count) is int and count >= 0]  # True is no count
    return Usage(*whole) if len(whole) == len(counts) else None


def need_package(name: str, extra: str = "judges") -> ModuleType:
    """Import the client of a service.

    Raises:
        UserError: If it is not installed; it says how to install it.
    """
    import importlib

    try:
        return importlib.import_module(name)
    except ImportError:
        raise UserError(
            f'This judge needs the package {name}: pip install "pixelsmile[{extra}]".'
        ) from None


def kind_of_status(status: int, body: Mapping[str, Any] | None) -> str:
    """Return the kind of failure that an HTTP status and its body mean.

    Example:
        >>> kind_of_status(429, {"code": "insufficient_quota"}), kind_of_status(429, None)
        ('denied', 'rate_limited')
    """
    codes = _codes(body)
    if any(code in _HOPELESS for code in codes):
        return DENIED
    if 400 <= status < 500 and any(code.lower() in _POLICY for code in codes):
        return REFUSED  # about this image, also where the status is one of those below
    if status in (401, 402, 403, 404):
        return DENIED
    if status == 429:
        return RATE_LIMITED
    if status in (408, 409, 425) or status >= 500:
        return OVERLOADED
    return REJECTED


def _codes(body: Any) -> list[str]:
    """Return all texts below the keys `code`, `type`, `status` and `reason`, at any depth."""
    if isinstance(body, Mapping):
        own = [body[name] for name in ("code", "type", "status", "reason") if name in body]
        found = [code for code in own if isinstance(code, str)]
        return found + [code for value in body.values() for code in _codes(value)]
    if isinstance(body, list):
        return [code for value in body for code in _codes(value)]
    return []
