"""What an operator is shown of a change of settings, and what never."""

from __future__ import annotations

from typing import Any

import pytest

from runtime.settings import Settings
from runtime.settings.difference import Change, difference, masked, references

LAB: dict[str, Any] = {"kind": "custom", "base_url": "http://gpu:8080/v1", "api_key": "sk-secret"}


def of(**said: Any) -> Settings:
    return Settings.model_validate(said)


def lab(**more: Any) -> Settings:
    return of(providers={"lab": {**LAB, **more}})


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        (of(), of(), []),
        (of(), of(strategy="latency"), [("~", "strategy", "round_robin", "latency")]),
        (of(strategy="latency"), of(), [("~", "strategy", "latency", "round_robin")]),
        (of(), of(retry={"max_attempts": 2}), [("~", "retry.max_attempts", "4", "2")]),
        (of(), of(max_cost_usd="0.5"), [("+", "max_cost_usd", None, "0.5")]),
        (of(), of(routes={"fast": ["a/b"]}), [("+", "routes.fast", None, '["a/b"]')]),
        (of(routes={"fast": ["a/b"]}), of(), [("-", "routes.fast", '["a/b"]', None)]),
        (of(), of(models={"a/b": {}}), [("+", "models.a/b", None, "{}")]),
        (
            of(),
            lab(),
            [
                ("+", "providers.lab.kind", None, "custom"),
                ("+", "providers.lab.base_url", None, "http://gpu:8080/v1"),
                ("+", "providers.lab.api_key", None, "**********"),
            ],
        ),
        (lab(), lab(timeout_s=5), [("+", "providers.lab.timeout_s", None, "5.0")]),
        (lab(), lab(enabled=False), [("~", "providers.lab.enabled", "true", "false")]),
        (
            lab(),
            lab(price={"input": 1, "output": 2}),
            [("+", "providers.lab.price.input", None, "1"), ("+", "providers.lab.price.output", None, "2")],
        ),
    ],
    ids=str,
)
def test_what_differs(before: Settings, after: Settings, expected: list[tuple[Any, ...]]) -> None:
    assert [(one.sign, one.path, one.before, one.after) for one in difference(before, after)] == expected


@pytest.mark.parametrize(
    ("change", "path"),
    [
        ({"api_key": "sk-other"}, "api_key"),
        ({"headers": {"x-token": "sk-other"}}, "headers.x-token"),
        ({"options": {"token": "sk-other"}}, "options.token"),
        ({"base_url": "http://me:sk-other@gpu:8080/v1"}, "base_url"),
    ],
)
def test_a_secret_that_changed_is_told_and_not_shown(change: dict[str, Any], path: str) -> None:
    before = lab(
        headers={"x-token": "sk-secret"}, options={"token": "sk-secret"}, base_url="http://me:sk-secret@gpu:8080/v1"
    )
    after = Settings.model_validate({"providers": {"lab": {**before.to_document()["providers"]["lab"], **change}}})
    (found,) = difference(before, after)
    assert found.path == f"providers.lab.{path}"
    assert found.after == f"{found.before} (another)"
    assert "sk-" not in str(found)
    assert "sk-" not in str(masked(after)) + str(masked(after, short=True))


def test_a_reference_is_no_secret() -> None:
    (found,) = difference(lab(), lab(api_key="os.environ/LAB_KEY"))
    assert found == Change("providers.lab.api_key", "**********", "os.environ/LAB_KEY")
    assert references(lab(api_key="os.environ/LAB_KEY", headers={"x": "os.environ/LAB_X"})) == ("LAB_KEY", "LAB_X")
    assert references(lab(api_key="os.environ/LAB_KEY", enabled=False)) == ()


def test_the_order_of_providers_matters() -> None:
    a, b = {"kind": "scripted"}, {"kind": "scripted"}
    (found,) = difference(of(providers={"a": a, "b": b}), of(providers={"b": b, "a": a}))
    assert (found.before, found.after) == ("a, b", "b, a")
    assert not found.needs_restart


@pytest.mark.parametrize(
    ("said", "needs"),
    [({"port": 1}, True), ({"ray": {"num_cpus": 1}}, True), ({"replicas": 2}, True), ({"auth": False}, False)],
    ids=str,
)
def test_what_counts_only_after_a_start(said: dict[str, Any], needs: bool) -> None:
    assert {one.needs_restart for one in difference(of(), of(**said))} == {needs}
