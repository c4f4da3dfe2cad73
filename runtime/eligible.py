"""Who could answer a request under the settings of the moment, as a digest: part of a remembered answer's key.

What a strategy, a breaker or a load decides is left out: any of those who could answer may have. What the settings, the
route and the payer's key decide is in it, and so is what makes a provider the same one. So a change of any of these
finds no answer of before, and going back finds it again. The request's own demands are part of its key anyway.
"""

from __future__ import annotations

import hashlib

import orjson

from runtime.ledger.accounts import matches
from runtime.outcome import Failure
from runtime.plan import Policy, field_of, resolve


def digest_of(policy: Policy, name: str, allowed: tuple[str, ...]) -> bytes:
    """Equal as long as the same providers and models could answer for this name. `allowed` are patterns; none: all."""
    found = field_of(policy, name)
    if isinstance(found, Failure):
        return b""
    route = policy.route(name)
    asked = [one.candidate for one in found.known if not route.residency - one.traits.tags]
    if route.min_quality is not None:
        good = {one.candidate for one in found.known if (one.quality or 0.0) >= route.min_quality}
        asked = [one for one in asked if one in good]
    for longer in route.larger:
        more = resolve(policy, longer)
        asked += [] if isinstance(more, Failure) else more
    behind = [(one.provider, model) for one in asked for model in policy.fallback_models.get(one.provider, ())]
    behind += [
        pair
        for one in asked
        if one.provider in policy.backed
        for pair in policy.catalog.fallbacks(one.provider, one.model)
    ]
    who = sorted({(one.provider, one.model) for one in asked} | set(behind))
    who = [one for one in who if not allowed or matches("/".join(one), allowed)]
    said = [(*one, policy.brands.get(one[0], ""), policy.ceilings_nanousd.get(one[0])) for one in who]
    return hashlib.sha256(orjson.dumps(said)).digest()
