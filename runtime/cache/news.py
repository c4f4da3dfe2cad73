"""What the cache tells whoever wants to know (an event, a metric): typed, and without a word of the conversation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from runtime.outcome import Completion
from runtime.request import Request
from runtime.wire import crosses

CacheWord = Literal["hit", "shared", "miss", "stored"]
"""`hit`: remembered, here or in the shared tier, by its words or by its meaning (`cosine`). `shared`: an equal call was
under way. `miss`: this process remembers nothing; what follows is another word, or `stored`, or an answer that is not
kept. One who is given what he did not pay for is told so in `x-raygate-cache`."""


@crosses
@dataclass(frozen=True, slots=True, kw_only=True)
class CacheNews:
    """`provider` and `model` are whose answer it is, empty for a miss; `model_asked` is the name in the request."""

    word: CacheWord
    request_id: str = ""
    tenant: str = ""
    model_asked: str = ""
    key: str = ""
    provider: str = ""
    model: str = ""
    age_s: float = 0.0
    cosine: float | None = None
    saved_nanousd: int = 0

    @classmethod
    def of(cls, word: CacheWord, request: Request, key: bytes, given: Completion | None = None) -> CacheNews:
        known = next((one.remembered for one in given.attempts if one.remembered), None) if given else None
        return cls(
            word=word,
            request_id=request.request_id,
            tenant=request.tenant,
            model_asked=request.model,
            key=known.key if known else key.hex(),
            provider=given.provider if given else "",
            model=given.model if given else "",
            age_s=known.age_s if known else 0.0,
            cosine=known.cosine if known else None,
            saved_nanousd=given.cost.saved_nanousd if given and given.cost else 0,
        )
