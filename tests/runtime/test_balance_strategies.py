"""Who is asked first, by each strategy: entries in, an order with its terms out."""

from __future__ import annotations

import random
import re
from collections import Counter
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.balance.affinity import home_of, prefix_of
from runtime.balance.asked import asked_of
from runtime.balance.entry import Asked, Candidate, Entry, Why
from runtime.balance.latency import expected_s
from runtime.balance.plan import Plan, Routing, StrategyName, plan
from runtime.balance.rules import Rule
from runtime.balance.score import balanced, tabled
from runtime.balance.turns import Turns
from runtime.models import Feature, ModelInfo, Pricing
from runtime.request import (
    CostLimits,
    FilePart,
    ImagePart,
    Message,
    Request,
    ResponseFormat,
    Role,
    Sampling,
    TextPart,
    Tool,
    ask,
    user,
)
from runtime.tokens import estimate_tokens

STRATEGIES: tuple[StrategyName, ...] = (
    "round_robin",
    "least_loaded",
    "latency",
    "cost",
    "balanced",
    "weighted",
    "rules",
    "learned",
)

CHEAP = Pricing(input=100_000_000, output=400_000_000, cached_input=10_000_000)
DEAR = Pricing(input=3_000_000_000, output=15_000_000_000, cached_input=300_000_000)


def entry(name: str, pricing: Pricing | None = None, **said: object) -> Entry:
    info = said.pop("info", ModelInfo(provider=name, model="m", pricing=pricing))
    return Entry(candidate=Candidate(name, "m"), info=info, **said)  # type: ignore[arg-type]


def measured(name: str, ttft_s: float, per_token_s: float = 0.0, **said: object) -> Entry:
    return entry(name, ttft_s=ttft_s, per_token_s=per_token_s, measured_ago_s=0.1, **said)


class NoChance(random.Random):
    """Never explores, and draws in the order given."""

    def random(self) -> float:
        return 0.999


def planned(entries: list[Entry], strategy: StrategyName = "latency", *, seed: int = 1, **said: object) -> Plan:
    asked = said.pop("asked", Asked(input_tokens=100))
    routing = Routing(strategy=strategy, **said)  # type: ignore[arg-type]
    return plan(entries, asked, routing, turns=Turns(), key="k", rng=random.Random(seed))  # type: ignore[arg-type]


def names(made: Plan) -> list[str]:
    return [one.provider for one in made.candidates]


def firsts(entries: list[Entry], strategy: StrategyName, count: int = 1_000, **said: object) -> Counter[str]:
    asked = said.pop("asked", Asked(input_tokens=100))
    routing = Routing(strategy=strategy, **said)  # type: ignore[arg-type]
    turns, rng = Turns(), random.Random(7)
    return Counter(
        plan(entries, asked, routing, turns=turns, key="k", rng=rng).candidates[0].provider  # type: ignore[arg-type]
        for _ in range(count)
    )


# Round-robin and weights.


def test_round_robin_takes_turns() -> None:
    rng = random.Random(1)
    turns, entries = Turns(), [entry("a"), entry("b"), entry("c")]
    asked = [turns.next("k", entries, rng)[0].candidate.provider for _ in range(9)]
    assert asked[:3] == asked[3:6] == asked[6:]
    assert sorted(asked[:3]) == ["a", "b", "c"]


def test_weights_are_mixed_and_not_bunched() -> None:
    """nginx's example: 5, 1, 1 is a a b a c a a."""
    turns, entries = Turns(), [entry("a", weight=5.0), entry("b"), entry("c")]
    rng = random.Random(1)
    asked = "".join(turns.next("k", entries, rng)[0].candidate.provider for _ in range(700))
    assert Counter(asked) == {"a": 500, "b": 100, "c": 100}
    assert "aaaaa" not in asked


def test_many_replicas_with_one_request_each_are_even() -> None:
    entries = [entry("a"), entry("b"), entry("c"), entry("d")]
    asked = Counter(
        Turns(scattered=True).next("k", entries, random.Random(replica))[0].candidate.provider
        for replica in range(1_000)
    )
    assert min(asked.values()) > 200


def test_each_name_takes_its_own_turns() -> None:
    turns, entries, rng = Turns(), [entry("a"), entry("b")], random.Random(1)
    both = [(turns.next(key, entries, rng)[0].candidate.provider, key) for _ in range(4) for key in ("x", "y")]
    assert Counter(both) == {(name, key): 2 for name in "ab" for key in "xy"}


