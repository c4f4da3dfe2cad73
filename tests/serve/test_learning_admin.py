"""What admins decide about learning, over HTTP: with RuVector's real actor and a real ledger behind it."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from runtime.learning.sharing import MOST_BYTES, zipped
from runtime.memory.embed import HashedNgrams
from runtime.sona.evaluate import Always, evaluate
from runtime.sona.federate import Bundle, Provenance
from runtime.sona.trajectory import read
from tests.fakes.asgi import Call
from tests.fakes.learning import Near, actor, edge_learning
from tests.serve.office import Office, opened
from tests.serve.test_learning import HELLO, PRICES, ROUTES
from tests.serve.test_openapi import described, valid


class School(Office):
    """An office whose application learns."""

    async def asked(self, *numbers: int, score: float | None = None) -> None:
        for number in numbers:
            body = {"model": "pick", "messages": [{"role": "user", "content": f"tell me of the sea, {number}"}]}
            name = (b"x-request-id", f"req_{number}".encode())
            headers = [(b"authorization", b"Bearer rg-root"), name]
            call = await self.served(
                Call("POST", "/v1/chat/completions", body=json.dumps(body).encode(), headers=headers)
            )
            assert call.status == 200, call.body
            if score is not None:
                said = json.dumps({"request_id": f"req_{number}", "score": score}).encode()
                judged = await self.served(Call("POST", "/v1/feedback", body=said, headers=headers[:1]))
                assert judged.status == 200, judged.body


@pytest.fixture
async def school(tmp_path: Path) -> AsyncGenerator[School]:
    from tests.serve.test_app import Served

    made = School(await opened(tmp_path))
    served = Served(HELLO, models=PRICES, routes=ROUTES, default_model="pick")
    ours = made.served.edge
    served.edge.ledger, served.edge.till, served.edge.keys = ours.ledger, ours.till, ours.keys
    served.edge.passes = ours.passes
    made.served = served
    owner = actor(tmp_path / "state", warm_up=8, least_feedback=4)
    served.edge.learning = edge_learning(Near(owner))
    served.edge.gateway.policy = replace(served.edge.gateway.policy, adviser=served.edge.learning)
    await served.edge.learning.awake()
    yield made
    await served.edge.learning.stop()
    await owner.close()
    await made.close()


async def test_the_log_is_a_file_on_which_other_policies_are_judged(school: School, tmp_path: Path) -> None:
    await school.asked(*range(12), score=0.75)
    call = await school.ask("GET", "learning/trajectories")
    assert (call.status, call.headers["content-type"]) == (200, "application/x-ndjson")
    (tmp_path / "log.jsonl").write_bytes(call.body)
    rows = list(read(tmp_path / "log.jsonl"))
    assert [row.request for row in rows] == [f"req_{number}" for number in range(12)]
    found = evaluate(rows, Always(rows[0].chosen))
    assert (found.rows, found.judged) == (12, 12)
    assert found.measures["quality"].logged == pytest.approx(0.75)
    assert all(row.vector and row.cost_nanousd for row in rows)


async def test_each_way_does_what_it_says_and_answers_as_described(school: School) -> None:
    async def ask(method: str, told: str, path: str = "") -> Any:
        answer = await school.got(method, path or told)
        valid(described(method, f"/admin/{told}")["responses"]["200"]["content"]["application/json"]["schema"], answer)
        return answer

    await school.asked(*range(10), score=1.0)
    state = await ask("GET", "learning")
    assert (state["org"], state["prompts"], state["judged"], state["paused"]) == ("default", 10, 10.0, False)
    assert set(state["models"]) == {"one/a", "one/b"}
    await ask("POST", "learning/pause")
    await school.asked(10, 11, score=1.0)
    state = await ask("GET", "learning")
    assert (state["prompts"], state["paused"]) == (10, True)
    assert (await ask("POST", "learning/resume"))["number"] == 4
    there = (await ask("GET", "learning/snapshots"))["snapshots"]
    await ask("POST", "learning/reset")
    assert (await ask("GET", "learning"))["prompts"] == 0
    last = there[0]["snapshot"]
    assert (await ask("POST", "learning/rollback", f"learning/rollback?snapshot={last}"))["number"] == last
    assert (await ask("GET", "learning"))["prompts"] == 10
    assert (await ask("DELETE", "learning/traces/{id}", "learning/traces/req_3"))["number"] == 3
    assert (await school.ask("DELETE", "learning/traces/req_3")).status == 404
    assert (await school.ask("DELETE", "learning/traces")).status == 400
    await ask("DELETE", "learning/traces", "learning/traces?org=default")
    assert (await school.ask("GET", "learning/trajectories")).body == b""
    trail = (await school.got("GET", "audit"))["entries"]
    assert [one["what"].removeprefix("learning.") for one in trail] == [
        *("pause", "resume", "reset", "rollback", "forget", "forget", "forget"),
    ]
    assert {(one["who"], one["subject"]) for one in trail} == {("bootstrap", "org/default")}


async def test_only_an_admin_may(school: School) -> None:
    made = await school.got("POST", "keys", {"name": "ci"})
    for method, path in (("POST", "reset"), ("GET", "trajectories"), ("DELETE", "traces/req_1")):
        call = await school.ask(method, f"learning/{path}", key=made["key"])
        assert (call.status, call.error()["code"]) == (403, "admin_only")


async def test_without_a_trail_nothing_is_done(school: School) -> None:
    await school.asked(*range(9))
    await school.ledger._store.close()
    assert (await school.ask("POST", "learning/reset")).status in (500, 503)
    assert (await school.got("GET", "learning"))["prompts"] == 9


async def test_a_calibration_is_learned_and_noted(school: School) -> None:
    tried = [{"model": name, "quality": quality, "cost_usd": 0.001} for name, quality in (("one/a", 1), ("one/b", 0.2))]
    told = {"outcomes": [{"prompt": f"tell me of the sea, {number}", "tried": tried} for number in range(20)]}
    done = await school.got("POST", "learning/outcomes", told)
    valid(
        described("POST", "/admin/learning/outcomes")["responses"]["200"]["content"]["application/json"]["schema"], done
    )
    assert (done["org"], done["number"]) == ("default", 40)
    assert (await school.got("POST", "learning/outcomes?org=other", told))["number"] == 40
    assert (await school.got("POST", "learning/outcomes", told))["number"] == 0
    known = (await school.got("GET", "learning"))["models"]
    assert known["one/a"]["quality"] > known["one/b"]["quality"] + 0.5
    trail = (await school.got("GET", "audit"))["entries"]
    assert trail[0]["what"] == "learning.outcomes"
    wrong = await school.ask("POST", "learning/outcomes", {"outcomes": [{"prompt": "x", "tried": []}]})
    assert (wrong.status, "outcomes.0.tried" in wrong.error()["message"]) == (400, True)
    made = await school.got("POST", "keys", {"name": "ci"})
    assert (await school.ask("POST", "learning/outcomes", told, key=made["key"])).status == 403


async def test_what_one_organisation_learned_teaches_another_if_an_admin_wants_it(school: School) -> None:
    await school.asked(*range(20), score=1.0)
    call = await school.ask("GET", "learning/patterns?who=berlin")
    assert (call.status, call.headers["content-type"]) == (200, "application/zip")
    done = await school.got("POST", "learning/patterns?org=other", call.body)
    schema = described("POST", "/admin/learning/patterns")["responses"]["200"]["content"]["application/json"]["schema"]
    valid(schema, done)
    assert (done["org"], done["who"], done["known"]) == ("other", "berlin", [])
    state = await school.got("GET", "learning?org=other")
    valid(described("GET", "/admin/learning")["responses"]["200"]["content"]["application/json"]["schema"], state)
    assert [one["who"] for one in state["imports"]] == ["berlin"]
    again = await school.ask("POST", "learning/patterns?org=other", call.body)
    assert (again.status, again.error()["code"]) == (409, "already_imported")
    own = (await school.ask("GET", "learning/patterns")).body
    assert (await school.ask("POST", "learning/patterns", own)).status == 409
    trail = (await school.got("GET", "audit"))["entries"]
    assert {"learning.share", "learning.import"} <= {one["what"] for one in trail}
    made = await school.got("POST", "keys", {"name": "ci"})
    for method in ("GET", "POST"):
        assert (await school.ask(method, "learning/patterns", call.body, key=made["key"])).status == 403


async def test_what_is_no_export_of_ours_is_refused_and_says_why(school: School) -> None:
    other = HashedNgrams(32)
    foreign = Bundle(provenance=Provenance(who="x", at=1.0, embedder=other.name, dim=other.dim))
    wrong = await school.ask("POST", "learning/patterns", zipped(foreign))
    assert (wrong.status, wrong.error()["code"]) == (409, "other_embedder")
    assert other.name in wrong.error()["message"]
    for body in (b"", b"no zip"):
        call = await school.ask("POST", "learning/patterns", body)
        assert (call.status, call.error()["code"]) == (400, "bad_export")
    assert (await school.ask("POST", "learning/patterns", b"x" * (MOST_BYTES + 1))).status == 413
    assert (await school.ask("GET", "learning/patterns?who=%0A")).status == 400
