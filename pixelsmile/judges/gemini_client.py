"""Gemini through google-genai: the judge of the paper is Gemini 3 Pro."""

import time
from collections.abc import Mapping
from typing import Any

from pixelsmile.errors import UserError
from pixelsmile.judges import services
from pixelsmile.judges.base import Picture, Usage
from pixelsmile.judges.pace import retry_after
from pixelsmile.judges.services import (
    CallError,
    Question,
    Reply,
    checked_url,
    key_from,
    kind_of_status,
    need_package,
    told_usage,
)

KEY_VARIABLES = ("GEMINI_API_KEY", "GOOGLE_API_KEY")
OWN_SERVER = "https://generativelanguage.googleapis.com"

_POLICY = {
    "SAFETY",
    "RECITATION",
    "BLOCKLIST",
    "PROHIBITED_CONTENT",
    "SPII",
    "IMAGE_SAFETY",
    "IMAGE_PROHIBITED_CONTENT",
    "ESCALATION",
    "MODEL_ARMOR",
}


class GeminiService:
    """A Gemini model.

    The key is `GEMINI_API_KEY` or `GOOGLE_API_KEY` of the environment.

    Args:
        model: Such as `gemini-3-pro-preview`.
        base_url: Of a proxy; None for Google itself.
        options: Fields of `GenerateContentConfig`: `temperature`, `seed`, `max_output_tokens`,
            `media_resolution`, `thinking_config` ...

    Raises:
        UserError: If key or package is missing, an option is unknown, or the URL holds a secret.
    """

    def __init__(
        self,
        model: str,
        *,
        base_url: str | None = None,
        options: Mapping[str, Any] | None = None,
    ) -> None:
        self._package = need_package("google.genai")
        self._httpx = need_package("httpx")
        self.model = model
        self.options = dict(options or {})
        try:
            self._package.types.GenerateContentConfig(**self.options)
        except ValueError as error:
            raise UserError(
                f"judge.service.options={self.options} are no fields of GenerateContentConfig: "
                f"{'; '.join(str(error).splitlines()[1:3])}"
            ) from None
        self.server = checked_url(base_url) or OWN_SERVER
        self.secret = key_from(KEY_VARIABLES)
        self.id = f"gemini/{model}"
        self.settings: dict[str, Any] = {"options": self.options}

    def connect(self, timeout: float) -> "_GeminiLine":
        """Open a client that leaves retries to us.

        With an httpx client of our own google-genai does not change to aiohttp where that happens
        to be installed, which asks again by itself.
        """
        types = self._package.types
        transport = self._httpx.AsyncClient(timeout=timeout)
        client = self._package.Client(
            api_key=self.secret.value,
            vertexai=False,
            http_options=types.HttpOptions(
                base_url=self.server,
                timeout=int(timeout * 1000),
                retry_options=types.HttpRetryOptions(attempts=1),
                httpx_async_client=transport,
            ),
        )
        return _GeminiLine(self, client, transport)


class _GeminiLine:
    """An open client."""

    def __init__(self, service: GeminiService, client: Any, transport: Any) -> None:
        self.service, self.client, self.transport = service, client, transport

    async def ask(self, picture: Picture, prompt: str, question: Question) -> Reply:
        """Ask about one image; the image comes before the words."""
        package, httpx = self.service._package, self.service._httpx
        image = package.types.Part.from_bytes(data=picture.data, mime_type=picture.media_type)
        config = package.types.GenerateContentConfig(
            **self.service.options,
            http_options={"headers": {"X-Client-Request-Id": question.attempt}},
        )
        try:
            response = await self.client.aio.models.generate_content(
                model=self.service.model, contents=[image, prompt], config=config
            )
            return _reply(response)
        except package.errors.APIError as error:
            reason = f"HTTP {error.code}: {error.message or error.status}"
            raise CallError(_kind(error), reason, _wait(error)) from None
        except (httpx.ConnectError, httpx.ConnectTimeout) as error:
            raise CallError(services.UNREACHABLE, f"cannot connect: {error}") from None
        except httpx.TimeoutException:
            raise CallError(services.TIMEOUT, "the client waited too long") from None
        except httpx.HTTPError as error:
            reason = f"connection lost: {type(error).__name__} {error}".rstrip()
            raise CallError(services.DROPPED, reason) from None
        except (ValueError, TypeError, AttributeError, LookupError) as error:
            raise CallError(services.BROKEN, f"broken reply: {error}") from None

    async def close(self) -> None:
        """Close the connections."""
        await self.client.aio.aclose()
        await self.transport.aclose()


def _reply(response: Any) -> Reply:
    """Read a response; the parts that are thoughts are not the answer."""
    usage = _usage(response.usage_metadata)
    feedback = response.prompt_feedback
    if feedback is not None and feedback.block_reason is not None:
        return Reply("", usage, refused=f"prompt blocked: {_name(feedback.block_reason)}")
    if not response.candidates:
        raise CallError(services.BROKEN, "broken reply: no candidates", usage=usage)
    candidate = response.candidates[0]
    parts = (candidate.content and candidate.content.parts) or []
    text = "".join(part.text for part in parts if part.text and not part.thought)
    reason = _name(candidate.finish_reason)
    refused = f"stopped by policy: {reason}" if reason in _POLICY else ""
    return Reply(text, usage, refused, cut=reason == "MAX_TOKENS")


def _name(value: Any) -> str:
    return str(getattr(value, "value", value))


def _usage(usage: Any) -> Usage | None:
    """Return what is billed: thoughts are output."""
    if usage is None or usage.prompt_token_count is None:
        return None
    output = (usage.candidates_token_count or 0) + (usage.thoughts_token_count or 0)
    tools = usage.tool_use_prompt_token_count or 0
    return told_usage(usage.prompt_token_count + tools, usage.cached_content_token_count, output)


def _kind(error: Any) -> str:
    details = error.details if isinstance(error.details, Mapping) else None
    return kind_of_status(error.code, details)


def _wait(error: Any) -> float | None:
    """Return the seconds to wait: from the header, or from the RetryInfo in the body."""
    headers = getattr(error.response, "headers", None) or {}
    wait = retry_after(headers, time.time())
    if wait is not None or not isinstance(error.details, Mapping):
        return wait
    inner = error.details.get("error", error.details)
    for item in inner.get("details", []) if isinstance(inner, Mapping) else []:
        delay = item.get("retryDelay") if isinstance(item, Mapping) else None
        if isinstance(delay, str) and delay.endswith("s"):
            return retry_after({"retry-after": delay[:-1]}, time.time())
    return None
