"""`raygate learn replay` and `raygate learn evaluate`, as a person types them: on files, with nothing that runs."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import parquet

from runtime.memory.snapshot import write as write_snapshot
from runtime.settings import Settings
from runtime.sona.state import dump
from runtime.sona.trajectory import write
from serve.cli import main
from tests.learning.test_learner import fresh, live, world
from tests.learning.test_trajectory import everything, played


def said(capsys: pytest.CaptureFixture[str], *args: str) -> tuple[int, str, str]:
    code = main(args)
    out, err = capsys.readouterr()
    assert "Traceback" not in out + err
    return code, out, err


def pack(folder: Path, models: int = 2, rows: int = 30) -> Path:
    chance = np.random.default_rng(0)
    columns = {
        "prompt": [f"{('chemistry', 'poetry')[at % 2]} number {at}" for at in range(rows)],
        **{f"q:m{at}": chance.random(rows) for at in range(models)},
        **{f"c:m{at}": np.full(rows, 10.0 ** (at - 5)) for at in range(models)},
    }
    parquet.write_table(pa.table(columns), folder / "pack.parquet")
    return folder / "pack.parquet"


@pytest.fixture
def log(tmp_path: Path) -> Path:
    with (tmp_path / "log.jsonl").open("wb") as out:
        write(everything(), out)
    return tmp_path / "log.jsonl"


def test_replay_prints_one_object(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = said(capsys, "learn", "replay", str(pack(tmp_path)), "--json", "--seeds", "0,3")
    found = json.loads(out)
    assert (code, err) == (0, "")
    assert found.keys() >= {"gc", "cs90", "cs95", "cs98", "apgr", "seeds"}
    assert found["seeds"] == 2


def test_replay_plays_as_production_does_and_begins_with_nothing_when_told_to(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = ("learn", "replay", str(pack(tmp_path)), "--json", "--seeds", "0")
    found = [json.loads(said(capsys, *asked, *more)[1]) for more in ((), ("--no-priors",))]
    assert [one["priors"] for one in found] == [Settings().learning.priors, False]


def test_replay_of_three_models_has_no_apgr_and_a_table_for_people(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, out, _ = said(capsys, "learn", "replay", str(pack(tmp_path, models=3)), "--seeds", "1")
    assert code == 0
    assert "cs95" in out
    assert "apgr" not in out


@pytest.mark.parametrize(
    ("dropped", "words"),
    [
        (["prompt"], "lacks prompt; a pack needs"),
        (["c:m1"], "lacks c:m1; a pack needs"),
        (["prompt", "c:m0"], "lacks prompt, c:m0; a pack needs"),
        (["q:m1", "c:m1"], "lacks q:MODEL and c:MODEL of another model"),
    ],
)
def test_a_bad_pack_is_one_line_that_names_what_is_missing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], dropped: list[str], words: str
) -> None:
    file = pack(tmp_path)
    parquet.write_table(parquet.read_table(file).drop_columns(dropped), file)
    code, out, err = said(capsys, "learn", "replay", str(file), "--json")
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert words in err


def test_what_else_a_replay_cannot_do_is_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    file = str(pack(tmp_path))
    for args, words in (
        (("absent.parquet",), "no parquet file that can be read"),
        ((file, "--seeds", "x"), "names no seeds"),
        ((file, "--seeds", "3-1"), "names no seeds"),
        ((file, "--dataset", "mtbench"), "lacks dataset"),
    ):
        code, out, err = said(capsys, "learn", "replay", *args)
        assert (code, out, err.count("\n")) == (2, "", 1)
        assert words in err
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    code, _, err = said(capsys, "learn", "replay", file)
    assert code == 2
    assert "pip install 'raygate[parquet]'" in err


def test_evaluate_prints_the_true_value_of_a_log_that_holds_every_case(
    log: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, out, _ = said(capsys, "learn", "evaluate", str(log), "--policy", "always:b", "--json")
    found = json.loads(out)
    assert code == 0
    assert found["quality"]["ips"]["value"] == pytest.approx(0.25 * 0.8 + 0.75 * 0.5)
    assert found["quality"]["snips"].keys() == {"value", "error", "effective"}
    assert found["cost_usd"]["dr"]["value"] == pytest.approx(5e-6)
    assert (found["rows"], found["judged"], found["policy"]) == (400, 400, "always:b")


@pytest.mark.parametrize("wrapped", [False, True], ids=["as it is", "with its checksum"])
def test_evaluate_takes_a_learners_snapshot(tmp_path: Path, capsys: pytest.CaptureFixture[str], wrapped: bool) -> None:
    learner = fresh()
    live(learner, *world(300, 0))
    file = tmp_path / "learner.snapshot"
    if wrapped:
        write_snapshot(file, dump(learner))
    else:
        file.write_bytes(dump(learner))
    with (tmp_path / "log.jsonl").open("wb") as out:
        write(played(300)[0], out)
    code, text, _ = said(capsys, "learn", "evaluate", str(tmp_path / "log.jsonl"), "--policy", str(file))
    assert code == 0
    assert "SNIPS" in text
    assert "300 decisions, of which 300 were judged" in text


def test_what_cannot_be_evaluated_is_one_line(tmp_path: Path, log: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "junk").write_bytes(b"junk")
    (tmp_path / "empty.jsonl").write_bytes(b"")
    for args, words in (
        ((str(log), "--policy", "always:c"), "there are a, b"),
        ((str(log), "--policy", str(tmp_path / "absent")), "name a snapshot, or always:MODEL"),
        ((str(log), "--policy", str(tmp_path / "junk")), "not a learner's state"),
        ((str(log), "--policy", str(tmp_path / "junk"), "--taste", "sweet"), "there are ruvector-auto"),
        ((str(tmp_path / "empty.jsonl"), "--policy", "always:a"), "holds no trajectory"),
        ((str(tmp_path / "absent.jsonl"), "--policy", "always:a"), "cannot be read"),
        ((str(log),), "--policy"),
    ):
        code, out, err = said(capsys, "learn", "evaluate", *args)
        assert (code, out, err.count("\n")) == (2, "", 1)
        assert words in err
