"""Our own description: every way there is, and answers as they really come."""

from __future__ import annotations

import json
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from serve.admin import WAYS
from serve.admin_openapi import path_of
from serve.openapi import document, page
from tests.ledger.rows import row
from tests.serve.office import NOW, Office

DOCUMENT = document("1")


def described(method: str, path: str) -> dict[str, Any]:
    found: dict[str, Any] = DOCUMENT["paths"][path][method.lower()]
    return found


def valid(schema: Any, value: Any) -> None:
    Draft202012Validator({**schema, "components": DOCUMENT["components"]}).validate(value)


def test_the_document_has_every_way_for_admins_and_no_other() -> None:
    told = {
        (method.upper(), path)
        for path, methods in DOCUMENT["paths"].items()
        for method in methods
        if path.startswith("/admin/")
    }
    assert told == {(way.method, path_of(way)) for way in WAYS}


@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.ask)
def test_parameters_and_errors_are_told(way: Any) -> None:
    said = described(way.method, path_of(way))
    told = {(one["in"], one["name"]) for one in said["parameters"]}
    names = {("path", part.strip("{}")) for part in way.path if part.startswith("{")}
    assert told == names | {("query", name) for name in way.query}
    assert {"200", "403", "404", "default"} <= said["responses"].keys()
    # One takes a file as it is.
    assert ("requestBody" in said) is (way.body is not None or way.ask == "learning_take_in")


def test_what_is_referred_to_is_there() -> None:
    text = json.dumps(DOCUMENT)
    named = {part.partition('"')[0] for part in text.split("#/components/schemas/")[1:]}
    assert named <= DOCUMENT["components"]["schemas"].keys()
    ids = [said["operationId"] for methods in DOCUMENT["paths"].values() for said in methods.values()]
    assert len(ids) == len(set(ids))


def test_people_see_them_too() -> None:
    shown = page("1")
    assert all(path_of(way) in shown and way.summary.split(";")[0] in shown for way in WAYS)


async def test_bodies_and_answers_are_as_described(office: Office) -> None:
    async def ask(method: str, told: str, path: str, body: Any = None) -> Any:
        said = described(method, f"/admin/{told}")
        if body is not None:
            valid(said["requestBody"]["content"]["application/json"]["schema"], body)
        answer = await office.got(method, path, body)
        valid(said["responses"]["200"]["content"]["application/json"]["schema"], answer)
        return answer

    budget = {"period": "month", "limit_usd": "12.50"}
    await ask("POST", "orgs/{id}", "orgs/acme", {"name": "Acme", "budgets": [budget]})
    await ask("POST", "teams/{id}", "teams/red", {"org": "acme", "rate": {"requests_per_min": 60}})
    made = await ask("POST", "keys", "keys", {"team": "red", "tags": ["ci"], "expires_in_days": 3})
    at = f"keys/{made['id']}"
    await ask("PATCH", "keys/{id}", at, {"name": "other", "budgets": [budget]})
    await ask("GET", "keys/{id}", at)
    await ask("GET", "keys", "keys")
    await ask("GET", "accounts", "accounts")
    await ask("POST", "budgets/{scope}/{id}", f"budgets/key/{made['id']}", {"period": "day", "limit_usd": 1})
    await ask("GET", "budgets", "budgets")
    await ask("DELETE", "budgets/{scope}/{id}/{period}", f"budgets/key/{made['id']}/day")
    now_ms = round(NOW * 1_000)
    attempts = [row("w:1", at_ms=now_ms - 1), row("w:2", at_ms=now_ms - 10**8), row("w:3", at_ms=now_ms, cost=None)]
    assert await office.ledger._store.append(attempts)
    spend = await ask("GET", "spend", "spend?by=model,key&each=day&last=7d")
    assert len(spend["lines"]) == 2
    await ask("GET", "rows", "rows?limit=5&last=7d")
    await ask("GET", "elsewhere", "elsewhere?models=openai/gpt-4o-mini,no/body")
    await ask("GET", "audit", "audit?after=1")
    await ask("GET", "ledger", "ledger")
    await ask("DELETE", "keys/{id}", at)
    error = await office.ask("GET", "keys/nobody")
    valid(
        described("GET", "/admin/keys/{id}")["responses"]["404"]["content"]["application/json"]["schema"],
        json.loads(error.body),
    )
