"""The verdict on what clients found, and that the lists which it goes by agree with each other."""

from __future__ import annotations

import json

from tests.clients.known import KNOWN
from tests.clients.run import CLIENTS, HERE
from tests.clients.table import COLUMNS, Check, Known, Row, cell, faults, reasons, render

RIGHT, WRONG = Check("chat", "an answer", ""), Check("chat", "a thought", "it was silent")
THOUGHT: Known = {("one", "chat", "a thought"): "it cannot think"}


def row(*checks: Check, ended: str = "", absent: str = "") -> Row:
    return Row("one", "1.0", ("chat",), checks=checks, ended=ended, absent=absent)


def test_all_that_was_tried_holds() -> None:
    assert cell(row(RIGHT), "chat", {}) == "ok 1"
    assert faults(row(RIGHT), {}) == []


def test_what_does_not_hold_is_a_fault_with_its_cause() -> None:
    assert cell(row(RIGHT, WRONG), "chat", {}) == "FAIL 1/2"
    assert faults(row(RIGHT, WRONG), {}) == ["one 1.0: chat: a thought: it was silent"]


def test_what_is_known_is_no_fault_and_is_named_with_its_reason() -> None:
    assert cell(row(RIGHT, WRONG), "chat", THOUGHT) == "known 1/2"
    assert faults(row(RIGHT, WRONG), THOUGHT) == []
    assert reasons([row(RIGHT, WRONG)], THOUGHT) == ["one 1.0: chat: a thought: it cannot think"]


def test_what_is_known_but_holds_is_a_fault_of_the_list() -> None:
    (fault,) = faults(row(Check("chat", "a thought", "")), THOUGHT)
    assert "holds" in fault


def test_a_column_of_which_nothing_was_said_is_a_fault() -> None:
    assert cell(row(), "chat", {}) == "MISSING"
    assert faults(row(), {}) == ["one 1.0: chat: nothing was tried"]


def test_a_script_that_ended_badly_is_a_fault_whatever_it_had_said() -> None:
    assert faults(row(RIGHT, ended="exit status 1"), {}) == ["one 1.0: exit status 1"]


def test_a_client_that_is_not_installed_says_so_and_spoils_no_other_row() -> None:
    rows = [row(absent="it is missing"), row(RIGHT)]
    table = render(rows, {}).splitlines()
    assert "not installed" in table[1]
    assert "ok 1" in table[2]
    assert faults(rows[0], {}) == ["one 1.0: it is missing"]


def test_what_the_client_has_not_is_a_dash() -> None:
    assert cell(row(RIGHT), "embed", {}) == "-"


def test_what_is_known_is_of_clients_and_columns_that_there_are() -> None:
    assert {client for client, _, _ in KNOWN} <= {one.name for one in CLIENTS}
    assert {column for _, column, _ in KNOWN} <= set(COLUMNS)


def test_every_client_has_its_script_and_a_pinned_environment() -> None:
    node = json.loads((HERE / "node" / "package.json").read_text())["dependencies"]
    for one in CLIENTS:
        if one.script.endswith(".py"):
            pins = (HERE / "requirements" / f"{one.package}-{one.version}.txt").read_text()
            assert f"=={one.version}" in pins
            assert (HERE / "py" / one.script).exists()
        else:
            assert node[one.package] == one.version
            assert (HERE / "node" / one.script).exists()


def test_clients_do_not_see_each_others_models() -> None:
    assert len({one.tag for one in CLIENTS}) == len(CLIENTS)
