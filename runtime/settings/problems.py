"""What is wrong with a configuration, one line per problem, and never a value: values may be secrets."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from itertools import takewhile


@dataclass(frozen=True, slots=True)
class Problem:
    """`where` is a file with its line, or an environment variable; `path` the key, dotted; `what` a sentence."""

    where: str
    path: str
    what: str

    def __str__(self) -> str:
        return ": ".join(part for part in (self.where, self.path, self.what) if part)


class BadSettings(ValueError):
    """All that is wrong with a configuration, at once. Its text has one line per problem."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        super().__init__(tuple(problems))
        self.problems = tuple(problems)

    def __str__(self) -> str:
        return "\n".join(map(str, self.problems))


def nearest(word: str, known: Iterable[str], *, n: int = 1) -> tuple[str, ...]:
    """The known words that look most like this one, best first; none where nothing is like it.

    >>> nearest("reties", ["routes", "retry", "ray"])
    ('retry',)
    """
    # Comparing takes time with the square of the length, and the word may be a caller's.
    word = word[:100]

    def likeness(other: str) -> float:
        # People get the beginning of a word right more often than its end.
        shared = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(word[:4], other, strict=False)))
        return SequenceMatcher(None, word, other).ratio() + 0.1 * shared

    scored = sorted(((likeness(other), other) for other in known), reverse=True)
    return tuple(other for score, other in scored[:n] if score >= 0.65)


def unknown_key(key: str, known: Iterable[str]) -> str:
    """The sentence about a key that we do not know."""
    known = sorted(known)
    if close := nearest(key, known):
        return f"unknown key `{key}`; did you mean `{close[0]}`?"
    return f"unknown key `{key}`; known here: {', '.join(known)}"
