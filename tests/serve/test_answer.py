"""What the headers of an answer say of how it came about."""

from __future__ import annotations

import json

import pytest

from runtime.gateway import Gateway
from tests.fakes.gateway import Rigs, text
from tests.fakes.loop import LoopClock, in_virtual_time
from tests.serve.test_app import Served, chat


@pytest.mark.parametrize("stream", [False, True])
def test_a_hedge_is_an_attempt_but_none_that_failed(*, stream: bool) -> None:
    async def test() -> None:
        clock = LoopClock()
        targets = {"targets": ["a/m", "b/m"], "hedge": {"after_s": 1, "max_share": 1}}
        settings = {"routes": {"any": targets}, "providers": {"b": {"priority": -1}}}
        made = Rigs(clock=clock, sleep=clock.sleep, settings=settings, a=text("slow", delay_s=9.0), b=text("fast"))
        served = Served()
        gateway: Gateway = made.gateway
        served.edge.gateway = gateway
        call = await served(chat(model="any", stream=stream))
        assert call.status == 200
        assert (call.headers["x-raygate-attempts"], call.headers["x-raygate-hedged"]) == ("2", "1")
        assert call.headers["x-raygate-provider"] == "b"
        assert "x-raygate-failed-attempts" not in call.headers
        if not stream:
            assert json.loads(call.body)["choices"][0]["message"]["content"] == "fast"
        await gateway.close()

    in_virtual_time(test)
