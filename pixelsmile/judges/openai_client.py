"""Any server that speaks the chat protocol of OpenAI: OpenAI, vLLM, SGLang, llama.cpp."""

import base64
import time
from collections.abc import Mapping
from typing import Any

from pixelsmile.judges import services
from pixelsmile.judges.base import Picture, Usage
from pixelsmile.judges.pace import retry_after
from pixelsmile.judges.services import (
    NO_KEY,
    CallError,
    Question,
    Reply,
    checked_url,
    key_from,
    kind_of_status,
    need_package,
    told_usage,
)

KEY_VARIABLES = ("OPENAI_API_KEY",)
OWN_SERVER = "https://api.openai.com/v1"

_NOT_THAT_SHAPE = (ValueError, TypeError, AttributeError, LookupError)
"""What reading a reply raises that is built in another way: the client checks nothing."""


class OpenAIService:
    """A model behind an OpenAI-compatible server.

    The key is `OPENAI_API_KEY` of the environment. With a `base_url` it may be missing, as servers
    in one's own house ask for none.

    Args:
        model: Name that the server knows.
        base_url: Of the server, with its `/v1`; None for OpenAI itself.
        options: Go into the request as they are: `temperature`, `seed`, `max_tokens` (for newer
            models of OpenAI `max_completion_tokens`), `chat_template_kwargs` of vLLM ...
        detail: Of the image, as OpenAI's protocol has it: `low`, `high` or `auto`.

    Raises:
        UserError: If key or package is missing, or the URL holds a secret.
    """

    def __init__(
        self,
        model: str,
        *,
        base_url: str | None = None,
        options: Mapping[str, Any] | None = None,
        detail: str = "auto",
    ) -> None:
        self._package = need_package("openai")
        self.model = model
        self.options = dict(options or {})
        self.detail = detail
        self.server = checked_url(base_url) or OWN_SERVER
        self.secret = key_from(KEY_VARIABLES, default=None if base_url is None else NO_KEY)
        self.id = f"openai/{model}"
        self.settings: dict[str, Any] = {"options": self.options, "detail": detail}

    def connect(self, timeout: float) -> "_OpenAILine":
        """Open a client that leaves retries to us."""
        client = self._package.AsyncOpenAI(
            api_key=self.secret.value, base_url=self.server, max_retries=0, timeout=timeout
        )
        return _OpenAILine(self, client, self._package)


class _OpenAILine:
    """An open client."""

    def __init__(self, service: OpenAIService, client: Any, package: Any) -> None:
        self.service, self.client, self.package = service, client, package

    async def ask(self, picture: Picture, prompt: str, question: Question) -> Reply:
        """Ask about one image; the image comes before the words."""
        data = base64.b64encode(picture.data).decode()
        url = {"url": f"data:{picture.media_type};base64,{data}", "detail": self.service.detail}
        content = [{"type": "image_url", "image_url": url}, {"type": "text", "text": prompt}]
        try:
            completion = await self.client.chat.completions.create(
                model=self.service.model,
                messages=[{"role": "user", "content": content}],
                extra_body=self.service.options,
                extra_headers={
                    "X-Client-Request-Id": question.attempt,
                    "Idempotency-Key": question.idempotency,
                },
            )
            return _reply(completion)
        except self.package.APIStatusError as error:
            wait = retry_after(error.response.headers, time.time())
            body = error.body if isinstance(error.body, Mapping) else None
            kind = kind_of_status(error.status_code, body)
            raise CallError(kind, f"HTTP {error.status_code}: {error.message}", wait) from None
        except self.package.APITimeoutError:
            raise CallError(services.TIMEOUT, "the client waited too long") from None
        except self.package.APIConnectionError as error:
            raise _connection_error(error.__cause__) from None
        except (self.package.OpenAIError, *_NOT_THAT_SHAPE) as error:
            # What is no chat completion at all, such as the page of a proxy.
            raise CallError(services.BROKEN, f"broken reply: {error}") from None

    async def close(self) -> None:
        """Close the connections."""
        await self.client.close()


def _connection_error(cause: BaseException | None) -> CallError:
    """Tell a server that is not there from one that hung up."""
    name = type(cause).__name__
    if name in ("ConnectError", "ConnectTimeout"):
        return CallError(services.UNREACHABLE, f"cannot connect: {cause}")
    return CallError(services.DROPPED, f"connection lost: {name} {cause}".rstrip())


def _reply(completion: Any) -> Reply:
    """Read a chat completion; servers differ in what they leave out.

    Raises:
        CallError: If it is none; with the tokens, where those can be read.
    """
    usage = _usage(completion.usage)
    if not completion.choices:
        raise CallError(services.BROKEN, "broken reply: no choices", usage=usage)
    try:
        choice = completion.choices[0]
        text = _text(choice.message.content)
        refused = str(getattr(choice.message, "refusal", None) or "")
        reason = choice.finish_reason
    except _NOT_THAT_SHAPE as error:
        raise CallError(services.BROKEN, f"broken reply: {error}", usage=usage) from None
    if reason == "content_filter":
        refused = refused or "stopped by the content filter"
    return Reply(text or refused, usage, refused, cut=reason == "length")


def _text(content: Any) -> str:
    """Return what was said: a text, or the texts among several parts.

    Raises:
        TypeError: If it is neither.
    """
    if content is None or isinstance(content, str):
        return content or ""
    if isinstance(content, list) and all(isinstance(part, Mapping) for part in content):
        texts = [part.get("text") for part in content if part.get("type") == "text"]
        if all(isinstance(text, str) for text in texts):
            return "".join(texts)
    raise TypeError(f"content is no text but {str(content)[:100]}")


def _usage(usage: Any) -> Usage | None:
    names = ("prompt_tokens", "completion_tokens", "prompt_tokens_details")
    prompt, output, details = (getattr(usage, name, None) for name in names)
    return told_usage(prompt, getattr(details, "cached_tokens", None), output)
