"""Do two sentences ask for the same? Doubts what their vectors say, and answers no unless it is sure.

A vector is a mean over words: it hardly moves for "not", for 15 or 50, for Monday or Tuesday, and not at all for the
order of words. So each of these is looked at by itself, and names why two texts are not the same:

    LANGUAGE   another script or language; other languages than English have to be equal but for case and punctuation
    NEGATION   not the same number of negations
    NUMBER     other numbers, or in another order ("three" is 3, "1,000" is 1000, 50 and 50 % differ)
    UNIT       other units or currencies, or in another order
    ENTITY     a name, quotation, code, path or identifier that the other lacks; or names that have changed places
    QUESTION   who, when, where, why, how many: another one; "can I" is not "how do I"
    WORDS      a word of content that the other has neither as it is nor as a synonym
    ORDER      the same words about other things: "from A to B", "A before B", "the dog bites the man"

What is lost by it are hits, never answers. The lists are ours and short; `docs/cache.md` says what that costs.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from enum import StrEnum
from functools import lru_cache

from runtime.cache.words import (
    ANTONYMS,
    ASKED,
    DIRECTIONS,
    FILLERS,
    LANGUAGES,
    NEGATIONS,
    NUMBERS,
    POLITE,
    SYMMETRIC,
    UNITS,
    YES_OR_NO,
    canonical,
)


class Why(StrEnum):
    """Why two texts are not taken to mean the same."""

    LANGUAGE = "language"
    NEGATION = "negation"
    NUMBER = "number"
    UNIT = "unit"
    ENTITY = "entity"
    QUESTION = "question"
    WORDS = "words"
    ORDER = "order"


_TOKEN = re.compile(
    r"""
    `[^`]+` | "[^"]+" | “[^”]+” | «[^»]+» | (?<!\w)'[^']{2,}'(?!\w)          # quoted, code
  | https?://\S+ | [\w.+-]+@[\w-]+\.[\w.]+                                     # addresses
  | --?[A-Za-z][\w-]*                                                          # flags
  | (?:[~.]{0,2}/)[\w./-]+ | \w+(?:[./\\:]+\w+){1,}(?:\(\))? | \w+\(\)          # paths, versions, dotted names
  | [$€£¥] | \d[\d,]*(?:\.\d+)?%? | [^\W\d_]+(?:['’][^\W\d_]+)*(?=\d) | \w+(?:['’]\w+)* | [+#*=<>!&|^~%°]+ | [?]
    """,
    re.VERBOSE,
)
_SENTENCE = re.compile(r"[.!?:\n]\s*$")
_NUMBER = re.compile(r"\d[\d,]*(?:\.\d+)?%?$")
_CODE = re.compile(r".*[\w]_[\w]|.*[a-z][A-Z]|.*\w[./\\:]+\w|.*\(\)$|--?\w|[~./]{1,3}/|.*@|https?:")
_JOINTS = re.compile(r"[-'./]")
_DIGIT = re.compile(r"\d")
_SCRIPTS = (
    "LATIN",
    "CYRILLIC",
    "GREEK",
    "ARABIC",
    "HEBREW",
    "DEVANAGARI",
    "CJK",
    "HIRAGANA",
    "KATAKANA",
    "HANGUL",
    "THAI",
)
_SYMBOLS = frozenset("+#*=<>!&|^~")


def why_not(one: str, other: str) -> Why | None:
    """The first thing for which these are not the same request; None where nothing is found.

    >>> why_not("How do I cancel my order?", "how can I cancel my order") is None
    True
    >>> why_not("Is it safe with alcohol?", "Is it not safe with alcohol?")
    <Why.NEGATION: 'negation'>
    """
    if _bare(one) == _bare(other):
        return None
    a, b = _read(one), _read(other)
    if a.scripts != b.scripts or not {a.language, b.language} <= {"en", ""}:
        return Why.LANGUAGE
    if a.negations != b.negations:
        return Why.NEGATION
    if a.numbers != b.numbers:
        return Why.NUMBER
    if a.units != b.units:
        return Why.UNIT
    if a.quoted != b.quoted or not (a.names <= b.known and b.names <= a.known) or a.symbols != b.symbols:
        return Why.ENTITY
    if a.question != b.question:
        return Why.QUESTION
    if Counter(a.content) != Counter(b.content) and set(a.content) != set(b.content):
        return Why.NEGATION if _opposed(set(a.content) ^ set(b.content)) else Why.WORDS
    if not _same_order(a, b):
        return Why.ORDER
    return None


def _bare(text: str) -> str:
    """But for spaces, the punctuation at its end and, where nothing is code, case: exactly the same text."""
    text = " ".join(unicodedata.normalize("NFKC", text).split()).rstrip("?.! ")
    return text if _CODE.search(text) or '"' in text or "`" in text else text.casefold()


