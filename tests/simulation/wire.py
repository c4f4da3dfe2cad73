"""What a simulated upstream says, piece by piece, in two dialects.

Each answer's text carries its attempt's number in every word, so that whoever mixes two attempts is found out.
"""

from __future__ import annotations

from dataclasses import dataclass

from tests.conformance.sample import Sample
from tests.conformance.samples import anthropic, openai

PING = b": still thinking\n\n"
PAGE = b"<html><body>Bad Gateway</body></html>"
GARBAGE = b'data: {"choices": [{"ind\n\n'
DONE = b"data: [DONE]\n\n"


def words_of(attempt: int, count: int) -> list[str]:
    """The words of one attempt's whole answer.

    >>> words_of(7, 2)
    ['<7.0>', '<7.1>']
    """
    return [f"<{attempt}.{index}>" for index in range(count)]


@dataclass(frozen=True, slots=True)
class Wire:
    """One dialect: what comes before the first word, around each word, and at the end."""

    sample: Sample
    opening: bytes
    word: str
    closing: bytes
    error: bytes

    def said(self, word: str) -> bytes:
        return self.word.replace("WORD", word).encode()

    def whole(self, text: str) -> bytes:
        """The answer as one JSON document."""
        return self.sample.reply.replace(self.sample.text.encode(), text.encode())

    def refusal(self, kind: str) -> bytes:
        return b'{"type":"error","error":{"type":"%s","message":"simulated"}}' % kind.encode()


def _chunk(delta: str, finish: str = "null") -> str:
    return f'data: {{"id":"c1","model":"m","choices":[{{"index":0,"delta":{delta},"finish_reason":{finish}}}]}}\n\n'


OPENAI = Wire(
    sample=openai.SAMPLE,
    opening=_chunk('{"role":"assistant","content":""}').encode(),
    word=_chunk('{"content":"WORD"}'),
    closing=_chunk("{}", '"stop"').encode() + DONE,
    error=b'data: {"error":{"message":"simulated","type":"server_error","code":null}}\n\n',
)
ANTHROPIC = Wire(
    sample=anthropic.SAMPLE,
    opening=("data: " + anthropic.START + "\n\n" + anthropic.opened(0, '{"type":"text","text":""}')).encode(),
    word=anthropic.delta(0, '{"type":"text_delta","text":"WORD"}'),
    closing=(
        anthropic.closed(0)
        + "data: "
        + anthropic.END.replace("tool_use", "end_turn")
        + '\n\nevent: message_stop\ndata: {"type":"message_stop"}\n\n'
    ).encode(),
    error=b'event: error\ndata: {"type":"error","error":{"type":"overloaded_error","message":"simulated"}}\n\n',
)
WIRES: dict[str, Wire] = {"custom": OPENAI, "anthropic": ANTHROPIC}
"""By the kind of provider."""
