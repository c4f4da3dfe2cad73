"""`redact`: takes what looks personal or secret out of prompts before anybody sees them, and puts it back in answers.

    "write to ann@example.org" ─► "write to [EMAIL_1]" ─► cache, learning, provider
                          "I wrote to [EMAIL_1]." ─► "I wrote to ann@example.org."

The same text has the same placeholder throughout a request, and each request begins at 1, so requests that differ in
nothing else share an answer of the cache, and each caller reads his own words in it. Nothing is kept beyond the
request. What a person merely tells (names, places, diagnoses) has no form and is not found; nor is what stands in an
image or another file.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from runtime.hooks.patterns import PII, SECRETS, chosen, found_in
from runtime.hooks.payloads import After, Before, Embedding, Streamed
from runtime.hooks.texts import changed
from runtime.hooks.windows import Windows
from runtime.outcome import Completion, Delta, StreamEnd, StreamEvent, StreamStart
from runtime.request import EmbedRequest, Request

PLACEHOLDER = re.compile(r"\[([A-Z][A-Z0-9_]*_\d+)\]")
"""What a placeholder looks like. One that a prompt has already is never given out."""

SCRUBBED = ("messages", "tools", "response_format", "user", "metadata", "extra", "provider_options")
"""The fields of a request that people, or their programs, have written."""


class Scrubber:
    """Of one request: what was found, and what stands for it."""

    def __init__(self, kinds: Sequence[object], counts: Counter[str]) -> None:
        self._kinds = kinds
        self._counts = counts
        self._next: Counter[str] = Counter()
        self._names: dict[str, str] = {}
        self._taken: set[str] = set()
        self.at_first: Callable[[], None] | None = None
        """Called before the first placeholder is given out: most prompts need none."""
        self.hidden: dict[str, str] = {}
        """By placeholder, without its brackets."""

    def keep_clear_of(self, text: str) -> str:
        """Never give out what this text has already. Returns the text."""
        if "[" in text:
            self._taken.update(PLACEHOLDER.findall(text))
        return text

    def scrub(self, text: str) -> str:
        """The text with placeholders."""
        pieces: list[str] = []
        at = 0
        for start, end, kind in found_in(text, self._kinds):  # type: ignore[arg-type]  # made by `chosen`
            pieces += [text[at:start], f"[{self._name(kind, text[start:end])}]"]
            at = end
        if not at:
            return text
        pieces.append(text[at:])
        return "".join(pieces)

    def restore(self, text: str) -> str:
        """The text as it would be without us."""
        if not self.hidden or "[" not in text:
            return text
        return PLACEHOLDER.sub(lambda one: self.hidden.get(one[1], one[0]), text)

    def restore_json(self, text: str) -> str:
        """The same within a piece of JSON, whose quotes are escaped."""
        if not self.hidden or "[" not in text:
            return text
        return PLACEHOLDER.sub(
            lambda one: json.dumps(self.hidden[one[1]])[1:-1] if one[1] in self.hidden else one[0], text
        )

    def _name(self, kind: str, found: str) -> str:
        known = self._names.get(found)
        if known is not None:
            return known
        if self.at_first is not None:
            self.at_first()
            self.at_first = None
        self._counts[kind] += 1
        while True:
            self._next[kind] += 1
            name = f"{kind.upper()}_{self._next[kind]}"
            if name not in self._taken:
                break
        self._names[found] = name
        self.hidden[name] = found
        return name


class Redact:
    """`kinds` are of `patterns.KINDS` (`pii` and `secrets` for all of these), `patterns` more, by name, as regular
    expressions. `restore: false` leaves the placeholders in answers."""

    guard = True

    def __init__(
        self,
        *,
        kinds: Sequence[str] = ("pii", "secrets"),
        patterns: Mapping[str, str] | None = None,
        restore: bool = True,
    ) -> None:
        groups = {"pii": PII, "secrets": SECRETS}
        names = [name for said in kinds for name in groups.get(said, (said,))]
        self.kinds = chosen(names, patterns or {})
        self.restores = restore
        self.counts: Counter[str] = Counter()

    def for_request(self) -> _Redacting:
        return _Redacting(self)

    def pre_embed(self, asked: Embedding) -> EmbedRequest | None:
        scrubber = self.scrubber()
        inputs = tuple(map(scrubber.scrub, asked.request.inputs))
        return None if inputs == asked.request.inputs else replace(asked.request, inputs=inputs)

    def scrubber(self) -> Scrubber:
        return Scrubber(self.kinds, self.counts)

    def metrics(self) -> Mapping[str, float]:
        return {f"found.{kind}": float(count) for kind, count in self.counts.items()}


class _Redacting:
    """One request's."""

    def __init__(self, how: Redact) -> None:
        self._how = how
        self._scrubber = how.scrubber()
        self._windows = Windows(self._window)

    def pre(self, asked: Before) -> Request | None:
        request, scrubber = asked.request, self._scrubber
        said = {name: getattr(request, name) for name in SCRUBBED}

        def keep_clear() -> None:
            for one in said.values():
                changed(one, scrubber.keep_clear_of)

        scrubber.at_first = keep_clear
        new = {name: changed(one, scrubber.scrub) for name, one in said.items()}
        changes = {name: one for name, one in new.items() if one is not said[name]}
        return replace(request, **changes) if changes else None

    def post(self, given: After) -> Completion | None:
        if not (self._how.restores and self._scrubber.hidden):
            return None
        choices = changed(given.completion.choices, self._scrubber.restore)
        return None if choices is given.completion.choices else replace(given.completion, choices=choices)

    def stream_event(self, seen: Streamed) -> tuple[StreamEvent, ...] | None:
        if not (self._how.restores and self._scrubber.hidden):
            return None
        match seen.event:
            case Delta():
                return self._windows.passed(seen.event)
            case StreamEnd():
                return (*self._windows.rest(), seen.event)
            case StreamStart():
                return None

    def _window(self, json: bool) -> _Putting:  # noqa: FBT001  # as `Windows` has it
        return _Putting(self._scrubber, json=json)


class _Putting:
    """Puts back what placeholders stand for, also those of which only the beginning has come."""

    def __init__(self, scrubber: Scrubber, *, json: bool) -> None:
        self._restore = scrubber.restore_json if json else scrubber.restore
        self._begun = tuple(f"[{name}]" for name in scrubber.hidden)
        self._held = ""

    def feed(self, text: str) -> str:
        text = self._held + text
        at = text.rfind("[")
        tail = text[at:] if at >= 0 else ""
        if tail and any(len(tail) < len(one) and one.startswith(tail) for one in self._begun):
            self._held = tail
            text = text[:at]
        else:
            self._held = ""
        return self._restore(text)

    def rest(self) -> str:
        held, self._held = self._held, ""
        return held
