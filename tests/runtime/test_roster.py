"""How all providers stand, as one manager knows."""

from dataclasses import replace

from runtime.feed import DoorState, Published
from runtime.roster import Roster

OPEN = Published(provider="alpha", spell=3, open=True, retry_in_s=10.0)


def test_the_first_word_of_an_authority_is_news() -> None:
    roster = Roster()
    assert roster.adopt(OPEN, 0.0)
    assert roster.last("alpha", 4.0) == replace(OPEN, retry_in_s=6.0)


def test_the_passing_of_time_alone_is_no_news() -> None:
    roster = Roster()
    roster.adopt(OPEN, 0.0)
    assert not roster.adopt(replace(OPEN, retry_in_s=6.0), 4.0)
    assert roster.adopt(replace(OPEN, retry_in_s=30.0), 4.0)


def test_a_word_that_was_overtaken_changes_nothing() -> None:
    roster = Roster()
    roster.adopt(OPEN, 0.0)
    assert not roster.adopt(Published(provider="alpha", spell=2), 1.0)
    assert roster.status("alpha", max_in_flight=None, now=1.0).breaker == "open"


def test_a_model_that_is_shut_is_news_and_shown_while_the_provider_serves() -> None:
    roster = Roster()
    roster.adopt(Published(provider="alpha"), 0.0)
    shut = Published(provider="alpha", models={"large": DoorState(open=True, retry_in_s=5.0)})
    assert roster.adopt(shut, 1.0)
    assert roster.is_shut("alpha")
    status = roster.status("alpha", max_in_flight=8, now=2.0)
    assert (status.available, status.breaker, status.models["large"].state) == (True, "closed", "open")


def test_who_is_forgotten_stands_as_one_never_heard_of() -> None:
    roster = Roster()
    roster.adopt(OPEN, 0.0)
    roster.forget("alpha")
    assert roster.last("alpha", 0.0) is None
    assert roster.published(0.0) == ()
    assert roster.status("alpha", max_in_flight=None, now=0.0).available