def test_to_look_ahead_takes_no_turn() -> None:
    turns, entries, rng = Turns(), [entry("a"), entry("b"), entry("c")], random.Random(1)
    turns.next("k", entries, rng)
    seen = turns.copy().next("k", entries, rng)
    assert seen == turns.copy().next("k", entries, rng) == turns.next("k", entries, rng)


@given(st.dictionaries(st.sampled_from("abcdef"), st.integers(1, 5), min_size=1))
def test_one_round_asks_everybody_as_often_as_their_weight(weights: dict[str, int]) -> None:
    entries = [entry(name, weight=float(weight)) for name, weight in weights.items()]
    turns, rng = Turns(), random.Random(3)
    turns.next("k", entries, rng)
    asked = Counter(turns.next("k", entries, rng)[0].candidate.provider for _ in range(sum(weights.values())))
    assert asked == weights


def test_weighted_draws_in_proportion() -> None:
    asked = firsts([entry("a", weight=3.0), entry("b"), entry("never", weight=0.0)], "weighted")
    assert 700 < asked["a"] < 800
    assert asked["never"] == 0


# Least loaded.


def test_least_loaded_counts_our_calls_and_everybody_elses() -> None:
    entries = [entry("a", in_flight=3), entry("b", in_flight=1, others_in_flight=3), entry("c", others_in_flight=2)]
    assert names(planned(entries, "least_loaded")) == ["c", "a", "b"]


def test_finished_requests_are_no_load() -> None:
    """The first system counted the requests that were over: the oldest provider looked the busiest."""
    entries = [entry("long_in_use", output_tokens=500.0, measured_ago_s=0.0, usual_load=9.0), entry("new", in_flight=1)]
    assert names(planned(entries, "least_loaded"))[0] == "long_in_use"


def test_a_heavier_one_bears_more() -> None:
    assert names(planned([entry("a", in_flight=2), entry("b", in_flight=4, weight=4.0)], "least_loaded"))[0] == "b"


def test_an_idle_provider_that_fails_is_not_the_least_loaded() -> None:
    entries = [entry("fails", failed=0.9, measured_ago_s=0.1), entry("works", in_flight=5)]
    assert names(planned(entries, "least_loaded"))[0] == "works"


# Latency.


def test_the_faster_is_asked() -> None:
    asked = firsts([measured("slow", 2.0), measured("fast", 0.2)], "latency")
    assert asked == {"fast": 1_000}


def test_a_long_answer_goes_where_tokens_come_fast() -> None:
    chatty, quick = measured("chatty", 2.0, 0.001), measured("quick", 0.1, 0.02)
    short = planned([chatty, quick], asked=Asked(output_limit=10))
    long = planned([chatty, quick], asked=Asked(output_tokens=800.0))
    assert (names(short)[0], names(long)[0]) == ("quick", "chatty")


def test_the_queue_counts_beyond_the_usual() -> None:
    usual = measured("usual", 0.5, usual_load=9.0, in_flight=9)
    crowded = measured("crowded", 0.4, usual_load=1.0, in_flight=9)
    assert names(planned([crowded, usual]))[0] == "usual"


def test_what_others_have_under_way_counts_too() -> None:
    entries = [measured("a", 0.5, others_in_flight=8), measured("b", 0.5, others_in_flight=1)]
    assert firsts(entries, "latency") == {"b": 1_000}


def test_failures_are_a_penalty() -> None:
    """A provider that fails fast looks idle and quick. It must not draw the traffic."""
    entries = [measured("fails", 0.05, failed=0.9), measured("works", 0.5, in_flight=3)]
    assert firsts(entries, "latency") == {"works": 1_000}


def test_failures_of_long_ago_are_forgotten() -> None:
    of = measured("a", 0.1, failed=0.9)
    now, later = of, Entry(candidate=of.candidate, ttft_s=0.1, failed=0.9, measured_ago_s=120.0)
    asked = Asked(output_tokens=1.0)
    assert expected_s(now, asked)["penalty"] > 50.0
    assert expected_s(later, asked)["penalty"] < 1.1


def test_a_silent_provider_is_slow_before_it_has_answered() -> None:
    entries = [measured("silent", 0.1, silent_s=3.0, in_flight=1), measured("slower", 0.3, in_flight=1)]
    assert firsts(entries, "latency") == {"slower": 1_000}


def test_an_unmeasured_provider_is_tried_at_once() -> None:
    """The first system took unmeasured for infinitely slow: 30 of 30 requests went to the first provider."""
    assert names(planned([measured("known", 0.1), entry("new")]))[0] == "new"


