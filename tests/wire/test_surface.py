"""What we render of a recorded answer on our own OpenAI endpoint reads the same again."""

from __future__ import annotations

import orjson
import pytest

from runtime.dialects.base import HttpReply
from runtime.dialects.openai_surface import ChunkRenderer, render_completion
from runtime.dialects.registry import DIALECTS
from runtime.outcome import Completion, StreamEnd, StreamStart
from tests.wire.records import ABSENT, DEV, Record, chats

pytestmark = pytest.mark.skipif(not DEV.is_dir(), reason=ABSENT)
hosts = pytest.mark.parametrize("host", ["openai", "openrouter", "llamacpp", "ollama /v1"])
OPENAI = DIALECTS["openai"]


def answered(host: str, *, streamed: bool) -> list[Record]:
    found = [one for one in chats() if one.provider == host and one.ok and (one.stream is not None) is streamed]
    assert found
    return found


@hosts
def test_a_reply_that_we_render_reads_the_same(host: str) -> None:
    for record in answered(host, streamed=False):
        outcome = OPENAI.decode(record.reply, record.target)
        assert isinstance(outcome, Completion), record.id
        rendered = orjson.dumps(render_completion(outcome))
        again = OPENAI.decode(HttpReply(status=200, headers={}, body=rendered), record.target)
        assert isinstance(again, Completion), record.id
        assert again.choices == outcome.choices, record.id
        assert again.usage == outcome.usage, record.id
        assert (again.cost and again.cost.total_nanousd) == (outcome.cost and outcome.cost.total_nanousd), record.id


@hosts
def test_a_stream_that_we_render_reads_the_same(host: str) -> None:
    for record in answered(host, streamed=True):
        decoder = OPENAI.decoder(record.target)
        deltas, outcome = decoder.feed(record.wire), decoder.finish()
        assert isinstance(outcome, Completion), record.id
        renderer = ChunkRenderer(stream_usage=True)
        chunks = renderer.render(StreamStart(id=outcome.id, provider="p", model=outcome.model))
        for delta in deltas:
            chunks += renderer.render(delta)
        chunks += renderer.render(StreamEnd(outcome=outcome))
        ours = OPENAI.decoder(record.target)
        ours.feed(b"".join(chunks))
        again = ours.finish()
        assert isinstance(again, Completion), (record.id, again)
        assert again.choices == outcome.choices, record.id
        assert again.usage == outcome.usage, record.id
