"""What any provider was recorded to answer, rendered on our own Ollama endpoint, reads the same there."""

from __future__ import annotations

import orjson
import pytest

from runtime.dialects.base import HttpReply
from runtime.dialects.encoding import INVENTED, object_of_text, split_data_url
from runtime.dialects.ollama.render import UNREAD
from runtime.dialects.ollama.surface import OllamaSurface
from runtime.dialects.registry import DIALECTS
from runtime.outcome import Choice, Completion, Delta, FinishReason, StreamEnd, StreamStart
from runtime.request import AudioPart, ImagePart, TextPart, ask
from tests.wire.records import ABSENT, DEV, ROWS, Record, chats

pytestmark = pytest.mark.skipif(not DEV.is_dir(), reason=ABSENT)
hosts = pytest.mark.parametrize("host", [host for host in ROWS if host != "compat_errors"])
SURFACE = OllamaSurface()
OLLAMA = DIALECTS["ollama"]
ASKED = ask("hi")


def answered(host: str, *, streamed: bool) -> list[Record]:
    return [one for one in chats() if one.provider == host and one.ok and (one.stream is not None) is streamed]


def sayable(choice: Choice) -> dict[str, object]:
    """What this wire has words for."""
    texts = [
        str(part.text if isinstance(part, TextPart) else part.extra.get("transcript") or "")
        for part in choice.parts
        if isinstance(part, TextPart | AudioPart)
    ]
    images = [part for part in choice.parts if isinstance(part, ImagePart)]
    inline = [one.data or (split_data_url(one.url or "") or ("", ""))[1] for one in images]
    calls = [
        (
            call.id if not call.id.startswith(INVENTED) else "",
            call.name,
            {UNREAD: call.arguments} if (said := object_of_text(call.arguments)) is None else said,
        )
        for call in choice.tool_calls
    ]
    return {
        "text": "".join(texts) + (choice.refusal or ""),
        "reasoning": choice.reasoning,
        "images": [one for one in inline if one],
        "calls": calls,
        "finish": _finish(choice, calls=bool(calls)),
    }


def _finish(choice: Choice, *, calls: bool) -> str:
    word = choice.extra.get("finish_reason")
    match choice.finish_reason:
        case FinishReason.LENGTH | FinishReason.CONTENT_FILTER | FinishReason.ERROR as reason:
            return reason.value
        case FinishReason.OTHER if isinstance(word, str):
            return word
        case _:
            return "tool_calls" if calls else "stop"


@hosts
def test_a_reply_that_we_render_reads_the_same(host: str) -> None:
    for record in answered(host, streamed=False):
        outcome = DIALECTS[record.dialect].decode(record.reply, record.target)
        assert isinstance(outcome, Completion), record.id
        rendered = orjson.dumps(SURFACE.render(outcome, ASKED))
        again = OLLAMA.decode(HttpReply(status=200, headers={}, body=rendered), record.target)
        assert isinstance(again, Completion), (record.id, again)
        same(again, outcome, record)


@hosts
def test_a_stream_that_we_render_reads_the_same(host: str) -> None:
    for record in answered(host, streamed=True):
        decoder = DIALECTS[record.dialect].decoder(record.target)
        deltas, outcome = decoder.feed(record.wire), decoder.finish()
        assert isinstance(outcome, Completion), record.id
        again = streamed(outcome, list(deltas), record)
        same(again, outcome, record)


def streamed(outcome: Completion, deltas: list[Delta], record: Record) -> Completion:
    renderer = SURFACE.renderer(ASKED)
    lines = renderer.render(StreamStart(id=outcome.id, provider="p", model=outcome.model))
    for delta in deltas:
        lines += renderer.render(delta)
    lines += renderer.render(StreamEnd(outcome=outcome))
    decoder = OLLAMA.decoder(record.target)
    decoder.feed(b"".join(lines))
    again = decoder.finish()
    assert isinstance(again, Completion), (record.id, again)
    return again


def same(again: Completion, outcome: Completion, record: Record) -> None:
    choice = outcome.choices[0] if outcome.choices else Choice()
    assert sayable(again.choices[0]) == sayable(choice), record.id
    if not outcome.usage.estimated:
        assert again.usage.input_tokens == outcome.usage.input_tokens, record.id
        assert again.usage.output_tokens == outcome.usage.output_tokens, record.id