def test_an_unmeasured_provider_is_tried_by_one_call_at_a_time() -> None:
    asked = firsts([measured("known", 0.1), entry("new", in_flight=1)], "latency")
    assert asked["new"] == 0


def test_who_was_slow_once_is_measured_again_but_seldom() -> None:
    slow = entry("was_slow", ttft_s=9.0, measured_ago_s=20.0)
    asked = firsts([measured("fast", 0.1), slow], "latency")
    assert 20 <= asked["was_slow"] <= 90


def test_what_was_heard_of_just_now_is_not_explored() -> None:
    asked = firsts([measured("fast", 0.1), measured("slow", 9.0)], "latency")
    assert asked["slow"] == 0


def test_nobody_measured_yet_goes_by_load() -> None:
    entries = [entry("a", in_flight=2), entry("b", in_flight=1), entry("c", in_flight=3)]
    assert firsts(entries, "latency")["c"] == 0


def test_many_edges_that_see_the_same_do_not_all_choose_the_same() -> None:
    """With a view that is a moment old the best of all would get everything."""
    entries = [measured(name, 0.5, others_in_flight=load) for load, name in enumerate("abcdefgh")]
    asked = firsts(entries, "latency")
    assert asked["a"] < 350
    assert asked["h"] == 0


# Cost.


def test_the_cheapest_comes_first_and_an_unknown_price_last() -> None:
    """In the first system an unknown price was $0 and won: a model's requests went to who did not have it."""
    entries = [entry("unknown"), entry("dear", DEAR), entry("cheap", CHEAP)]
    made = planned(entries, "cost")
    assert names(made) == ["cheap", "dear", "unknown"]
    assert made.order[-1].terms["expected_nanousd"] is None


def test_free_is_known_and_cheapest() -> None:
    entries = [entry("cheap", CHEAP), entry("free", Pricing(input=0, output=0)), entry("unknown")]
    assert names(planned(entries, "cost")) == ["free", "cheap", "unknown"]


def test_how_long_a_models_answers_are_decides_what_it_costs() -> None:
    terse = entry("terse", Pricing(input=0, output=2_000_000_000), output_tokens=50.0)
    wordy = Entry(
        candidate=Candidate("wordy", "n"),
        info=ModelInfo(provider="wordy", model="n", pricing=Pricing(input=0, output=1_000_000_000)),
        output_tokens=400.0,
    )
    assert names(planned([wordy, terse], "cost"))[0] == "terse"


def test_a_remembered_prompt_is_counted_at_its_price() -> None:
    asked = Asked(input_tokens=10_000, prefix="talk", prefix_tokens=9_000, output_limit=10)
    entries = [entry(name, DEAR, output_tokens=10.0) for name in "abcd"]
    made = planned(entries, "cost", asked=asked)
    assert made.home is not None
    assert names(made)[0] == made.home.provider
    assert made.order[0].terms["remembered_tokens"] == 7_200
    assert made.order[0].terms["expected_nanousd"] == 2_800 * 3_000 + 7_200 * 300 + 10 * 15_000


def test_who_mostly_fails_is_no_bargain() -> None:
    entries = [entry("fails", CHEAP, failed=0.9, measured_ago_s=0.1), entry("works", DEAR), entry("unknown")]
    assert names(planned(entries, "cost")) == ["works", "fails", "unknown"]


# Filters, each with its reason.


def reasons(made: Plan) -> dict[str, Why]:
    return {one.candidate.provider: one.why for one in made.dropped}


def test_who_cannot_do_it_is_not_asked() -> None:
    blind = ModelInfo(provider="blind", model="m", lacks=frozenset({Feature.VISION}))
    made = planned([entry("blind", info=blind), entry("unsure")], asked=Asked(needs=frozenset({Feature.VISION})))
    assert (names(made), reasons(made)) == (["unsure"], {"blind": Why.FEATURE})
    assert "vision" in made.dropped[0].detail


def window(name: str, tokens: int) -> Entry:
    return entry(name, info=ModelInfo(provider=name, model="m", context_length=tokens))


def test_a_context_that_is_too_small_is_not_asked_and_a_tight_one_last() -> None:
    entries = [window("small", 1_000), window("tight", 3_500), window("large", 100_000)]
    made = planned(entries, asked=Asked(input_tokens=4_000, output_limit=100))
    assert (names(made), reasons(made)) == (["large", "tight"], {"small": Why.CONTEXT})


