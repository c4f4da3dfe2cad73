"""Prompts are read by an embeddings endpoint: in batches, in bounds, and at nobody's cost when it is ill."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from actors.reading import BATCH, EMBEDDER, Reader
from actors.store import Store
from runtime.balance.entry import Asked, Candidate, Entry
from runtime.dialects.scripted import Status, Step
from runtime.learning.advice import Learned
from runtime.learning.adviser import Taught
from runtime.learning.calibration import Outcome, Prompt
from runtime.learning.values import FeedbackGiven, Taken
from runtime.outcome import Embeddings, Failure, FailureKind
from runtime.request import EmbedRequest, ask
from runtime.settings import EmbeddingsSettings, LearningSettings, Settings
from tests.actors.test_ruvector_actor import over
from tests.fakes.clock import FakeClock, turns
from tests.fakes.gateway import Rigs
from tests.fakes.learning import Near, actor, edge_learning

DIM = 16
SAID = {"model": "lab/lab-model", "dimension": DIM, "shorten": True}
SETTINGS = EmbeddingsSettings.model_validate(SAID)
ENTRIES = [Entry(candidate=Candidate(provider, "m")) for provider in "ab"]


class Endpoint:
    """Answers when it is told to; refuses texts that hold `bad`."""

    def __init__(self) -> None:
        self.asked: list[EmbedRequest] = []
        self.failing: FailureKind | None = None
        self.dim = DIM
        self.gate = asyncio.Event()
        self.gate.set()

    async def __call__(self, request: EmbedRequest) -> Embeddings | Failure:
        self.asked.append(request)
        await self.gate.wait()
        if self.failing is not None:
            return Failure(kind=self.failing)
        if any("bad" in one for one in request.inputs):
            return Failure(kind=FailureKind.BAD_REQUEST)
        vectors = tuple((float(len(one)), *[1.0] * (self.dim - 1)) for one in request.inputs)
        return Embeddings(model=request.model, vectors=vectors)


def reader(endpoint: Endpoint, clock: FakeClock | None = None, **said: Any) -> Reader:
    return Reader(SETTINGS.model_copy(update=said), endpoint, clock=clock or FakeClock())


def texts(count: int) -> list[str]:
    return [f"text {number}" for number in range(count)]


async def test_what_is_asked_together_is_read_in_few_calls_of_its_own_key() -> None:
    endpoint = Endpoint()
    endpoint.gate.clear()
    made = reader(endpoint)
    reading = asyncio.ensure_future(made.read(texts(300)))
    await turns()
    endpoint.gate.set()
    assert await reading
    assert max(len(one.inputs) for one in endpoint.asked) <= BATCH
    assert len(endpoint.asked) <= 300 // BATCH + 4
    (account,) = {one.billing.account for one in endpoint.asked if one.billing is not None}
    assert account.key == EMBEDDER
    assert endpoint.asked[0].dimensions == DIM
    assert await made.read(texts(300))
    assert len({text for one in endpoint.asked for text in one.inputs}) == 300, "what is known is not asked again"
    assert sum(len(one.inputs) for one in endpoint.asked) == 300


async def test_a_decision_waits_once_for_an_endpoint_that_is_late_and_none_after_it() -> None:
    endpoint, clock = Endpoint(), FakeClock()
    endpoint.gate.clear()
    made = reader(endpoint, clock, timeout_s=0.01)
    waited = made.before("one", waits=True)
    assert waited is not None
    await waited
    assert made.before("two", waits=True) is None, "it rests"
    assert len(endpoint.asked) == 1
    clock.advance(1.5)
    assert made.before("three", waits=True) is None, "it is on trial"
    endpoint.gate.set()
    await turns(20)
    assert made.given.has("one"), "what came late is kept"
    assert made.before("one", waits=True) is None


async def test_it_is_waited_for_again_once_it_has_answered_in_time() -> None:
    endpoint, clock = Endpoint(), FakeClock()
    endpoint.failing = FailureKind.UNAVAILABLE
    made = reader(endpoint, clock)
    assert not await made.read(["one"])
    assert not await made.read(["one"])
    assert len(endpoint.asked) == 1, "it rests"
    clock.advance(1.5)
    endpoint.failing = None
    assert made.before("two", waits=True) is None
    await turns(20)
    assert made.given.has("two")
    waited = made.before("three", waits=True)
    assert waited is not None
    await waited
    assert made.given.has("three")


async def test_a_slow_batch_behind_decisions_costs_them_nothing() -> None:
    clock = FakeClock()

    class Slow(Endpoint):
        async def __call__(self, request: EmbedRequest) -> Embeddings | Failure:
            clock.advance(0.02 * len(request.inputs))
            return await super().__call__(request)

    endpoint = Slow()
    made = reader(endpoint, clock)
    assert await made.read(texts(60))
    assert made.trust.waits, "more than a second, and nobody waited for it"
    endpoint.failing = FailureKind.UNAVAILABLE
    await made.read(["lost"])
    endpoint.failing = None
    clock.advance(2.0)
    assert await made.read([f"more {number}" for number in range(60)])
    assert made.trust.waits, "on trial it is asked for one"


async def test_nobody_waits_where_nothing_was_learned_yet() -> None:
    endpoint = Endpoint()
    made = reader(endpoint)
    assert made.before("one", waits=False) is None
    await turns(20)
    assert made.given.has("one")


async def test_the_one_text_that_is_refused_is_found_and_not_asked_again() -> None:
    endpoint = Endpoint()
    made = reader(endpoint)
    assert await made.read(["first"])
    assert await made.read([*texts(20), "a bad one"])
    assert not made.given.has("a bad one")
    assert all(made.given.has(one) for one in texts(20))
    assert made.trust.waits
    before = len(endpoint.asked)
    assert await made.read(["a bad one"])
    assert len(endpoint.asked) == before


async def test_vectors_of_another_dimension_are_never_taken() -> None:
    endpoint = Endpoint()
    endpoint.dim = DIM + 1
    made = reader(endpoint)
    assert not await made.read(["one"])
    assert not made.given.settled("one")
    assert not made.trust.waits


async def test_who_leaves_lets_everybody_go() -> None:
    endpoint = Endpoint()
    endpoint.gate.clear()
    made = reader(endpoint, timeout_s=5.0)
    waited = made.before("one", waits=True)
    assert waited is not None
    waiting = asyncio.ensure_future(waited)  # type: ignore[arg-type]
    await turns()
    made.stop()
    await waiting


# At an edge, with a real owner and a gateway over a scripted provider.


def served(folder: Path, *steps: Step) -> tuple[Any, Near, Rigs]:
    near = Near(actor(folder, warm_up=8, embeddings=SAID))
    rigs = Rigs(settings={"strategy": "learned"}, lab=list(steps) or [Step(text="hi")])
    learning = edge_learning(near)
    learning.ask_vectors = rigs.gateway.embed
    learning.follow(LearningSettings.model_validate({"embeddings": SAID}))
    return learning, near, rigs


async def heard(learning: Any, words: str, request: str) -> Sequence[Taken] | Failure:
    """A decision by the default order on a text that nobody has read, carried out and judged."""
    advice = learning.advise(ENTRIES, Asked(text=words, tenant="default"), Learned())
    assert advice.decision is not None
    over(learning, request, advice.decision)
    found: Sequence[Taken] | Failure = await learning.feedback(
        FeedbackGiven(request=request, at_s=0.0, score=0.5, key="k")
    )
    return found


async def test_what_was_decided_without_a_vector_is_read_later_and_learned(tmp_path: Path) -> None:
    learning, near, _ = served(tmp_path)
    await learning.awake()
    assert isinstance(await heard(learning, "a question about the sea", "req_1"), tuple)
    assert near.there is not None
    school = near.there._school
    assert school is not None
    kept = school.log.find("default", "req_1")
    assert kept is not None
    assert kept.embedder == learning.adviser.embedder.name == school.embedder.name
    assert len(kept.vector) == 4 * school.embedder.dim
    found = await learning.search("default", "a question about the sea", 3)
    assert [one["request_id"] for one in found] == ["req_1"]
    assert await learning.about("default", "a question about the sea") == "req_1"
    await learning.stop()
    await near.there.close()


async def test_a_text_that_was_read_is_decided_by_what_was_learned(tmp_path: Path) -> None:
    learning, near, _ = served(tmp_path)
    adviser = await learning.awake()
    adviser.policies["default"] = Taught(None, (1, 1), 0.0, 0)  # type: ignore[arg-type]
    waited = learning.before(ask("what is the sea?"))
    assert waited is not None
    await waited
    asked = Asked(text="what is the sea?", tenant="default")
    learning._known["default"] = (1, 1)
    assert "judged answers" in learning.advise(ENTRIES, asked, Learned()).why
    assert learning.before(ask("what is the sea?")) is None
    await learning.stop()
    assert near.there is not None
    await near.there.close()


async def test_an_endpoint_that_is_away_holds_up_neither_requests_nor_what_was_read(tmp_path: Path) -> None:
    learning, near, rigs = served(tmp_path, Step(), Status(status=503))  # type: ignore[arg-type]
    await learning.awake()
    assert isinstance(await heard(learning, "one about the sea", "req_1"), tuple)
    lost = await heard(learning, "two about the moon", "req_2")
    assert isinstance(lost, Failure)
    assert lost.code == "unknown_request"
    assert learning.before(ask("three")) is None
    again = await learning.feedback(FeedbackGiven(request="req_1", at_s=0.0, score=1.0, key="k"))
    assert isinstance(again, tuple)
    assert rigs["lab"].transport.calls >= 2
    await learning.stop()
    assert near.there is not None
    await near.there.close()


async def test_a_calibration_is_read_by_the_endpoint_too(tmp_path: Path) -> None:
    learning, near, _ = served(tmp_path)
    tried = (Outcome(model="a/m", quality=0.9), Outcome(model="b/m", quality=0.1))
    prompts = [Prompt(prompt=f"a sum of {number}", tried=tried) for number in range(12)]
    assert await learning.calibrate("default", prompts) == 24
    await learning.stop()
    assert near.there is not None
    await near.there.close()


async def test_the_owner_refuses_texts_and_vectors_of_others(tmp_path: Path) -> None:
    owner = actor(tmp_path, warm_up=8, embeddings=SAID)
    told = await owner.search("default", "a text", 3)
    assert isinstance(told, Failure)
    assert told.kind is FailureKind.UNAVAILABLE
    other = await owner.search("default", [1.0] * DIM, 3)
    assert isinstance(other, Failure), "the form is missing"
    Store(tmp_path).put_settings(
        Settings.model_validate({"learning": {"embeddings": {**SAID, "model": "lab/other"}}}).to_document()
    )
    before = owner._school
    owner._look_at = 0.0
    await owner.save()
    assert before is not None
    assert owner._school is not None
    assert owner._school.embedder.name != before.embedder.name
    await owner.close()
