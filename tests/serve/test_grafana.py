"""The dashboard and the alerts name only what a running application exposes, with the labels that it has."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families as read

from actors.held import Held
from actors.manager_actor import ManagerActor
from deploy.grafana import build
from runtime.dialects.scripted import Reset, Step
from runtime.feed import EdgeReport
from runtime.metrics.named import METRICS
from tests.fakes.providers import fails
from tests.serve.test_app import chat
from tests.serve.test_metrics import scrape, served

LIMIT = {"scope": "team", "of": "search", "period": "day", "counts": "money", "amount": 100, "used": 85}
METRIC = re.compile(r"\b((?:gen_ai|raygate)_\w+)(?:\{([^}]*)\})?")
WORDS = frozenset(("le",))


class Cluster:
    """The real manager, without its loops, over what one replica has counted."""

    def __init__(self, folder: Path, app: Any) -> None:
        self.actor = ManagerActor(str(folder))
        self._app = app

    async def scrape(self) -> Any:
        edge = self._app.edge
        report = EdgeReport(
            edge="edge@here:1:x",
            sequence=1,
            served=edge.meter.take(),
            observed=self._app.rig.observations.take(),
            counters={**edge.counters, "waiting": 0, "rows_waiting": 0, "decisions": 2, "explored": 1},
        )
        self.actor._held, self.actor._labels = Held(1, edge.settings.to_document()), edge.meter.labels
        self.actor._roster.view.apply(report, 0.0)
        self.actor._sums.add(report, edge.meter.labels)
        return self.actor._families()


class Ledger:
    async def ask(self, what: str, *, who: str) -> Any:
        return {"limits": [LIMIT]}


async def exposed(folder: Path) -> dict[str, set[str]]:
    """Each metric that a scrape shows after some traffic, with its labels."""
    app = served(Step(text="a"), Step(text="b"), fails(Reset()))
    app.edge.ledger = Ledger()
    app.edge.manager = Cluster(folder, app)  # type: ignore[assignment]  # as much of one as a scrape needs
    await app(chat())
    await app(chat(stream=True))
    await app(chat())
    call = await app(scrape())
    assert call.status == 200, call.body
    found: dict[str, set[str]] = {}
    for family in read(call.body.decode()):
        for sample in family.samples:
            found.setdefault(sample.name, set()).update(sample.labels)
    return found


def expressions() -> list[str]:
    panels = [one for one in build.dashboard()["panels"] if one["type"] != "row"]
    shown = [target["expr"] for panel in panels for target in panel["targets"]]
    return [*shown, *(rule["expr"] for group in build.alerts()["groups"] for rule in group["rules"])]


async def test_what_they_name_is_there(tmp_path: Path) -> None:
    found = await exposed(tmp_path)
    for expr in expressions():
        named = METRIC.findall(re.sub(r"by \([^)]*\)|\"[^\"]*\"", "", expr))
        assert named, expr
        for metric, matchers in named:
            assert metric in found, f"{metric} in {expr}"
            asked = set(re.findall(r"(\w+)\s*[=!]~?", matchers))
            asked |= {label.strip() for group in re.findall(r"by \(([^)]*)\)", expr) for label in group.split(",")}
            known = found[metric] | {label for one in METRICS if metric.startswith(one.name) for label in one.labels}
            assert asked <= known | WORDS, f"{asked - known} in {expr}"


async def test_legends_name_labels_that_their_series_have() -> None:
    for panel in build.dashboard()["panels"]:
        for target in panel.get("targets", ()):
            wanted = set(re.findall(r"\{\{(\w+)\}\}", target["legendFormat"]))
            grouped = {
                label.strip() for group in re.findall(r"by \(([^)]*)\)", target["expr"]) for label in group.split(",")
            }
            plain = {label for one in METRICS if one.name in target["expr"] for label in one.labels}
            assert wanted <= (grouped or plain), target


async def test_every_metric_is_on_the_dashboard() -> None:
    shown = " ".join(expressions())
    assert [one.name for one in METRICS if one.name not in shown] == []


async def test_a_running_application_exposes_every_metric_of_the_table(tmp_path: Path) -> None:
    found = await exposed(tmp_path)
    names = {name.removesuffix("_bucket") for name in found}
    assert [one.name for one in METRICS if one.name not in names] == []


@pytest.mark.parametrize("name", build.files())
def test_the_files_are_what_the_script_makes(name: str) -> None:
    assert (build.HERE / name).read_text() == build.files()[name], "run make grafana"


def test_the_files_can_be_read() -> None:
    ids = [one["id"] for one in json.loads((build.HERE / "dashboard.json").read_text())["panels"]]
    assert len(ids) == len(set(ids))
    (group,) = yaml.safe_load((build.HERE / "alerts.yaml").read_text())["groups"]
    assert all({"alert", "expr", "for", "labels", "annotations"} == rule.keys() for rule in group["rules"])


@pytest.mark.skipif(shutil.which("promtool") is None, reason="needs promtool, which Debian's package prometheus has")
def test_prometheus_itself_takes_the_rules() -> None:
    said = subprocess.run(
        ["promtool", "check", "rules", str(build.HERE / "alerts.yaml")], capture_output=True, text=True, check=False
    )
    assert said.returncode == 0, said.stdout + said.stderr
    (group,) = build.alerts()["groups"]
    assert f"{len(group['rules'])} rules found" in said.stdout
