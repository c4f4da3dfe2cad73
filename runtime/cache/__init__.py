"""Answers that were paid for once: what may be given again, to whom, and for how long.

    key        which requests may share an answer
    answers    what a process remembers: least recently used out first, by bytes, each for a limited time
    pack       an answer as bytes that may lie anywhere, and be read without trust
    shared     what all replicas remember together, and who of them asks: one hop, on a miss alone
    semantic   requests that mean the same although they say it otherwise, and `verify`, which doubts that

`runtime.single_flight` stands before them: it is who asks them. `docs/cache.md` has rules and figures.
"""

from __future__ import annotations

from runtime.cache.answers import About, AnswerCache, Caching, Forget
from runtime.cache.key import key_of

__all__ = ["About", "AnswerCache", "Caching", "Forget", "key_of"]
