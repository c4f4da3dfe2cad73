"""The notebook that we show people really runs, in a kernel of its own."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import nbformat
import pytest
import ray
from nbclient import NotebookClient

from runtime.outcome import Completion, Failure, FailureKind, StreamEnd, StreamStart
from runtime.request import ask
from tests.e2e.conftest import Live

QUICKSTART = Path(__file__).parents[2] / "examples" / "quickstart.ipynb"


def test_quickstart_runs(live: Live, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAYGATE_STATE_DIR", str(live.folder))
    monkeypatch.setenv("PYDEVD_DISABLE_FILE_VALIDATION", "1")
    notebook = nbformat.read(QUICKSTART, as_version=4)
    NotebookClient(notebook, timeout=120, kernel_name="python3").execute()
    shown = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    html = [output["data"]["text/html"] for output in shown if "text/html" in output.get("data", {})]
    assert len(html) == 6, "two completions, a failure, an estimate, the status and the usage show themselves"
    assert "smollm2-135m" in html[0]
    assert any(output.get("name") == "stdout" and output["text"].strip() for output in shown), "the stream printed"


def test_request_or_dict(live: Live) -> None:
    as_type = ray.get(live.manager.complete.remote(ask("hi", model="alpha/say")))
    as_dict = ray.get(
        live.manager.complete.remote({"model": "alpha/say", "messages": [{"role": "user", "content": "hi"}]})
    )
    assert isinstance(as_type, Completion)
    assert as_type.text == as_dict.text == "one two three"
    assert as_type.unwrap() is as_type


def test_await(live: Live) -> None:
    async def call() -> Any:
        return await live.manager.complete.remote(ask("hi", model="alpha/say"))

    assert asyncio.run(call()).text == "one two three"


def test_stream(live: Live) -> None:
    events = [ray.get(ref) for ref in live.manager.stream.remote(ask("hi", model="alpha/say"))]
    assert isinstance(events[0], StreamStart)
    assert isinstance(events[-1], StreamEnd)
    assert events[-1].outcome.unwrap().text == "one two three"


def test_bad_requests_are_values(live: Live) -> None:
    for bad in ({"messages": 5}, {}, {"model": "gpt-77", "messages": [{"role": "user", "content": "x"}]}):
        failure = ray.get(live.manager.complete.remote(bad))
        assert isinstance(failure, Failure)
        assert failure.kind in (FailureKind.BAD_REQUEST, FailureKind.MODEL_NOT_FOUND)
        assert failure.detail


def _run(name: str, live: Live, monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What the cells of a notebook showed."""
    monkeypatch.setenv("RAYGATE_STATE_DIR", str(live.folder))
    monkeypatch.setenv("PYDEVD_DISABLE_FILE_VALIDATION", "1")
    notebook = nbformat.read(QUICKSTART.with_name(name), as_version=4)
    NotebookClient(notebook, timeout=120, kernel_name="python3").execute()
    return [output for cell in notebook.cells for output in cell.get("outputs", [])]


def test_routing_and_learning_runs_and_draws(live: Live, monkeypatch: pytest.MonkeyPatch) -> None:
    priced = {"price": {"input": 1, "output": 2}}
    models = {"alpha/say": priced, "beta/say": priced}
    live.switch(learning={"warm_up": 8, "least_feedback": 1}, models=models)
    try:
        shown = _run("routing_and_learning.ipynb", live, monkeypatch)
    finally:
        live.switch()
    pictures = [one["data"]["image/png"] for one in shown if "image/png" in one.get("data", {})]
    assert len(pictures) == 2, "latency, and what was learned"


def test_a_batch_is_judged(live: Live, monkeypatch: pytest.MonkeyPatch) -> None:
    shown = _run("batch_evaluation.ipynb", live, monkeypatch)
    report = "".join(one["text"] for one in shown if one.get("name") == "stdout")
    assert report.count("of 4 right") == 2
