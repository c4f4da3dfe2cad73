"""Keys and accounts over HTTP: a real ledger in SQLite behind the real application."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from runtime.ledger.accounts import sha256_of
from tests.fakes.asgi import Call
from tests.serve.office import Office, opened


async def test_a_key_is_shown_once_and_lets_its_holder_in(office: Office) -> None:
    made = await office.got("POST", "keys", {"name": "ci"})
    assert made["key"].startswith("rg-")
    assert (await office.chat(made["key"])).status == 200
    listed = await office.got("GET", "keys")
    assert [one["name"] for one in listed["keys"]] == ["ci"]
    assert "key" not in listed["keys"][0]
    assert made["key"] not in json.dumps(listed)
    assert sha256_of(made["key"]) not in json.dumps(listed)


async def test_a_revoked_key_lets_nobody_in(office: Office) -> None:
    made = await office.got("POST", "keys", {"name": "ci"})
    await office.chat(made["key"])
    await office.got("DELETE", f"keys/{made['id']}")
    office.served.edge.passes.renew({made["id"]})
    call = await office.chat(made["key"])
    assert (call.status, call.error()["code"]) == (401, "key_revoked")


async def test_only_an_admin_is_answered(office: Office) -> None:
    made = await office.got("POST", "keys", {"name": "ci"})
    call = await office.ask("GET", "keys", key=made["key"])
    assert (call.status, call.error()["code"]) == (403, "admin_only")
    chief = await office.got("POST", "keys", {"name": "chief", "admin": True})
    assert (await office.ask("GET", "keys", key=chief["key"])).status == 200
    assert (await office.ask("GET", "keys", key="rg-nobody")).status == 401


async def test_a_key_is_good_in_its_networks_alone(office: Office) -> None:
    made = await office.got("POST", "keys", {"networks": ["10.0.0.0/8"]})
    assert (await office.chat(made["key"], client=("10.1.2.3", 5))).status == 200
    call = await office.chat(made["key"], client=("192.168.0.1", 5))
    assert (call.status, call.error()["code"]) == (403, "ip_not_allowed")


async def test_a_callers_own_word_for_his_address_counts_for_nothing(office: Office) -> None:
    made = await office.got("POST", "keys", {"networks": ["10.0.0.0/8"]})
    headers = [(b"authorization", f"Bearer {made['key']}".encode()), (b"x-raygate-peer", b"10.1.1.1")]
    call = await office.chat(made["key"], client=("192.168.0.1", 5), headers=headers)
    assert call.status == 403
    # Our own proxy writes that header anew, and what it says counts.
    office.served.edge.behind_proxy = True
    assert (await office.chat(made["key"], client=("127.0.0.1", 5), headers=headers)).status == 200


async def test_teams_and_organisations_stand_above_keys(office: Office) -> None:
    await office.got("POST", "orgs/acme", {"name": "Acme", "budgets": [{"period": "monthly", "limit_usd": 100}]})
    await office.got("POST", "teams/red", {"org": "acme", "rate": {"requests_per_min": 60}})
    made = await office.got("POST", "keys", {"team": "red"})
    assert (made["team"], made["org"]) == ("red", "acme")
    found = await office.got("GET", "accounts")
    assert found["orgs"][0]["budgets"][0]["limit_usd"] == 100
    assert found["teams"][0]["rate"]["requests_per_min"] == 60


async def test_a_budget_takes_the_place_of_the_one_for_the_same_period(office: Office) -> None:
    made = await office.got("POST", "keys", {})
    where = f"budgets/key/{made['id']}"
    await office.got("POST", where, {"period": "daily", "limit_usd": "0.50"})
    await office.got("POST", where, {"period": "day", "limit_usd": 2})
    await office.got("POST", where, {"period": "total", "limit_usd": 9})
    key = await office.got("GET", f"keys/{made['id']}")
    assert [(one["period"], one["limit_nanousd"]) for one in key["budgets"]] == [
        ("day", 2 * 10**9),
        ("total", 9 * 10**9),
    ]
    await office.got("DELETE", f"{where}/total")
    assert (await office.ask("DELETE", f"{where}/total")).status == 404


async def test_every_change_leaves_a_trail_that_says_who(office: Office) -> None:
    made = await office.got("POST", "keys", {"name": "ci"})
    await office.got("PATCH", f"keys/{made['id']}", {"name": "cd"})
    trail = (await office.got("GET", "audit"))["entries"]
    assert [(one["who"], one["what"]) for one in trail] == [("bootstrap", "key.created"), ("bootstrap", "key.changed")]
    assert (trail[1]["before"]["name"], trail[1]["after"]["name"]) == ("ci", "cd")
    assert sha256_of(made["key"]) not in json.dumps(trail)


@pytest.mark.parametrize(
    ("method", "path", "body", "says"),
    [
        ("POST", "keys", {"nmae": "x"}, "nmae"),
        ("POST", "keys", {"budgets": [{"period": "yearly", "limit_usd": 1}]}, "period"),
        ("POST", "keys", {"budgets": [{"period": "daily", "limit_usd": -1}]}, "limit_usd"),
        ("POST", "keys", {"team": "nobody"}, "no team 'nobody'"),
        ("POST", "keys", {"networks": ["here"]}, "no IP range"),
        ("POST", "keys", {"expires_at": 1, "expires_in_days": 1}, "expires_at"),
        ("POST", "keys", [], "body"),
        ("POST", "budgets/house/x", {"period": "daily", "limit_usd": 1}, "house"),
        ("POST", "teams/a b", {}, "a b"),
        ("GET", "audit?afer=1", None, "afer"),
        ("GET", "audit?after=x", None, "digits"),
        ("GET", "spend?last=7", None, "24h"),
        ("GET", "spend?by=colour", None, "by is of"),
        ("GET", "elsewhere", None, "models="),
        ("GET", "export?format=xlsx", None, "parquet"),
        ("GET", "export?last=ever", None, "24h"),
        ("GET", "export?colour=red", None, "colour"),
    ],
)
async def test_what_is_wrong_is_named(office: Office, method: str, path: str, body: Any, says: str) -> None:
    call = await office.ask(method, path, body)
    assert call.status in (400, 404)
    assert says in call.error()["message"]


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [("PUT", "keys", 405), ("GET", "nothing", 404), ("GET", "keys/none", 404)],
)
async def test_what_there_is_not(office: Office, method: str, path: str, status: int) -> None:
    assert (await office.ask(method, path, {} if method == "PUT" else None)).status == status


async def test_accounts_outlive_their_ledger(tmp_path: Path) -> None:
    for turn in range(2):
        office = Office(await opened(tmp_path))
        if turn == 0:
            made = await office.got("POST", "keys", {"name": "ci"})
        assert (await office.chat(made["key"])).status == 200
        await office.close()


async def test_a_rate_is_kept_and_told_in_openais_headers(office: Office) -> None:
    made = await office.got("POST", "keys", {"rate": {"requests_per_min": 2, "tokens_per_min": 100_000}})
    first, second, third = [await office.chat(made["key"]) for _ in range(3)]
    assert (first.status, second.status) == (200, 200)
    assert first.headers["x-ratelimit-limit-requests"] == "2"
    assert second.headers["x-ratelimit-remaining-requests"] == "0"
    assert int(second.headers["x-ratelimit-remaining-tokens"]) < 100_000
    assert (third.status, third.error()["code"]) == (429, "rate_limit_exceeded")
    assert int(third.headers["retry-after"]) >= 1


async def test_streams_and_plain_answers_share_one_rate(office: Office) -> None:
    made = await office.got("POST", "keys", {"rate": {"requests_per_min": 1}})
    body = {"model": "one/m", "messages": [{"role": "user", "content": "hi"}], "stream": True}
    headers = [(b"authorization", f"Bearer {made['key']}".encode())]
    call = await office.served(Call("POST", "/v1/chat/completions", body=json.dumps(body).encode(), headers=headers))
    assert call.status == 200
    assert (await office.chat(made["key"])).status == 429


async def test_so_many_at_one_time_and_a_place_is_given_back(office: Office) -> None:
    made = await office.got("POST", "keys", {"rate": {"concurrent": 1}})
    for _ in range(3):
        assert (await office.chat(made["key"])).status == 200


async def test_a_caller_without_limits_hears_of_none(office: Office) -> None:
    made = await office.got("POST", "keys", {})
    assert not [name for name in (await office.chat(made["key"])).headers if name.startswith("x-ratelimit")]


async def test_a_key_may_use_its_models_and_ask_for_its_routes_alone(office: Office) -> None:
    other = await office.got("POST", "keys", {"models": ["other/*"]})
    call = await office.chat(other["key"])
    assert (call.status, call.error()["code"]) == (403, "model_not_allowed")
    assert "other/*" in call.error()["message"]
    narrow = await office.got("POST", "keys", {"routes": ["fast"]})
    call = await office.chat(narrow["key"])
    assert (call.status, call.error()["code"]) == (403, "route_not_allowed")
    right = await office.got("POST", "keys", {"models": ["one/*"], "routes": ["one/*"]})
    assert (await office.chat(right["key"])).status == 200


async def test_where_no_key_is_asked_for_an_admin_still_needs_his(office: Office) -> None:
    edge = office.served.edge
    edge.settings = edge.settings.model_copy(update={"auth": False})
    assert (await office.chat("")).status == 200
    call = await office.ask("GET", "keys", key="")
    assert (call.status, call.error()["code"]) == (403, "admin_only")
    assert (await office.ask("GET", "keys")).status == 200


@pytest.mark.parametrize("only", ["tag=x", "model=m", "tag=x&team=t"])
async def test_what_it_would_have_cost_elsewhere_may_be_asked_of_a_part(office: Office, only: str) -> None:
    assert (await office.got("GET", f"elsewhere?models=one/m&{only}"))["spent_nanousd"] == 0


async def test_sums_that_are_not_kept_are_refused_with_those_that_are(office: Office) -> None:
    call = await office.ask("GET", "elsewhere?models=one/m&tag=x&provider=one")
    assert call.status == 400
    assert "are not kept by" in call.error()["message"]