def test_the_asked_output_needs_room_too() -> None:
    made = planned([window("a", 4_096)], asked=Asked(input_tokens=100, output_limit=4_090))
    assert reasons(made) == {"a": Why.CONTEXT}


def test_max_cost_refuses_before_any_call_and_an_unknown_price_with_it() -> None:
    """The first system never read maxCost: a request that might cost a billionth of a dollar ran."""
    entries = [entry("a", CHEAP, bound_nanousd=5_000), entry("b", bound_nanousd=None), entry("c", bound_nanousd=1)]
    made = planned(entries, asked=Asked(max_cost_nanousd=1))
    assert (names(made), reasons(made)) == (["c"], {"a": Why.COST, "b": Why.COST})


def test_the_stricter_of_two_ceilings_counts() -> None:
    made = planned([entry("a", bound_nanousd=10, ceiling_nanousd=9)], asked=Asked(max_cost_nanousd=50))
    assert reasons(made) == {"a": Why.COST}


def test_max_latency_drops_who_is_known_to_be_late() -> None:
    entries = [measured("late", 3.0), measured("queue", 0.5, in_flight=9), measured("soon", 0.5), entry("unknown")]
    made = planned(entries, asked=Asked(max_latency_s=1.0, output_tokens=1.0))
    assert sorted(names(made)) == ["soon", "unknown"]
    assert set(reasons(made).values()) == {Why.LATENCY}


def test_residency_needs_every_tag() -> None:
    entries = [entry("eu", tags=frozenset({"eu", "gdpr"})), entry("us", tags=frozenset({"us"}))]
    made = planned(entries, asked=Asked(residency=frozenset({"eu"})))
    assert (names(made), reasons(made)) == (["eu"], {"us": Why.RESIDENCY})


def test_a_least_quality_must_be_known() -> None:
    made = planned([entry("good", quality=0.9), entry("poor", quality=0.5), entry("who")], asked=Asked(min_quality=0.8))
    assert (names(made), reasons(made)) == (["good"], {"poor": Why.QUALITY, "who": Why.QUALITY})


# Laws of all strategies.


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_preferences_then_priorities_come_first_and_shut_ones_last(strategy: StrategyName) -> None:
    entries = [
        entry("shut_long", priority=9, retry_in_s=20.0),
        entry("low", priority=-1),
        entry("shut_soon", retry_in_s=1.0),
        entry("high", priority=5),
        entry("usual"),
        entry("preferred", priority=-9, preferred_model=strategy != "balanced"),
    ]
    expected = ["preferred", "high", "usual", "low", "shut_soon", "shut_long"]
    if strategy == "balanced":
        expected = ["high", "usual", "low", "preferred", "shut_soon", "shut_long"]
    assert names(planned(entries, strategy)) == expected


NUMBERS = st.floats(0.0, 1e6)
ENTRIES = st.lists(
    st.builds(
        Entry,
        candidate=st.builds(Candidate, st.sampled_from("abcdefgh"), st.sampled_from("mn")),
        in_flight=st.integers(0, 1_000),
        others_in_flight=st.integers(0, 1_000),
        ttft_s=st.none() | NUMBERS,
        per_token_s=st.none() | NUMBERS,
        usual_load=NUMBERS,
        silent_s=NUMBERS,
        failed=st.floats(0.0, 1.0),
        measured_ago_s=st.none() | NUMBERS,
        retry_in_s=st.just(0.0) | NUMBERS,
        ramp=st.floats(0.0, 1.0),
        weight=NUMBERS,
        priority=st.integers(-2, 2),
        output_tokens=st.none() | NUMBERS,
    ),
    unique_by=lambda one: one.candidate,
    min_size=1,
)


@pytest.mark.parametrize("strategy", STRATEGIES)
@given(entries=ENTRIES, seed=st.integers(0, 99), sticky=st.booleans())
def test_everybody_is_asked_once_and_the_same_chance_gives_the_same_order(
    strategy: StrategyName, entries: list[Entry], seed: int, sticky: bool
) -> None:
    asked = Asked(input_tokens=5_000, prefix="talk", prefix_tokens=4_000)
    made = planned(entries, strategy, seed=seed, asked=asked, sticky=sticky)
    assert sorted(made.candidates, key=str) == sorted((one.candidate for one in entries), key=str)
    assert made == planned(entries, strategy, seed=seed, asked=asked, sticky=sticky)
    shut = {one.candidate: one.retry_in_s for one in entries}
    assert all(not shut[a] or shut[a] <= shut[b] for a, b in pairwise(made.candidates))


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_every_place_is_explained(strategy: StrategyName) -> None:
    told = planned([entry("a", CHEAP), entry("b", DEAR)], strategy).told()
    assert told["strategy"] == strategy
    assert all(one["terms"] for one in told["candidates"])  # type: ignore[attr-defined, index]


