"""Whether each provider can be reached, and takes its key: by the free call that lists its models."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Mapping

from actors.clock import SENSES
from runtime.assemble import PROVES_KEYS, Workshop
from runtime.catalog import Catalog
from runtime.outcome import Failure, FailureKind
from runtime.settings import BadSettings, ProviderKind, Settings
from serve.cli.doctor.findings import Finding, Mark

PATIENCE_S = 10.0
OURS = frozenset((ProviderKind.LOCAL, ProviderKind.SCRIPTED))
"""Kinds that are nowhere else."""


def look(settings: Settings, env: Mapping[str, str]) -> list[Finding]:
    """Ask all at once, each of their keys."""

    async def all_of_them() -> list[Finding]:
        asked = [_provider(name, settings, env) for name, one in settings.providers.items() if one.kind not in OURS]
        return [finding for findings in await asyncio.gather(*asked) for finding in findings]

    return asyncio.run(all_of_them())


async def _provider(name: str, settings: Settings, env: Mapping[str, str]) -> list[Finding]:
    workshop = Workshop(senses=SENSES, rng=random.Random(), sleep=asyncio.sleep, env=env)
    try:
        upstream = workshop.provider(name, settings, catalog=Catalog(settings))
    except BadSettings as bad:
        return [
            Finding(name, Mark.WRONG, str(one), "set the variable, or take the provider out") for one in bad.problems
        ]
    at = upstream.spec.target.base_url
    keys = list(upstream.spec.secrets) or [""]
    found = []
    try:
        for number, key in enumerate(keys, 1):
            which = f"key {number} of {len(keys)} " if len(keys) > 1 else "its key "
            begun = time.perf_counter()
            try:
                async with asyncio.timeout(PATIENCE_S):
                    failure = await upstream.free_call(key)
            except TimeoutError:
                do = "look at the network, a proxy or a firewall"
                found.append(Finding(name, Mark.WRONG, f"{at} did not answer in {PATIENCE_S:.0f} s", do))
                continue
            took_ms = 1e3 * (time.perf_counter() - begun)
            proves = settings.providers[name].kind in PROVES_KEYS
            found.append(_said(name, at, failure, which if key else "", proves=proves, took_ms=took_ms))
    finally:
        await upstream.close()
    return found


def _said(name: str, at: str, failure: Failure | None, which: str, *, proves: bool, took_ms: float) -> Finding:
    if failure is None:
        good = f"; {which}is good" if which and proves else ""
        return Finding(name, Mark.GOOD, f"{at} answers in {took_ms:.0f} ms{good}")
    if failure.kind in (FailureKind.UNAUTHENTICATED, FailureKind.FORBIDDEN):
        return Finding(
            name, Mark.WRONG, f"{at} refuses {which or 'a call without a key'}: {failure.detail}", "renew it"
        )
    if failure.scope == "provider":
        do = "is it running, and is base_url right? raygate goes on without it"
        return Finding(name, Mark.WRONG, f"{at} cannot be reached: {failure.detail}", do)
    return Finding(name, Mark.NOTE, f"{at} answers: {failure.detail}")
