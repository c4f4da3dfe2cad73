"""Cost, optimisation, metrics and the log: what they do to a request, to the body that is sent, and to nothing else."""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import orjson
import pytest

from runtime.dialects.base import HttpCall, Target
from runtime.dialects.registry import DIALECTS, PARSERS
from runtime.dialects.scripted import Status
from runtime.hooks import After, Attempted, Before, Failed, refuse
from runtime.hooks.cost import CostLimit
from runtime.hooks.metrics import Metrics
from runtime.hooks.optimise import Optimise
from runtime.hooks.record import Record
from runtime.outcome import CACHED, Attempt, Choice, Completion, Cost, FailureKind, Usage
from runtime.request import CacheHint, Message, Request, Role, Sampling, TextPart, Tool, ask, user
from tests.fakes.gateway import text
from tests.fakes.providers import fails
from tests.hooks.rigged import hooked

CHEAP = {"models": {"a/a-model": {"price": {"input": 1, "output": 1}}}}
BOTH = {
    "models": {
        "a/a-model": {"price": {"input": 1, "output": 1}},
        "b/b-model": {"price": {"input": 1000, "output": 1000}},
    }
}


# Cost.


async def test_a_request_beyond_the_bound_is_refused_and_nobody_is_asked() -> None:
    made = hooked(CostLimit(max_usd="0.0000001"), settings=CHEAP, a=text("x"))
    failure = await made.failure()
    assert (failure.kind, failure.code) == (FailureKind.BUDGET_EXCEEDED, "max_cost_exceeded")
    assert "$0.0000001" in failure.detail or "1E-7" in failure.detail or "1e-07" in failure.detail
    assert made["a"].transport.calls == 0


async def test_one_within_it_passes() -> None:
    made = hooked(CostLimit(max_usd=1), settings=CHEAP, a=text("x"))
    assert (await made.answer()).text == "x"


async def test_whoever_is_beyond_it_is_not_asked_even_as_a_fallback() -> None:
    made = hooked(CostLimit(max_usd=0.01), settings=BOTH, b=text("dear"), a=fails(Status(status=500)))
    failure = await made.failure()
    assert made.calls()["b"] == 0
    assert {one.provider for one in failure.attempts} == {"a"}


async def test_an_unknown_price_is_within_no_bound_unless_that_is_allowed() -> None:
    failure = await hooked(CostLimit(max_usd=1), a=text("x")).failure()
    assert failure.code == "max_cost_exceeded"
    assert "nobody knows" in failure.detail
    assert (await hooked(CostLimit(max_usd=1, unknown_price="allow"), a=text("x")).answer()).text == "x"


async def test_the_bound_is_a_route_s_own() -> None:
    route = {"routes": {"dear": ["a/a-model"]}}
    made = hooked((CostLimit(max_usd="0.0000001"), {"routes": ("dear",)}), settings={**CHEAP, **route}, a=text("x"))
    assert (await made.answer()).text == "x"
    assert (await made.failure(ask("hi", model="dear"))).code == "max_cost_exceeded"


@pytest.mark.parametrize(("asked", "sent"), [(None, 100), (5_000, 100), (7, 7)])
async def test_answers_are_bounded_too(asked: int | None, sent: int) -> None:
    seen: list[int | None] = []

    class Sees:
        def pre(self, before: Before) -> None:
            seen.append(before.request.sampling.max_tokens)

    made = hooked(CostLimit(max_output_tokens=100), Sees(), a=text("x"))
    await made.answer(replace(ask("hi"), sampling=Sampling(max_tokens=asked)))
    assert seen == [sent]


@pytest.mark.parametrize("options", [{}, {"max_usd": -1}, {"max_usd": "much"}, {"max_output_tokens": 0}])
def test_wrong_bounds_are_named(options: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="max_"):
        CostLimit(**options)


# Optimisation, by the body that is sent.


MODELS = {"anthropic": "claude-sonnet-4-5", "openai": "gpt-4o-mini", "google": "gemini-2.5-flash"}
LONG = "You answer questions about the sea. " * 200
TOOLS = (Tool(name="weather", parameters={"type": "object"}), Tool(name="alarm", parameters={"type": "object"}))
ASKED = Request(
    messages=(
        Message(role=Role.SYSTEM, parts=(TextPart(LONG),)),
        user("first"),
        Message(role=Role.ASSISTANT, parts=(TextPart("yes"),)),
        user("second"),
    ),
    tools=TOOLS,
    tenant="us",
)