def test_who_has_just_recovered_takes_its_share_only() -> None:
    entries = [measured("back", 0.1, ramp=0.3), measured("usual", 0.5)]
    assert 200 < firsts(entries, "latency")["back"] < 400


def test_what_has_learned_nothing_abstains() -> None:
    made = planned([measured("slow", 2.0), measured("fast", 0.2)], "learned")
    assert (names(made)[0], made.order[0].terms["learned"]) == ("fast", "abstains")
    assert "as by `latency`" in str(made.told()["note"])


# The weighed score.


def test_balanced_weighs_cost_speed_and_quality_as_the_first_router_did() -> None:
    of = entry("a", Pricing(input=0, output=50_000_000_000), typical_s=0.5, quality=0.9, output_tokens=1_000.0)
    made = planned([of], "balanced", asked=Asked(input_tokens=100))
    # $0.05 of at most $0.10; 500 of at most 2000 ms.
    assert made.order[0].terms["score"] == pytest.approx(0.5 * 0.5 + 0.3 * 0.75 + 0.2 * 0.9)


def test_local_and_preferred_ones_have_a_bonus() -> None:
    plain, near = entry("a", CHEAP), entry("b", CHEAP, local=True, preferred_provider=True, preferred_model=True)
    made = planned([plain, near], "balanced")
    assert made.order[0].terms["bonus"] == pytest.approx(1.2 * 1.1 * 1.2)
    assert names(made) == ["b", "a"]


@pytest.mark.parametrize(("mode", "first"), [("cost", "cheap"), ("performance", "fast"), ("quality", "good")])
def test_a_mode_takes_one_of_them(mode: str, first: str) -> None:
    entries = [
        entry("cheap", CHEAP, typical_s=1.0, quality=0.5),
        entry("fast", DEAR, typical_s=0.1, quality=0.5),
        entry("good", DEAR, typical_s=1.0, quality=0.9),
    ]
    assert balanced(entries, Asked(), None, mode=mode)[0].candidate.provider == first  # type: ignore[arg-type]


def test_what_is_unknown_scores_nothing() -> None:
    assert planned([entry("a")], "balanced").order[0].terms["score"] == 0.0


def test_the_table_knows_models_by_the_beginning_of_their_name() -> None:
    assert tabled("anthropic/claude-3-haiku-20240307") == (0.85, 0.2)
    assert tabled("somebody-elses") == (None, None)


# Rules.


CODE = Rule(targets=("b/m", "c"), pattern=re.compile("(?i)code"))
LONG = Rule(targets=("c",), min_tokens=1_000)
LOOKS = Rule(targets=("a",), needs_vision=True)


def ruled(asked: Asked) -> tuple[list[str], object]:
    made = planned([entry("a", CHEAP), entry("b"), entry("c")], "rules", rules=(CODE, LONG, LOOKS), asked=asked)
    return names(made), made.order[0].terms["rule"]


def test_the_first_rule_that_matches_decides() -> None:
    assert ruled(Asked(text="Some Code, please", input_tokens=5_000)) == (["b", "c", "a"], 0)
    assert ruled(Asked(text="A poem", input_tokens=5_000)) == (["c", "a", "b"], 1)
    assert ruled(Asked(text="A poem", needs=frozenset({Feature.VISION}))) == (["a", "b", "c"], 2)


def test_without_a_rule_the_score_decides() -> None:
    assert ruled(Asked(text="A poem")) == (["a", "b", "c"], None)


# What a request says.


def test_a_request_says_what_it_needs() -> None:
    image = ImagePart(url="https://host.example/a.png")
    schema = ResponseFormat(kind="json_schema", schema={"type": "object"})
    request = Request(
        messages=(Message(role=Role.USER, parts=(TextPart("what is this?"), image)), user("and that?")),
        tools=(Tool(name="look"),),
        response_format=schema,
        sampling=Sampling(max_tokens=50),
        cost=CostLimits(max_cost_nanousd=7),
    )
    asked = asked_of(request)
    assert asked.needs == {Feature.VISION, Feature.TOOLS, Feature.JSON_SCHEMA}
    assert (asked.output_limit, asked.max_cost_nanousd, asked.text) == (50, 7, "and that?")
    assert asked.input_tokens > 765


