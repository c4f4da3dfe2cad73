"""How all providers stand, as one manager knows: what authorities published, what edges reported and heard."""

from __future__ import annotations

from runtime.feed import DoorState, Published
from runtime.reports import ProviderStatus, Shut, locked_of
from runtime.view import SharedView, Told

NEWS_S = 0.1
"""A wait that moved by less is no news."""


class Roster:
    """`now` is the manager's monotonic clock."""

    def __init__(self) -> None:
        self.view = SharedView()
        self.told = Told()
        self._published: dict[str, tuple[Published, float]] = {}

    def adopt(self, published: Published, now: float) -> bool:
        """An authority's word. True if edges must know; False too for an answer that was overtaken by a later one."""
        before = self._published.get(published.provider)
        if before is not None and published.spell < before[0].spell:
            return False
        self._published[published.provider] = (published, now)
        return before is None or differs(before[0].aged(now - before[1]), published)

    def last(self, provider: str, now: float) -> Published | None:
        """What its authority said last, as it would say it now; None before its first word."""
        known = self._published.get(provider)
        return known and known[0].aged(now - known[1])

    def published(self, now: float) -> tuple[Published, ...]:
        return tuple(published.aged(now - at) for published, at in self._published.values())

    def forget(self, provider: str) -> None:
        self._published.pop(provider, None)

    def is_shut(self, provider: str) -> bool:
        """True if a report may hold the outcome of a probe."""
        known = self._published.get(provider)
        return known is not None and (known[0].open or bool(known[0].models) or bool(known[0].keys))

    def status(self, name: str, *, max_in_flight: int | None, now: float) -> ProviderStatus:
        aged = self.last(name, now) or Published(provider=name)
        throttled = aged.throttled_for_s > 0.0
        # Every edge that calls it has tripped by itself: that is an open breaker too, whoever's.
        shut_s = self.view.shut_for_s(name, now)
        is_open = aged.open or (shut_s > 0.0 and not throttled)
        models = {
            model: Shut(state="open", retry_in_s=wait_s) for model, wait_s in self.view.shut_models(name, now).items()
        }
        for model, one in ((model, one) for model, one in aged.models.items() if one.is_shut):
            state = "open" if one.open else "throttled"
            models[model] = Shut(state=state, retry_in_s=one.wait_s, detail=one.why)
        keys = locked_of(aged.keys)
        why = [f"{model} is {one.state}" for model, one in models.items()]
        why += [f"key {key} is {one.state}" for key, one in keys.items()]
        known = (one.latency_s for _, one in self.told.all() if one.provider == name)
        return ProviderStatus(
            provider=name,
            available=not is_open and not throttled,
            breaker="open" if is_open else "throttled" if throttled else "closed",
            in_flight=self.view.in_flight(name),
            max_in_flight=max_in_flight,
            retry_in_s=max(aged.retry_in_s, aged.throttled_for_s, shut_s),
            latency_s=min((one for one in known if one is not None), default=None),
            detail="; ".join(filter(None, (aged.why, *why))),
            models=models,
            keys=keys,
        )


def differs(before: Published, after: Published) -> bool:
    """True if edges must know: the passing of time alone is no news."""
    if before.spell != after.spell or before.models.keys() != after.models.keys():
        return True
    old_keys = {(one.key, one.model): one for one in before.keys}
    new_keys = {(one.key, one.model): one for one in after.keys}
    if {at: one.why for at, one in old_keys.items()} != {at: one.why for at, one in new_keys.items()}:
        return True
    doors = [(before.whole, after.whole), *((state, after.models[model]) for model, state in before.models.items())]
    return any(_moved(old, new) for old, new in doors) or any(
        abs(one.retry_in_s - new_keys[at].retry_in_s) > NEWS_S for at, one in old_keys.items()
    )


def _moved(before: DoorState, after: DoorState) -> bool:
    moved_s = abs(before.retry_in_s - after.retry_in_s) + abs(before.throttled_for_s - after.throttled_for_s)
    return before.open != after.open or moved_s > NEWS_S