def body(kind: str, request: Request, hook: Optimise | None = None, *, model: str = "") -> dict[str, Any]:
    """What this kind of provider is sent."""
    model = model or MODELS[kind]
    if hook is not None:
        request = hook.attempt(Attempted(request=request, provider="p", model=model, kind=kind)) or request
    target = Target(provider="p", base_url="https://h.example/v1beta", model=model, api_key="k" * 9)
    call = DIALECTS[kind].encode(replace(request, model=model), target)
    assert isinstance(call, HttpCall), call
    assert not call.dropped, call.dropped
    said: dict[str, Any] = orjson.loads(call.body)
    return said


def marks(said: Any) -> int:
    if isinstance(said, dict):
        return ("cache_control" in said) + sum(map(marks, said.values()))
    return sum(map(marks, said)) if isinstance(said, list) else 0


def test_anthropic_gets_breakpoints_behind_tools_instructions_and_the_last_turn() -> None:
    said = body("anthropic", ASKED, Optimise(ttl="1h"))
    mark = {"type": "ephemeral", "ttl": "1h"}
    assert said["tools"][-1]["cache_control"] == mark
    assert said["system"][-1]["cache_control"] == mark
    assert said["messages"][-1]["content"][-1]["cache_control"] == mark
    assert marks(said) == 3, "the API allows four"
    assert marks(body("anthropic", ASKED)) == 0


@pytest.mark.parametrize(
    "request_",
    [
        replace(ASKED, messages=ASKED.messages[1:], tools=()),
        replace(ASKED, cache=CacheHint()),
        replace(ASKED, tools=(replace(TOOLS[0], cache=CacheHint()),)),
    ],
    ids=["short", "whole", "own"],
)
def test_anthropic_s_marks_are_not_put_where_it_is_short_or_the_caller_has_his_own(request_: Request) -> None:
    assert body("anthropic", request_, Optimise()) == body("anthropic", request_)


def test_openai_s_prompts_that_begin_alike_have_equal_prefixes_and_one_key() -> None:
    turned = replace(ASKED, tools=tuple(reversed(TOOLS)))
    one, two = body("openai", ASKED, Optimise()), body("openai", turned, Optimise())
    assert one == two
    assert [tool["function"]["name"] for tool in one["tools"]] == ["alarm", "weather"]
    assert len(one["prompt_cache_key"]) == 32
    assert one["prompt_cache_key"] != body("openai", replace(ASKED, tenant="them"), Optimise())["prompt_cache_key"]
    assert body("openai", ASKED) != body("openai", turned)


def test_openai_is_told_a_predicted_answer_only_where_asked_for_and_where_it_takes_one() -> None:
    code = "def f():\n" + "    pass\n" * 80
    asked = Request(messages=(user(f"Rename f to g.\n```python\n{code}```"),))
    assert "prediction" not in body("openai", asked, Optimise())
    said = body("openai", asked, Optimise(predict=True))
    assert said["prediction"] == {"type": "content", "content": code.rstrip("\n")}
    for other in (
        replace(asked, tools=TOOLS),
        replace(asked, choices=2),
        replace(asked, sampling=Sampling(max_tokens=9)),
        Request(messages=(user("no code"),)),
    ):
        assert "prediction" not in body("openai", other, Optimise(predict=True))
    assert "prediction" not in body("openai", asked, Optimise(predict=True), model="o3-mini")


def test_gemini_s_safety_settings_pass_from_an_openai_client() -> None:
    wanted = [{"category": "HARM_CATEGORY_HARASSMENT", "threshold": "BLOCK_ONLY_HIGH"}]
    said = {"model": "m", "messages": [{"role": "user", "content": "hi"}], "safety_settings": wanted}
    asked = PARSERS["openai"](said)
    assert isinstance(asked, Request)
    assert body("google", asked, Optimise())["safetySettings"] == wanted
    assert "safety_settings" not in body("google", asked, Optimise())


def test_gemini_s_safety_settings_may_be_the_operator_s() -> None:
    hook = Optimise(safety={"harassment": "BLOCK_NONE"})
    assert body("google", ask("hi"), hook)["safetySettings"] == [
        {"category": "HARM_CATEGORY_HARASSMENT", "threshold": "BLOCK_NONE"}
    ]
    assert "safetySettings" not in body("google", ask("hi"), Optimise())


@pytest.mark.parametrize("kind", ["cohere", "ollama", "custom", "scripted"])
def test_others_are_left_as_they_are(kind: str) -> None:
    assert Optimise().attempt(Attempted(request=ASKED, provider="p", model="m", kind=kind)) is None