def test_a_file_that_is_text_needs_no_feature() -> None:
    note = FilePart(text="a note", name="note.txt")
    assert not asked_of(Request(messages=(Message(role=Role.USER, parts=(note,)),))).needs


def test_of_a_short_prompt_nothing_is_counted_where_nothing_depends_on_it() -> None:
    careless = {"length_matters": False, "prefix_matters": True, "text_matters": False}
    short = asked_of(ask("hello there"), window=8_000, **careless)
    assert (short.input_tokens, short.prefix, short.text) == (0, "", "")
    assert asked_of(ask("hello " * 1_000), window=8_000, **careless).input_tokens > 1_000
    assert asked_of(ask("hello there"), window=20, **careless).input_tokens > 0
    assert asked_of(talk("hi " * 1_000, "hello", "and?"), window=None, **careless).prefix_tokens > 700


# Where a conversation was before.


def talk(*texts: str, tenant: str = "") -> Request:
    roles = (Role.USER, Role.ASSISTANT)
    turns = tuple(Message(role=roles[at % 2], parts=(TextPart(text),)) for at, text in enumerate(texts))
    return Request(messages=(Message(role=Role.SYSTEM, parts=(TextPart("be kind"),)), *turns), tenant=tenant)


def named(request: Request) -> tuple[str, int]:
    return prefix_of(request, estimate_tokens(request))


def test_a_conversation_keeps_its_name_while_it_goes_on() -> None:
    first, second = named(talk("hello")), named(talk("hello", "hi " * 900, "how are you?"))
    assert first[0] == second[0]
    assert (first[1], second[1] > 0) == (0, True)


def test_other_conversations_and_other_tenants_have_other_names() -> None:
    three = {named(talk("hello"))[0], named(talk("bye"))[0], named(talk("hello", tenant="b"))[0]}
    assert len(three) == 3


def test_an_empty_request_has_a_name_too() -> None:
    assert named(Request(messages=()))[1] == 0
    assert named(ask("x"))[0] != named(Request(messages=(user("y"),)))[0]


def test_homes_are_spread_by_weight_and_move_only_when_they_go() -> None:
    entries = [entry("a"), entry("b"), entry("c", weight=2.0)]
    homes = {str(key): home_of(str(key), entries) for key in range(2_000)}
    shares = Counter(home.provider for home in homes.values() if home)
    assert 900 < shares["c"] < 1_100
    without = {key: home_of(key, entries[1:]) for key in homes}
    assert all(without[key] == home for key, home in homes.items() if home and home.provider != "a")


def test_a_conversation_goes_home_unless_home_is_busy() -> None:
    asked = Asked(input_tokens=20_000, prefix="talk", prefix_tokens=19_000, output_limit=10)
    home = home_of("talk", [entry(name) for name in "ab"])
    assert home is not None
    other = "b" if home.provider == "a" else "a"

    def pair(**at_home: object) -> list[Entry]:
        return [measured(home.provider, 2.0, pricing=CHEAP, **at_home), measured(other, 2.0, pricing=CHEAP)]

    assert firsts(pair(), "latency", asked=asked) == {home.provider: 1_000}
    assert firsts(pair(in_flight=6), "latency", asked=asked) == {other: 1_000}


def test_affinity_is_worth_no_more_than_the_discount() -> None:
    asked = Asked(input_tokens=20_000, prefix="talk", prefix_tokens=19_000, output_limit=10)
    home = home_of("talk", [entry(name) for name in "ab"])
    assert home is not None
    other = "b" if home.provider == "a" else "a"
    full_price = Pricing(input=100_000_000, output=400_000_000)
    entries = [measured(home.provider, 2.0, pricing=full_price), measured(other, 1.9, pricing=full_price)]
    assert firsts(entries, "latency", asked=asked) == {other: 1_000}


@pytest.mark.parametrize("strategy", ["round_robin", "least_loaded", "weighted"])
def test_a_session_sticks_to_its_home_until_that_is_full(strategy: StrategyName) -> None:
    asked = Asked(session="s-1")
    loose = [entry("a"), entry("b"), entry("c")]
    home = home_of("s-1", loose)
    assert home is not None
    assert firsts(loose, strategy, asked=asked, sticky=True) == {home.provider: 1_000}
    full = [entry(name, in_flight=50 if name == home.provider else 0) for name in "abc"]
    made = planned(full, strategy, asked=asked, sticky=True)
    stuck = next(one for one in made.order if one.candidate == home)
    assert stuck.terms["sticky"] == "full"
