"""OpenAI's o200k vocabulary, read from this folder: no network, and nothing is read before somebody asks.

`convert.py` says where `o200k.z` comes from; its licence lies beside it. Reading it takes a third of a second and some
60 MB that stay, so it is done ahead of time, in a thread of its own: `load_soon`. Until then there is no `encoder`, and
who counts makes do without.
"""

from __future__ import annotations

import threading
import zlib
from collections.abc import Callable
from functools import cache
from itertools import accumulate, pairwise
from pathlib import Path

Encoder = Callable[[str], list[int]]
"""Text into token numbers; markers such as `<|endoftext|>` are text like any other."""

SPECIAL = {"<|endoftext|>": 199_999, "<|endofprompt|>": 200_018}

PATTERN = "|".join(
    (
        r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?",
        r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?",
        r"\p{N}{1,3}",
        r" ?[^\s\p{L}\p{N}]+[\r\n/]*",
        r"\s*[\r\n]+",
        r"\s+(?!\S)",
        r"\s+",
    )
)
"""How text is cut before its pieces are merged: a fact of the vocabulary, as tiktoken's openai_public.py has it."""

_loading = threading.Lock()
_loaded: list[Encoder] = []


def encoder() -> Encoder | None:
    """None until the vocabulary has been read."""
    return _loaded[0] if _loaded else None


def load_soon() -> None:
    """Begin to read the vocabulary in a thread. The second call does nothing."""
    if _loading.acquire(blocking=False):
        threading.Thread(target=use, name="vocabulary", daemon=True).start()


def use() -> None:
    """Read it now, and count with it from here on."""
    if not _loaded:
        _loaded.append(load())


@cache
def load() -> Encoder:
    """The encoder, read now if it has not been: a third of a second."""
    from tiktoken import Encoding

    ranks = {token: rank for rank, token in enumerate(tokens())}
    encoding = Encoding("o200k_base", pat_str=PATTERN, mergeable_ranks=ranks, special_tokens=SPECIAL)
    # It has made its own of them, and keeps ours for pickling alone: a quarter of the memory.
    ranks.clear()
    return encoding.encode_ordinary


def tokens() -> list[bytes]:
    """All ordinary tokens, by rank."""
    raw = zlib.decompress((Path(__file__).parent / "o200k.z").read_bytes())
    count = int.from_bytes(raw[:4], "little")
    ends = list(accumulate(raw[4 : 4 + count], initial=4 + count))
    return [raw[start:end] for start, end in pairwise(ends)]
