"""Lines of logs: what is in them, and what is not."""

from __future__ import annotations

import json
import logging
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.log_lines import COVERED, LONGEST, Lines


def line(event: str = "feed.lost", *, content: bool = False, error: BaseException | None = None, **extra: Any) -> Any:
    exc = (type(error), error, error.__traceback__) if error is not None else None
    record = logging.LogRecord("raygate.edge", logging.WARNING, "edge.py", 1, event, (), exc)
    vars(record).update(extra)
    text = Lines("edge", content=content).format(record)
    assert "\n" not in text
    return json.loads(text)


def test_an_event_is_one_line_with_its_fields() -> None:
    said = line(why="it is away", again_in_s=0.5, edges=("a", "b"), nothing=None)
    assert said.pop("at").endswith("Z")
    assert said.pop("pid") > 0
    assert said == {
        "level": "warning",
        "event": "feed.lost",
        "process": "edge",
        "logger": "raygate.edge",
        "why": "it is away",
        "again_in_s": 0.5,
        "edges": ["a", "b"],
        "nothing": None,
    }


@pytest.mark.parametrize(
    "key",
    [
        "sk-proj-abcdefgh12345678",
        "rg-abcdefghijkl",
        "AIzaSyA1234567890abcdefghijk",
        "Bearer abcdefghijklmnop",
        "gsk_abcdefgh1",
    ],
)
def test_no_key_is_in_any_line(key: str) -> None:
    said = line(f"it said {key}", content=True, why=f"401 for {key}.", many=[key], api_key="x", authorization="y")
    assert key not in json.dumps(said)
    assert COVERED in said["why"]
    assert not {"api_key", "authorization"} & said.keys()


def test_what_people_say_is_told_only_where_it_is_asked_for() -> None:
    with pytest.raises(ValueError, match="diagnosis") as raised:
        _refuse("my diagnosis")
    error = raised.value
    plain = line(error=error, prompt="my diagnosis", messages=["my diagnosis"])
    asked = line(error=error, prompt="my diagnosis", content=True)
    assert "diagnosis" not in json.dumps(plain)
    assert (plain["error"]["type"], asked["prompt"]) == ("ValueError", "my diagnosis")
    assert "test_what_people_say" in plain["error"]["at"][0]
    assert asked["error"]["message"] == "cannot read 'my diagnosis'"


@given(
    st.dictionaries(st.text(max_size=5), st.recursive(st.none() | st.text() | st.integers() | st.floats(), st.lists))
)
def test_whatever_the_fields_are_it_is_json(fields: dict[str, Any]) -> None:
    known = vars(logging.makeLogRecord({}))
    line(**{"x" + name: value for name, value in fields.items() if "x" + name not in known})


def test_a_field_takes_no_name_of_ours_and_no_more_than_its_room() -> None:
    said = line(error=None, why="x" * 10_000, level="mine")
    assert (said["level"], said["field.level"]) == ("warning", "mine")
    assert len(said["why"]) == LONGEST + 1


def _refuse(said: str) -> None:
    raise ValueError(f"cannot read {said!r}")
