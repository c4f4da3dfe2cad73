"""OpenRouter: OpenAI's chat completions with a few more words, whatever address it is reached under.

More it takes: thinking as an object, earlier thoughts with their signatures, prompt-caching markers, video, files by
address. More it says: what the answer cost, who gave it (`provider`), errors inside a 200, comments in streams.
"""

from __future__ import annotations

from runtime.dialects.base import HttpCall, HttpReply, Target
from runtime.dialects.openai import OpenAI
from runtime.dialects.openai.encode import encode_chat, get_models
from runtime.dialects.openai.quirks import OPENROUTER
from runtime.dialects.status import object_of
from runtime.outcome import Failure
from runtime.request import Request

NAME = "openrouter"


class OpenRouter(OpenAI):
    """The dialect. `Target.options` `referer` and `title` name the application on OpenRouter's pages."""

    name = NAME

    def encode(self, request: Request, target: Target) -> HttpCall | Failure:
        return encode_chat(request, target, host=OPENROUTER, headers=_application(target))

    def health(self, target: Target) -> HttpCall | Failure:
        # Their list of models is public: it would not show that the key is good.
        return get_models(target, "key")

    def decode_health(self, reply: HttpReply, target: Target) -> Failure | None:
        body = object_of(reply, target)
        return body if isinstance(body, Failure) else None


def _application(target: Target) -> dict[str, str]:
    named = {"http-referer": target.options.get("referer"), "x-title": target.options.get("title")}
    return {name: value for name, value in named.items() if isinstance(value, str) and value}
