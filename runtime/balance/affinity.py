"""Where a conversation was before: providers remember prompts, and sell what they remember at a discount.

Every replica finds the same home for the same beginning of a conversation, without asking anyone: by rendezvous
hashing (Thaler, Ravishankar 1998; with weights as in Schindelhauer, Schomaker 2005). If a home goes away, only its own
conversations move. What a home is worth is what the provider gives for a prompt that it remembers, so affinity is one
term of a score: a home that is slow, dear or full loses to another one.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable, Sequence

import orjson

from runtime.balance.entry import Asked, Candidate, Entry
from runtime.request import Request, Role
from runtime.tokens import estimate_tokens

HIT = 0.8
"""How probable it is that home remembers; nobody promises to. Real hit rates may replace it once they are measured."""

LEAST_TOKENS = 1_024
"""Shorter beginnings are remembered by nobody (OpenAI's and, for most models, Anthropic's least length)."""

FREE_DISCOUNT = 0.5
"""Where input costs nothing: one's own server, for which the remembered part is time saved, not money."""

FULL = 1.25
"""A sticky home may have so many times the mean load, and one call more (Mirrokni et al. 2018, "bounded loads")."""


def prefix_of(request: Request, input_tokens: int) -> tuple[str, int]:
    """The name of a conversation's beginning, and about how many of its tokens (`input_tokens`) were sent before.

    The beginning is whose it is, tools, instructions, and the first thing that the user said: it stays the same while
    the conversation goes on.
    """
    digest = hashlib.blake2b(digest_size=8)
    digest.update(request.tenant.encode() + b"\0")
    for tool in request.tools:
        digest.update(repr(tool).encode())
    last_answer = 0
    begun = False
    for position, message in enumerate(request.messages):
        if message.role is Role.ASSISTANT:
            last_answer = position
        if not begun:
            digest.update(orjson.dumps([message.role, message.text]))
            begun = message.role is Role.USER
    if not last_answer:
        return digest.hexdigest(), 0
    # What is new is mostly short, so it is that which is counted.
    new = Request(messages=request.messages[last_answer:])
    return digest.hexdigest(), max(0, input_tokens - estimate_tokens(new))


def home_of(key: str, entries: Iterable[Entry]) -> Candidate | None:
    """The one among these to which a key belongs, in proportion to their weights; None without a key or anybody."""
    if not key:
        return None

    def lot(entry: Entry) -> float:
        seed = f"{key}\0{entry.candidate}".encode()
        drawn = (int.from_bytes(hashlib.blake2b(seed, digest_size=8).digest()) + 1) / (2**64 + 1)
        return entry.weight / -math.log(drawn)

    home = max((one for one in entries if one.weight > 0.0), key=lot, default=None)
    return home.candidate if home else None


def remembered(entry: Entry, asked: Asked, home: Candidate | None) -> int:
    """Input tokens that this entry probably need not read again."""
    if entry.candidate != home or asked.prefix_tokens < LEAST_TOKENS:
        return 0
    return round(HIT * min(asked.prefix_tokens, entry.input_of(asked)))


def discount(entry: Entry) -> float:
    """The share of the price of input that is saved where it is remembered; 0.0 where that is unknown."""
    pricing = entry.info.pricing if entry.info else None
    if pricing is None:
        return 0.0
    if pricing.input == 0:
        return FREE_DISCOUNT
    return 0.0 if pricing.cached_input is None else max(0.0, 1.0 - pricing.cached_input / pricing.input)


def saved_share(entry: Entry, asked: Asked, home: Candidate | None) -> float:
    """The share of the time to the first token that memory saves, taken to be as large as that of the price."""
    known = remembered(entry, asked, home)
    return discount(entry) * known / entry.input_of(asked) if known else 0.0


def is_full(entry: Entry, among: Sequence[Entry]) -> bool:
    """Whether a home has so much to do that its guests are better off elsewhere."""
    mean = sum(one.load for one in among) / len(among)
    return entry.load > FULL * mean + 1.0
