"""Tokens of a text, a word at a time: words come again and again, and what one is made of is looked up.

A tokenizer of Llama's kind makes one long word of a text, with `▁` for each blank, and merges letters from there: half
of the time that an embedding takes. But no token of it reaches over the beginning of a word, and none that is made of
others holds a digit or a new line. So what lies between can be merged apart, and the same ids come out. Where a
vocabulary is not so, and in texts that name a special token, the tokenizer reads the whole.
"""

from __future__ import annotations

import json
import re
from typing import Any

BLANK = "▁"
MOST_WORDS = 50_000
LONGEST_WORD = 32
"""Longer ones (a language without blanks, a blob) hardly come again."""

_NORMALIZER = [
    {"type": "Prepend", "prepend": BLANK},
    {"type": "Replace", "pattern": {"String": " "}, "content": BLANK},
]


class Tokens:
    """`tokenizer` is one of the package tokenizers. Not for several threads at once."""

    def __init__(self, tokenizer: Any) -> None:
        said = json.loads(tokenizer.to_str())
        self._tokenizer = tokenizer
        self._words = _words(said["model"]["vocab"]) if _mergeable(said) else None
        self._special = tuple(one.content for one in tokenizer.get_added_tokens_decoder().values())
        self._known: dict[str, list[int]] = {}

    def of(self, text: str) -> list[int]:
        """The ids of a text, without special tokens at its ends."""
        if self._words is None or not text or any(one in text for one in self._special):
            return list(self._tokenizer.encode(text, add_special_tokens=False).ids)
        known = self._known
        ids: list[int] = []
        for word in self._words.findall(BLANK + text.replace(" ", BLANK)):
            found = known.get(word)
            ids += self._read(word) if found is None else found
        return ids

    def _read(self, word: str) -> list[int]:
        ids = [one.id for one in self._tokenizer.model.tokenize(word)]
        if len(word) <= LONGEST_WORD:
            if len(self._known) >= MOST_WORDS:
                self._known.clear()
            self._known[word] = ids
        return ids


def _mergeable(said: dict[str, Any]) -> bool:
    """Whether nothing but blanks is changed before merging, and nothing joined or cut behind it."""
    steps, model = said["normalizer"] or {}, said["model"]
    plain = steps.get("type") == "Sequence" and steps["normalizers"] == _NORMALIZER and said["pre_tokenizer"] is None
    # Without a byte for each character, unknown ones would be one token together, over words too.
    whole = (
        model["type"] == "BPE"
        and model["byte_fallback"]
        and all(f"<0x{at:02X}>" in model["vocab"] for at in range(256))
    )
    return bool(plain and whole and not said["truncation"] and not model["dropout"] and not model["ignore_merges"])


def _words(vocabulary: dict[str, int]) -> re.Pattern[str] | None:
    """What finds the pieces that no token reaches over; None where tokens hold a blank behind something else."""
    if any(BLANK in token.lstrip(BLANK) for token in vocabulary):
        return None
    joined = set(
        "".join(token for token in vocabulary if len(token) > 1 and not re.fullmatch("<0x[0-9A-F]{2}>", token))
    )
    alone = re.escape("".join(one for one in map(chr, range(128)) if one not in joined and one != " "))
    return re.compile(f"{BLANK}*[^{BLANK}{alone}]+|{BLANK}+|[{alone}]")
