"""The container file, read as a builder reads it: stages, what is copied, who runs. Nothing is built."""

from __future__ import annotations

import re

import pytest

from tests.cluster.closed import ROOT, documents, is_shell

TEXT = (ROOT / "Containerfile").read_text()
KNOWN = {"ARG", "FROM", "ENV", "RUN", "WORKDIR", "COPY", "USER", "VOLUME", "EXPOSE", "STOPSIGNAL", "CMD"}


def instructions(text: str) -> list[tuple[str, str]]:
    lines = [line for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#")]
    joined = "\n".join(lines).replace("\\\n", " ")
    return [(word, rest.strip()) for word, _, rest in (line.partition(" ") for line in joined.splitlines())]


def problems(text: str) -> list[str]:
    found, stages, users = [], [], []
    for word, rest in instructions(text):
        if word not in KNOWN:
            found.append(f"unknown instruction {word}")
        elif word == "FROM":
            base, _, stage = rest.partition(" AS ")
            if base != "${BASE}" or not stage:
                found.append(f"a stage of its own base or without a name: {rest}")
            stages.append(stage)
        elif word == "RUN" and not is_shell(rest):
            found.append(f"no shell: {rest}")
        elif word == "COPY" and (source := re.match(r"--from=(\S+) ", rest)):
            if source[1] not in stages[:-1]:
                found.append(f"no stage {source[1]}")
        elif word == "COPY":
            found += [f"{name} is not here" for name in rest.split()[:-1] if not (ROOT / name).exists()]
        elif word == "USER":
            users.append((stages[-1], rest))
    if not users or users[-1][0] != stages[-1] or re.match(r"(root|0)\b", users[-1][1]):
        found.append("it runs as root")
    if "--require-hashes -r requirements.lock" not in text:
        found.append("what is installed is not what the lock file names")
    if not re.search(r"^ARG BASE=\S+:\d+\.\d+\.\d+-", text, re.M):
        found.append("the base has no version")
    return found


def test_the_image_is_built_in_stages_by_the_lock_and_runs_as_nobody_special() -> None:
    assert problems(TEXT) == []
    assert len(re.findall("^FROM ", TEXT, re.M)) == 2


@pytest.mark.parametrize(
    ("was", "is_"),
    [
        ("COPY actors", "COPPY actors"),
        ("COPY actors", "COPY aktors"),
        ("--from=build", "--from=biuld"),
        ("USER 10001:10001", "USER root"),
        ("USER 10001:10001", ""),
        ("--require-hashes ", ""),
        ("&& useradd", "&& && useradd"),
        ("python:3.12.8-slim", "python:slim"),
        ("FROM ${BASE} AS final", "FROM ${BSAE} AS final"),
    ],
)
def test_mistakes_are_noticed(was: str, is_: str) -> None:
    assert was in TEXT
    assert problems(TEXT.replace(was, is_))


def test_the_manifest_runs_this_image_as_its_user_where_its_files_lie() -> None:
    manifest = (ROOT / "deploy/kuberay/rayservice.yaml").read_text()
    service = next(one for one in documents(manifest) if one["kind"] == "RayService")
    cluster = service["spec"]["rayClusterConfig"]
    for group in (cluster["headGroupSpec"], *cluster["workerGroupSpecs"]):
        pod = group["template"]["spec"]
        assert pod["securityContext"]["runAsUser"] == 10001
        assert pod["securityContext"]["runAsNonRoot"]
        for container in [*pod.get("initContainers", ()), *pod["containers"]]:
            assert container["image"] == "raygate:0.1.0"
    assert "COPY --from=build /opt/raygate /opt/raygate" in TEXT
    assert "USER 10001:10001" in TEXT
    assert "--uid 10001" in TEXT


def test_what_the_build_does_not_need_does_not_go_into_it() -> None:
    ignored = (ROOT / ".dockerignore").read_text().split()
    copied = [rest for word, rest in instructions(TEXT) if word == "COPY" and not rest.startswith("--from")]
    assert {".venv", ".git", "tests"} <= set(ignored)
    assert not {name for rest in copied for name in rest.split()} & set(ignored)
