"""Free calls: to whom nobody talks, and with keys that were refused. Without Ray, over real sockets or a script."""

from __future__ import annotations

from typing import Any

from actors.clock import SENSES
from actors.prober import Prober
from runtime.authority import Authority
from runtime.feed import AuthorityPolicy, Exchange, Observed
from runtime.keyring import Key, KeyState
from tests.fakes.upstream import Upstream, reply

IDLE = AuthorityPolicy(health_every_s=0.001)
SECRET = "sk-aaaaaaaaaaaaaaaa-1111"


class Probed:
    """A prober, its authority, and how often it called a change."""

    def __init__(self, policy: AuthorityPolicy = IDLE, **provider: Any) -> None:
        self.authority = Authority("p", policy, now=SENSES.clock() - 60.0)
        self.changes = 0
        self.prober = Prober("p", self.authority, self._changed)
        settings = {"local": {"enabled": False}, "providers": {"p": provider}} if provider else None
        self.configured = self.prober.follow(Exchange(policy=policy, spell_floor=0, settings=settings))

    async def _changed(self) -> None:
        self.changes += 1

    async def round(self) -> None:
        await self.prober.round()
        await self.prober.close()

    @property
    def is_open(self) -> bool:
        return self.authority.published(SENSES.clock()).open


async def test_nobody_there_shuts_an_idle_provider_and_somebody_opens_it_again() -> None:
    async with Upstream() as upstream:
        url = upstream.url
    probed = Probed(kind="custom", base_url=f"{url}/v1")
    await probed.round()
    assert probed.is_open
    assert "could not connect" in probed.authority.published(SENSES.clock()).why
    probed.authority.close()
    scripted = Probed(kind="scripted")
    scripted.authority.free_call(SENSES.clock(), reached=False)
    assert scripted.is_open
    await scripted.round()
    assert (scripted.is_open, scripted.changes) == (False, 1)


async def test_an_answer_of_any_kind_is_a_sign_of_life() -> None:
    async with Upstream() as upstream:
        upstream.on("/v1/models", reply(b"broken", status=500))
        probed = Probed(kind="custom", base_url=f"{upstream.url}/v1")
        await probed.round()
        assert (probed.is_open, probed.changes, len(upstream.requests)) == (False, 0, 1)


async def test_who_is_called_is_not_probed() -> None:
    async with Upstream() as upstream:
        probed = Probed(AuthorityPolicy(health_every_s=30.0), kind="custom", base_url=f"{upstream.url}/v1")
        probed.authority.apply("edge", [Observed(provider="p", model="m", spell=0, good=1)], SENSES.clock())
        await probed.round()
        assert not upstream.requests


async def test_a_refused_key_is_healed_where_a_free_call_proves_it() -> None:
    key = Key(SECRET).fingerprint
    refused = KeyState(key=key, why="disabled", retry_in_s=600.0)
    for kind, heals in (("openai", True), ("custom", False)):
        async with Upstream() as upstream:
            upstream.on("/v1/models", reply(b'{"object":"list","data":[]}'))
            probed = Probed(
                AuthorityPolicy(health_every_s=1e6), kind=kind, base_url=f"{upstream.url}/v1", api_key=SECRET
            )
            seen = Observed(provider="p", model="m", spell=0, silent=1, keys=(refused,))
            probed.authority.apply("edge", [seen], SENSES.clock())
            await probed.round()
            assert probed.changes == heals
            assert bool(probed.authority.published(SENSES.clock()).keys) is not heals


async def test_without_settings_it_asks_nobody_and_says_so() -> None:
    probed = Probed()
    assert not probed.configured
    await probed.round()
    assert probed.changes == 0
