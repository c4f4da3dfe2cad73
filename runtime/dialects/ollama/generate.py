"""Bodies of `/api/generate`: one prompt instead of messages, and otherwise the words of `/api/chat`.

system, prompt, images ──► a system message and a user's
raw, template, suffix, context ──► refused: a chat model is given messages, its provider puts them into a prompt
no prompt at all ──► `asks_to_load`: the client wants the model ready in memory, or out of it, and no answer
"""

from __future__ import annotations

from runtime.dialects.fields import Wrong, obj, opt_bool, opt_text, texts
from runtime.dialects.ollama.parse import parse_request
from runtime.dialects.ollama.render import CHAT, Said, Shape, moment_of
from runtime.outcome import Failure, FailureKind
from runtime.request import Json, Request

_OURS = frozenset(("prompt", "system", "images", "raw", "template", "suffix", "context"))
_ELSEWHERE = ("messages", "tools")
_PICTURE = ("width", "height", "steps")


def parse_generate(body: Json, *, model: str = "", stream: bool = False) -> Request | Failure:
    """The request in a parsed JSON body, or a failure whose `param` names the field at fault.

    The body itself says whether to stream: it does where it says nothing.
    """
    try:
        return parse_request(_as_chat(obj(body, "body")), model=model, stream=stream)
    except Wrong as wrong:
        return wrong.failure()


def asks_to_load(body: Json, *, model: str = "") -> str | None:
    """The model that a body of either endpoint asks to load or unload, without any answer; None where it asks for one.

    Ollama's clients do so before they show a prompt. It is a wish about one machine's memory, and fulfilled as it is.
    """
    if not isinstance(body, dict):
        return None
    if any(body.get(name) for name in ("prompt", "messages", "images", "suffix", "context")):
        return None
    named = body.get("model") or model
    return named if isinstance(named, str) and named else None


def render_loaded(body: Json, model: str, shape: Shape = CHAT, *, created_s: int = 0) -> dict[str, Json]:
    """The answer to a body that `asks_to_load`; as the only line of a stream, too."""
    unload = isinstance(body, dict) and body.get("keep_alive") in (0, "0", "0s", "0m", "0h")
    return {
        "model": model,
        "created_at": moment_of(created_s),
        **shape.say(Said()),
        "done": True,
        "done_reason": "unload" if unload else "load",
    }


def _as_chat(body: dict[str, Json]) -> dict[str, Json]:
    _refuse(body)
    prompt, system = opt_text(body, "prompt", "prompt"), opt_text(body, "system", "system")
    images = texts(body, "images", "images")
    if not prompt and not images:
        raise Wrong("prompt", "prompt is missing: send the question as text.")
    turn: dict[str, Json] = {"role": "user", "content": prompt or ""}
    if images:
        turn["images"] = list(images)
    messages: list[Json] = [{"role": "system", "content": system}] if system else []
    rest = {name: value for name, value in body.items() if name not in _OURS}
    return {**rest, "messages": [*messages, turn]}


def _refuse(body: dict[str, Json]) -> None:
    """What changes the meaning of a prompt, and what no chat can say."""
    if opt_bool(body, "raw", "raw"):
        _cannot("raw", "a prompt without the model's template cannot be sent to a chat model: leave raw out.")
    if opt_text(body, "template", "template"):
        _cannot("template", "a template of your own cannot be sent to a chat model: say it in system and prompt.")
    if opt_text(body, "suffix", "suffix"):
        _cannot("suffix", "text cannot be filled in before a suffix: say in prompt what is to stand between.")
    if body.get("context"):
        _cannot("context", "an earlier answer's tokens cannot be carried on: send the conversation to /api/chat.")
    for name in _ELSEWHERE:
        if body.get(name):
            _cannot(name, "/api/generate takes a prompt alone: send this to /api/chat.")
    for name in _PICTURE:
        if body.get(name) is not None:
            _cannot(name, "pictures cannot be asked for here: leave it out.")


def _cannot(param: str, why: str) -> None:
    raise Wrong(param, f"{param}: {why}", FailureKind.UNSUPPORTED)
