"""What is shown to Ray's exporter, whose instruments are played here by the same two calls."""

from __future__ import annotations

from typing import Any

from actors.ray_metrics import Mirror
from runtime.metrics.sums import Family


class Instrument:
    def __init__(self, name: str, description: str = "", tag_keys: tuple[str, ...] | None = None) -> None:
        assert "." not in name, "Ray drops such a name and says nothing"
        self.tag_keys = set(tag_keys or ())
        self.values: dict[tuple[str, ...], float] = {}

    def inc(self, value: float, tags: dict[str, str]) -> None:
        assert value > 0
        self._put(tags, self.values.get(tuple(tags.values()), 0.0) + value)

    def set(self, value: float, tags: dict[str, str]) -> None:
        self._put(tags, value)

    def _put(self, tags: dict[str, str], value: float) -> None:
        assert tags.keys() == self.tag_keys
        self.values[tuple(tags.values())] = value


class Ray:
    def __init__(self) -> None:
        self.made: dict[str, Instrument] = {}

    def make(self, name: str, description: str = "", tag_keys: tuple[str, ...] | None = None) -> Any:
        return self.made.setdefault(name, Instrument(name, description, tag_keys))

    Counter = Gauge = make


def test_counters_are_added_to_and_gauges_set() -> None:
    ray = Ray()
    mirror = Mirror(ray)
    for count, total in ((2, 0.5), (2, 0.5), (5, 0.75)):
        mirror.show(
            [
                Family(name="raygate_requests_total", samples=((("openai", "fast", "ok"), count),)),
                Family(name="raygate_cost_usd_total", samples=((("a", "m"), count * 500_000_000),)),
                Family(name="raygate_in_flight", samples=((("a",), 7 - count),)),
                Family(name="raygate_queue_seconds", samples=((("openai",), ((count, 0), total)),)),
                Family(name="raygate_of_a_later_version", samples=(((), 1),)),
            ]
        )
    assert {name: one.values for name, one in ray.made.items()} == {
        "raygate_requests_total": {("openai", "fast", "ok"): 5},
        "raygate_cost_usd_total": {("a", "m"): 2.5},
        "raygate_in_flight": {("a",): 2},
        "raygate_queue_seconds_sum": {("openai",): 0.75},
        "raygate_queue_seconds_count": {("openai",): 5},
    }
