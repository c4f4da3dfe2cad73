"""What a request leaves open, filled from a provider's settings: before it is priced, and before it is sent."""

from __future__ import annotations

from dataclasses import fields

from runtime.request import Request, Sampling
from runtime.values import replace

_NAMES = tuple(one.name for one in fields(Sampling))
_SAID_NOTHING = Sampling()


def with_defaults(request: Request, defaults: Sampling) -> Request:
    """The request, its own words unchanged.

    >>> from runtime.request import ask
    >>> with_defaults(ask("hi"), Sampling(max_tokens=5)).sampling.max_tokens
    5
    """
    if defaults == _SAID_NOTHING:
        return request
    asked = request.sampling
    filled = {name: getattr(defaults, name) for name in _NAMES if getattr(asked, name) in (None, ())}
    return replace(request, sampling=replace(asked, **filled))
