"""The output items of one answer, and the events that make them.

    Delta ──► Output.add ──► events        a text, thought or picture closes when another begins
              Output.close ─► events       calls stay open until the end: pieces of parallel ones may alternate
              Output.items()               the same items whole

A whole answer goes the same way, as the deltas that it is made of: plain and streamed answers cannot differ.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator, Mapping

from runtime.dialects.responses_surface.outputs import Call, Event, Item, Picture, Speech, Thought
from runtime.fold import merge
from runtime.outcome import Delta
from runtime.request import ImagePart, Json, Part, ReasoningPart, TextPart, ToolCall

_MESSAGE = frozenset(("type", "id", "role", "content", "status", "phase", "annotations"))


class Output:
    """Feed it the deltas of one choice in order. `base` makes the ids of its items its own."""

    def __init__(self, base: str) -> None:
        self._base = base
        self._items: list[Item] = []
        self._open: Speech | Thought | None = None
        self._calls: dict[int, Call] = {}
        # Something that has no word here stood between two texts or thoughts.
        self._apart = False
        self._extra: dict[str, Json] = {}

    def items(self) -> list[dict[str, Json]]:
        """The items as far as they have come."""
        bodies = [item.body() for item in self._items]
        for body in reversed(bodies):
            if body["type"] == "message":
                # What else the provider said beside its answer stands beside it here, too.
                body.update({name: value for name, value in self._extra.items() if name not in _MESSAGE})
                break
        return bodies

    def add(self, delta: Delta) -> Iterator[Event]:
        """The events of this piece."""
        new = delta.new_part
        if delta.reasoning:
            thought = yield from self._thought(new=new)
            yield from thought.go_on(delta.reasoning)
        if delta.text:
            yield from self._say(delta.text, delta.logprobs, new=new and not delta.reasoning)
        if delta.signature or delta.citations or delta.part_extra:
            yield from self._mark(delta)
        if delta.refusal:
            speech = yield from self._speech()
            yield from speech.refuse(delta.refusal)
        for piece in delta.tool_calls:
            call = self._calls.get(piece.position)
            if call is None:
                call = self._calls[piece.position] = Call()
            if call.learn(piece):
                yield from self._place(call)
            yield from call.go_on(piece.arguments)
        if delta.audio is not None and isinstance(said := delta.audio.extra.get("transcript"), str) and said:
            # There is no word for sound here; what it says there is.
            speech = yield from self._speech()
            yield from speech.say(said, sound=True)
        for part in delta.parts:
            yield from self._part(part)
        if delta.extra:
            self._keep(delta.extra)
        if delta.logprobs is not None and not delta.text:
            self._late_logprobs(delta.logprobs)

    def close(self, *, cut: bool) -> Iterator[Event]:
        """Nothing more comes. `cut`: the answer broke off in its last item."""
        for call in self._calls.values():
            if not call.placed:
                yield from self._place(call)
                yield from call.go_on("")
        for item in self._items:
            if not item.closed:
                yield from item.close(cut=cut and item is self._items[-1])
        self._open = None

    def _place(self, item: Item) -> Iterator[Event]:
        """Give the item its place. Whatever was being said ends here."""
        if self._open is not None:
            yield from self._open.close(cut=False)
            self._open = None
        item.place(len(self._items), self._base)
        self._items.append(item)
        yield item.event("response.output_item.added", item=item.body())

    def _speech(self) -> Generator[Event, None, Speech]:
        """The message that is being said, else a new one."""
        speech = self._open
        if not isinstance(speech, Speech):
            speech = Speech()
            yield from self._place(speech)
            self._open = speech
        return speech

    def _thought(self, *, new: bool) -> Generator[Event, None, Thought]:
        """The thought that is being thought, else, or where `new`, another one."""
        thought = self._open
        if new or self._apart or not isinstance(thought, Thought) or thought.signature:
            thought = Thought()
            yield from self._place(thought)
            self._open = thought
        self._apart = False
        return thought

    def _say(self, words: str, logprobs: Json, *, new: bool) -> Iterator[Event]:
        speech = yield from self._speech()
        yield from speech.say(words, logprobs, new=new or self._apart)
        self._apart = False

    def _mark(self, delta: Delta) -> Iterator[Event]:
        alone = delta.new_part and not delta.text and not delta.reasoning
        if not (alone or self._apart) and isinstance(self._open, Speech) and self._open.mark(delta):
            return
        if delta.citations:
            # Sources may come before their text.
            speech = yield from self._speech()
            yield from speech.say("", new=True)
            speech.mark(delta)
            self._apart = False
            return
        # A signature may stand alone: on a thought that is not shown.
        thought = yield from self._thought(new=alone)
        thought.mark(delta)

    def _part(self, part: Part) -> Iterator[Event]:
        """A part that comes at once."""
        match part:
            case TextPart():
                if part.text or part.signature or part.citations:
                    speech = yield from self._speech()
                    yield from speech.say(part.text, new=True)
                    speech.mark(part)
            case ReasoningPart():
                thought = yield from self._thought(new=True)
                yield from thought.whole(part)
            case ToolCall():
                call = Call.of(part)
                self._calls[-1 - len(self._items)] = call
                yield from self._place(call)
                yield from call.go_on(part.arguments)
            case ImagePart():
                picture = Picture(part)
                yield from self._place(picture)
                yield from picture.close(cut=False)
            case _:
                pass
        self._apart = not isinstance(part, ToolCall)

    def _keep(self, extra: Mapping[str, Json]) -> None:
        for name, value in extra.items():
            if name == "annotations" and isinstance(value, list):
                self._last_speech_cites(value)
            else:
                merge(self._extra, {name: value})

    def _last_speech_cites(self, citations: list[Json]) -> None:
        for item in reversed(self._items):
            if isinstance(item, Speech):
                item.cite(citations)
                return

    def _late_logprobs(self, logprobs: Json) -> None:
        for item in reversed(self._items):
            if isinstance(item, Speech):
                item.measure(logprobs)
                return
