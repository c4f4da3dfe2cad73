"""Asks an embeddings endpoint, by the gateway's own providers, for the vectors of prompts: `learning.embeddings`.

    decision ─► known? ─► go on
                no ─► with what others ask for now: one call of up to `BATCH` texts, `MOST_CALLS` at a time
                      trusted: wait, up to `timeout_s`; else go on without (`runtime.memory.endpoint.Trust`)

What comes too late for its decision is kept: the next one with this text has it, and so has what is learned from it.
Its calls are ordinary ones, with hedges, breakers and failover; on the ledger they are those of key `embedder`.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import Awaitable, Callable, Sequence

from actors.refs import last_line
from runtime.ledger.billing import Account, Billing
from runtime.memory.embed import shorten
from runtime.memory.endpoint import Given, Trust
from runtime.outcome import Embeddings, Failure, FailureKind
from runtime.request import EmbedRequest
from runtime.settings import EmbeddingsSettings

log = logging.getLogger("raygate.reading")

EMBEDDER = "embedder"
"""Its name as a key on the ledger."""
BATCH, MOST_CALLS, MOST_QUEUED = 64, 4, 1_024
GIVE_UP_S = 10.0
"""A call's own limit: who is late for a decision may still be in time for what is learned."""
REFUSED = (FailureKind.BAD_REQUEST, FailureKind.CONTEXT_OVERFLOW, FailureKind.TOO_LARGE, FailureKind.CONTENT_FILTERED)
"""Perhaps because of one text among them."""

AskVectors = Callable[[EmbedRequest], Awaitable[Embeddings | Failure]]


class Reader:
    """Belongs to one event loop. `given` is what it has read."""

    def __init__(self, settings: EmbeddingsSettings, ask: AskVectors, *, clock: Callable[[], float]) -> None:
        self.given = Given(settings.model, settings.dimension)
        self.trust = Trust()
        self._settings = settings
        self._ask = ask
        self._clock = clock
        self._came = False
        self._queue: dict[str, asyncio.Future[None]] = {}
        self._asked: dict[str, asyncio.Future[None]] = {}
        self._calls: set[asyncio.Task[None]] = set()

    def before(self, text: str, *, waits: bool) -> Awaitable[None] | None:
        """What a decision about this text waits for; None where it need not."""
        if self.given.settled(text) or not self.trust.asks(self._clock()):
            return None
        begun = self._begin(text)
        return self._patient(begun) if waits and begun is not None and self.trust.waits else None

    async def read(self, texts: Sequence[str]) -> bool:
        """Have all of them read, for whom it is no loss to wait; whether there is nothing left to ask for."""
        if self.trust.asks(self._clock()):
            begun = [self._begin(text) for text in texts if not self.given.settled(text)]
            waiting = [one for one in begun if one is not None]
            if waiting:
                await asyncio.wait(waiting, timeout=GIVE_UP_S)
        return all(self.given.settled(text) for text in texts)

    def stop(self) -> None:
        """Nobody is to wait for it any more."""
        for call in self._calls:
            call.cancel()
        self._release({**self._queue, **self._asked})

    async def _patient(self, begun: asyncio.Future[None]) -> None:
        done, _ = await asyncio.wait((begun,), timeout=self._settings.timeout_s)
        if not done:
            self.trust.ill(self._clock())

    def _begin(self, text: str) -> asyncio.Future[None] | None:
        """Done once the text was asked for, whatever came of it; None where too much waits already."""
        text = shorten(text)
        begun = self._queue.get(text) or self._asked.get(text)
        if begun is None:
            if len(self._queue) >= MOST_QUEUED:
                return None
            begun = self._queue[text] = asyncio.get_running_loop().create_future()
        if len(self._calls) < (MOST_CALLS if self.trust.waits else 1):
            call = asyncio.create_task(self._work())
            self._calls.add(call)
            call.add_done_callback(self._calls.discard)
        return begun

    async def _work(self) -> None:
        while self._queue and self.trust.asks(self._clock()):
            # On trial with one text, as a decision asks: many take longer, and say nothing of that.
            texts = list(self._queue)[: BATCH if self.trust.waits else 1]
            batch = {text: self._queue.pop(text) for text in texts}
            self._asked |= batch
            began = self._clock()
            try:
                well = await self._read(texts)
            except Exception as error:  # requests go on by their default order
                log.warning("reading.failed", extra={"why": last_line(error)})
                well = False
            finally:
                for text in texts:
                    self._asked.pop(text, None)
                self._release(batch)
            if well and self._clock() - began <= self._settings.timeout_s:
                self.trust.well()
            elif not well or not self.trust.waits:
                self.trust.ill(self._clock())
        if not self.trust.asks(self._clock()):
            self._release(self._queue)
            self._queue.clear()

    async def _read(self, texts: Sequence[str]) -> bool:
        """Whether it answered. Of a batch that is refused each half is asked for itself, down to the text that is the
        cause."""
        ours = self._settings
        found = await self._ask(
            EmbedRequest(
                inputs=tuple(texts),
                model=ours.model,
                dimensions=ours.dimension if ours.shorten else None,
                deadline_s=GIVE_UP_S,
                request_id=f"embedder_{secrets.token_hex(12)}",
                billing=Billing(account=Account(key=EMBEDDER)),
            )
        )
        if isinstance(found, Embeddings):
            if not self.given.fits(found.vectors, len(texts)):
                got = len(found.vectors[0]) if found.vectors else 0
                why = (
                    f"{ours.model} gives vectors of {got} numbers, not {ours.dimension} (learning.embeddings.dimension)"
                )
                log.error("reading.other_vectors", extra={"why": why})
                return False
            self.given.put(texts, found.vectors)
            self._came = True
            return True
        if found.kind not in REFUSED:
            log.warning("reading.failed", extra={"why": found.detail, "kind": found.kind})
            return False
        if len(texts) > 1:
            half = len(texts) // 2
            return any([await self._read(part) for part in (texts[:half], texts[half:])])
        if self._came:
            # Others were taken: it is the text's fault.
            self.given.refuse(texts[0])
        return self._came

    @staticmethod
    def _release(begun: dict[str, asyncio.Future[None]]) -> None:
        for one in begun.values():
            if not one.done():
                one.set_result(None)