class Reading:
    """What there is in a text to compare."""

    __slots__ = (
        *("content", "directed", "known", "language", "names", "negations"),
        *("numbers", "order", "question", "quoted", "scripts", "symbols", "symmetric", "units"),
    )

    def __init__(self, text: str) -> None:
        text = unicodedata.normalize("NFKC", text).replace("’", "'")
        plain = _shortened(POLITE.sub(" ", text))
        found = [(one[0], one.start()) for one in _TOKEN.finditer(plain)]
        self.scripts = {"LATIN"} if plain.isascii() else {_script(char) for char in plain if char.isalpha()}
        self.quoted: list[str] = []
        self.names: set[str] = set()
        self.numbers: list[str] = []
        self.units: list[str] = []
        self.symbols: list[str] = []
        words: list[str] = []
        shouted = plain.isupper()
        for token, at in found:
            self._read(token, first=_SENTENCE.search(plain[:at]) is not None or not plain[:at].strip(), shouted=shouted)
            if token[0].isalpha():
                words.append(token.casefold())
        self.language = _language(words)
        flat = [token.casefold() for token, _ in found]
        self.negations = sum(token in NEGATIONS or token.endswith("n't") for token in flat)
        self.question = _question(flat)
        self.symmetric = not SYMMETRIC.isdisjoint(flat)
        self.content, self.directed = _content(flat)
        self.order = [word for word in self.content if word in self.names or word in UNITS.values()]
        self.known = {*flat, *self.content}
        self.known |= {part for token in flat if not token.isalnum() for part in _JOINTS.split(token)}

    def _read(self, token: str, *, first: bool, shouted: bool) -> None:
        if token[0] in "`\"“«'":
            self.quoted.append(token.strip("`\"“”«»'"))
        elif _NUMBER.match(token):
            self.numbers.append(_number(token))
        elif token.casefold() in NUMBERS:
            self.numbers.append(NUMBERS[token.casefold()])
        elif token in UNITS or token.casefold() in UNITS:
            self.units.append(UNITS.get(token) or UNITS[token.casefold()])
        elif _SYMBOLS.issuperset(token):
            self.symbols.append(token)
        elif _CODE.match(token) or _DIGIT.search(token):
            self.names.add(token.casefold())
        elif not shouted and token[0].isupper() and (not first or (len(token) > 1 and token.isupper())):
            word = token.casefold().removesuffix("'s")
            if word not in FILLERS and word not in ASKED and word != "i":
                self.names.add(canonical(word))


@lru_cache(maxsize=2_048)
def _read(text: str) -> Reading:
    """Remembered: the nearest of one question are the nearest of the next."""
    return Reading(text)


def _shortened(text: str) -> str:
    return re.sub(r"\s+", " ", text).strip()


def _script(char: str) -> str:
    name = unicodedata.name(char, "")
    return next((script for script in _SCRIPTS if name.startswith(script)), "OTHER")


def _language(words: Sequence[str]) -> str:
    """The language whose small words are most of these; empty where there are none of any."""
    counts = {language: sum(word in small for word in words) for language, small in LANGUAGES.items()}
    best = max(counts, key=lambda one: (counts[one], one == "en"))
    return best if counts[best] else ""


def _number(token: str) -> str:
    percent = token.endswith("%")
    text = token.rstrip("%").replace(",", "")
    text = text.rstrip("0").rstrip(".") if "." in text else text.lstrip("0") or "0"
    return f"{text}%" if percent else text


def _question(words: Sequence[str]) -> frozenset[str]:
    """What is asked for: `ASKED`'s word for it; whether it is a yes or no; nothing for all other requests."""
    said = " ".join(words)
    found = {what for what, pattern in ASKED_PATTERNS if pattern.search(said)}
    if (
        not found
        and words
        and words[0] in YES_OR_NO
        and not (len(words) > 1 and words[0] in ("do", "have") and words[1] == "not")
    ):
        found.add(YES_OR_NO[words[0]])
    return frozenset(found)


ASKED_PATTERNS = tuple((what, re.compile(pattern)) for what, pattern in ASKED.items())


def _content(words: Sequence[str]) -> tuple[list[str], Mapping[str, list[str]]]:
    """The words that carry meaning, each as the first of its synonyms; and what stands behind words of direction."""
    content: list[str] = []
    directed: dict[str, list[str]] = {}
    waiting: list[str] = []
    for word in words:
        if word in DIRECTIONS:
            waiting.append(word)
            continue
        if not word[0].isalnum() or _NUMBER.match(word) or word in NUMBERS:
            if _NUMBER.match(word) or word in NUMBERS:
                for direction in waiting:
                    directed.setdefault(direction, []).append(NUMBERS.get(word, word))
                waiting = []
            continue
        if word in FILLERS or word in NEGATIONS or word.endswith("n't"):
            continue
        stem = UNITS.get(word) or canonical(word)
        if stem in FILLERS:
            continue
        content.append(stem)
        for direction in waiting:
            directed.setdefault(direction, []).append(stem)
        waiting = []
    return content, directed


def _opposed(words: Iterable[str]) -> bool:
    """Whether among these are two of opposite meaning."""
    all_of = set(words)
    return any(one in all_of and other in all_of for one, other in ANTONYMS) or any(
        f"{prefix}{word}" in all_of for word in all_of for prefix in ("un", "dis", "in", "non", "im", "ir", "mis")
    )


def _same_order(a: Reading, b: Reading) -> bool:
    """Whether the same words stand in the same relations, as far as that can be told without grammar."""
    for direction in a.directed.keys() & b.directed.keys():
        if sorted(a.directed[direction]) != sorted(b.directed[direction]):
            return False
    if a.order != b.order and not (a.symmetric and b.symmetric):
        return False
    one, other = list(dict.fromkeys(a.content)), list(dict.fromkeys(b.content))
    places = [other.index(word) for word in one]
    # One word may have moved ("on Android, how do I …"): where more have, others may do what was done to them.
    return len(places) - _rising(places) <= 1 or (a.symmetric and b.symmetric)


def _rising(places: Sequence[int]) -> int:
    """The length of the longest rising subsequence."""
    best: list[int] = []
    for at, place in enumerate(places):
        best.append(1 + max((best[before] for before in range(at) if places[before] < place), default=0))
    return max(best, default=0)