def test_each_part_can_be_switched_off() -> None:
    off = Optimise(anthropic_cache=False, openai_prefix=False)
    for kind in ("anthropic", "openai"):
        assert body(kind, ASKED, off) == body(kind, ASKED)


# Metrics.


def completion(**said: Any) -> Completion:
    return Completion(
        id="1",
        model="m",
        provider="p",
        choices=(Choice.of("mail ann@example.org"),),
        usage=Usage(input_tokens=3, output_tokens=4),
        cost=Cost(total_nanousd=7),
        latency_s=2.0,
        **said,
    )


def test_answers_and_errors_are_counted_by_model() -> None:
    metrics = Metrics(slow_s=1.0)
    metrics.post(After(request=ask("hi"), completion=completion()))
    metrics.post(
        After(
            request=ask("hi"),
            completion=completion(attempts=(Attempt(provider="p", model="m", outcome=CACHED, elapsed_s=0.0),)),
        )
    )
    metrics.error(Failed(request=ask("hi"), failure=refuse("no")))
    said = metrics.metrics()
    assert (said["p/m.answers"], said["p/m.cached"], said["p/m.slow"], said["p/m.cost_nanousd"]) == (2, 1, 1, 7)
    assert (said["nobody.errors"], said["nobody.errors.content_filtered"]) == (1, 1)


def test_names_are_bounded() -> None:
    metrics = Metrics(most=3)
    for at in range(10):
        metrics.post(After(request=ask("hi"), completion=replace(completion(), model=str(at))))
    assert len({name.split(".")[0] for name in metrics.metrics()}) == 4
    assert metrics.metrics()["other.answers"] == 7


async def test_the_gateway_tells_its_hooks_counters() -> None:
    made = hooked(Metrics(), a=text("x"))
    await made.answer()
    said = await made.gateway.metrics()
    assert said["hooks.Metrics.called"] == 1
    assert said["hooks.Metrics.a/a-model.answers"] == 1


# The log.


@contextmanager
def recording(path: Path, **said: Any) -> Iterator[Record]:
    record = Record(path=str(path / "deep" / "requests.jsonl"), wall=lambda: 1_700_000_000.5, **said)
    try:
        yield record
    finally:
        record.close()


def lines(record: Record, at: str = "") -> list[dict[str, Any]]:
    return [json.loads(line) for line in Path(f"{record.path}{at}").read_text().splitlines()]


AFTER = After(request=replace(ask("call +49 30 1234567"), request_id="r1"), completion=completion())


def test_a_line_says_what_came_of_a_request_and_no_text(tmp_path: Path) -> None:
    with recording(tmp_path) as record:
        record.post(AFTER)
        record.error(Failed(request=AFTER.request, failure=refuse("no")))
    answered, refused = lines(record)
    assert (answered["request_id"], answered["outcome"], answered["cost_nanousd"]) == ("r1", "ok", 7)
    assert (refused["outcome"], refused["code"]) == ("content_filtered", "refused_by_hook")
    assert "1234567" not in record.path.read_text()
    assert stat.S_IMODE(record.path.stat().st_mode) == 0o600
    assert str(os.getpid()) in record.path.name


def test_texts_are_redacted_where_they_are_wanted(tmp_path: Path) -> None:
    with recording(tmp_path, prompts=True, answers=True) as record:
        record.post(AFTER)
    (line,) = lines(record)
    assert line["messages"][0]["parts"][0]["text"] == "call [PHONE_1]"
    assert line["choices"][0]["parts"][0]["text"] == "mail [EMAIL_1]"


def test_files_turn_and_the_oldest_goes(tmp_path: Path) -> None:
    with recording(tmp_path, max_mb=0.0008, keep=2) as record:
        for _ in range(12):
            record.post(AFTER)
    assert sorted(one.name.rpartition("l")[2] for one in record.path.parent.iterdir()) == ["", ".1", ".2"]
    assert all(lines(record, at) for at in ("", ".1", ".2"))


def test_a_full_queue_drops_and_counts(tmp_path: Path) -> None:
    with recording(tmp_path, most=1) as record:
        record._thread = object()  # type: ignore[assignment]  # nobody takes any
        for _ in range(3):
            record.post(AFTER)
        assert record.metrics()["dropped"] == 2
        record._thread = None


def test_a_disk_that_cannot_be_written_costs_lines_and_no_request(tmp_path: Path) -> None:
    (tmp_path / "deep").write_text("a file where the folder should be")
    with recording(tmp_path) as record:
        record.post(AFTER)
    assert record.metrics()["unwritten"] == 1
