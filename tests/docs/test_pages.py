"""What the pages show is right: every block parses and is what it seems to be, every command and option is there.

Blocks that can be run are run in tests/e2e/test_docs.py. A block that cannot says why on the page.
"""

from __future__ import annotations

import ast
import importlib.util
import json
import re
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import click
import pytest
import typer.main
import yaml

from runtime.settings import Settings
from runtime.settings.prices import PriceList
from serve.api_page import renewed
from serve.cli.commands import app
from tests.docs.pages import LANGUAGES, PAGES, ROOT, SHELL, Block, blocks, inline, typed, words

BLOCKS = [block for page in PAGES for block in blocks(page) if block.language]
OF = {language: [block for block in BLOCKS if block.language == language] for language in LANGUAGES}
MOST_UNRUN = 12
"""If you must raise it, say on the page why, so that a reader believes it."""

CLI = typer.main.get_command(app)
TARGETS = frozenset(re.findall(r"^([a-z][\w-]*):", (ROOT / "Makefile").read_text(), re.MULTILINE))


def test_every_block_is_of_a_language_that_is_checked() -> None:
    assert {block.language for block in BLOCKS} <= set(LANGUAGES)


def test_few_blocks_are_not_run_and_each_says_why() -> None:
    unrun = [block for block in BLOCKS if block.unrun]
    assert all(block.language in (*SHELL, "python") for block in unrun), "data is always checked"
    assert all(len(block.unrun.split()) >= 4 for block in unrun), [str(block) for block in unrun]
    assert len(unrun) <= MOST_UNRUN, [f"{block}: {block.unrun}" for block in unrun]


@pytest.mark.parametrize("block", OF["yaml"], ids=str)
def test_settings_are_settings(block: Block) -> None:
    document = yaml.safe_load(block.text)
    if "scrape_configs" in document:  # Prometheus'
        assert all({"job_name", "static_configs"} <= job.keys() for job in document["scrape_configs"])
    elif "as_of" in document:
        PriceList.model_validate(document)
    else:
        Settings.model_validate(document)


@pytest.mark.parametrize("block", OF["json"], ids=str)
def test_json_is_json(block: Block) -> None:
    json.loads(block.text)


@pytest.mark.parametrize("block", OF["python"], ids=str)
def test_python_parses_and_imports_what_there_is(block: Block) -> None:
    flags = ast.PyCF_ALLOW_TOP_LEVEL_AWAIT | ast.PyCF_ONLY_AST
    tree = compile(block.text, str(block), "exec", flags)
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] in _OURS:
            module = importlib.import_module(node.module)
            for name in node.names:
                assert hasattr(module, name.name), f"{block}: {node.module} has no {name.name}"


@pytest.mark.parametrize("block", [*OF["sh"], *OF["console"]], ids=str)
def test_commands_are_there(block: Block) -> None:
    for command in typed(block):
        bash = subprocess.run(["bash", "-n", "-c", command.text], capture_output=True, text=True, check=False)
        assert bash.returncode == 0, f"{block}: {bash.stderr}"
        for one in words(command.text):
            if wrong := _wrong(one):
                pytest.fail(f"{block}: {' '.join(one)}: {wrong}")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_commands_that_the_text_names_are_there(page: Path) -> None:
    for said in inline(page):
        if re.match(r"(\.venv/bin/)?raygate [a-z]|make [a-z-]+|python -m (bench|tests|runtime|actors|serve)", said):
            named = re.split(r" […(]|, ", said.replace("[N]", "1"))[0]
            for one in words(named.replace("|", " ")):
                if wrong := _wrong(one, whole=False):
                    pytest.fail(f"{page.name}: `{said}`: {wrong}")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    for target, anchor in re.findall(r"\]\((?!https?:)([^)#\s]*)(?:#([^)\s]+))?\)", page.read_text()):
        there = (page.parent / target).resolve() if target else page
        assert there.exists(), f"{page.name} links to {target}"
        if anchor:
            assert anchor in set(_anchors(there)), f"{page.name} links to {target}#{anchor}"


def test_a_wrong_command_would_be_found() -> None:
    assert _wrong(["raygate", "up", "--confg", "x"]) == "raygate up has no option --confg"
    assert _wrong(["raygate", "keys", "creat", "x"]) == "raygate keys has no command creat"
    assert _wrong(["raygate", "chat"]) == "raygate chat needs PROMPT"
    assert _wrong(["make", "tea"]) == "the Makefile has no target tea"
    assert _wrong(["A=1", ".venv/bin/raygate", "budget", "set", "key", "x", "5/day"]) == ""
    block = Block(page="x.md", line=1, language="console", text="$ a 'b\nc'\nshown\n$ d \\\n  e\n")
    assert [(one.text, one.shows) for one in typed(block)] == [("a 'b\nc'", "shown\n"), ("d \\\n  e", None)]
    assert typed(replace(block, language="sh", text="# why\n\nx\n"))[0].text == "x"


README = ROOT / "README.md"
_OURS = ("runtime", "actors", "serve")


def _wrong(command: list[str], *, whole: bool = True) -> str:
    """What of a simple command is not there; empty where nothing is, or nothing is known of it. `whole`: as it would be
    typed, and not only named."""
    rest = command
    while rest and re.fullmatch(r"[A-Za-z_]\w*=.*", rest[0], re.DOTALL):
        rest = rest[1:]
    match [rest[0].removeprefix(".venv/bin/"), *rest[1:]] if rest else []:
        case ["raygate", *given]:
            return _wrong_option(CLI, "raygate", given, whole=whole)
        case ["make", *given]:
            named = [one for one in given if "=" not in one and not one.startswith("-")]
            return next((f"the Makefile has no target {one}" for one in named if one not in TARGETS), "")
        case ["python", "-m", module, *_]:
            return "" if importlib.util.find_spec(module) else f"there is no module {module}"
        case ["pytest", *given]:
            paths = [one for one in given if one.startswith("tests/")]
            return next((f"there is no {one}" for one in paths if not (ROOT / one).exists()), "")
    return ""


def _wrong_option(command: Any, path: str, given: list[str], *, whole: bool) -> str:
    if isinstance(command, click.Group) or hasattr(command, "commands"):
        if not given or given[0].startswith("-"):
            return ""
        if given[0] not in command.commands:
            return f"{path} has no command {given[0]}"
        return _wrong_option(command.commands[given[0]], f"{path} {given[0]}", given[1:], whole=whole)
    options = {name: one for one in command.params for name in (*one.opts, *one.secondary_opts)}
    places = [one for one in command.params if one.param_type_name == "argument"]
    left, taken = list(given), 0
    while left:
        word = left.pop(0)
        name, equals, _ = word.partition("=")
        if re.match(r"--?[A-Za-z]", word):
            if name not in options and name != "--help":
                return f"{path} has no option {name}"
            if name in options and not options[name].is_flag and not equals and left:
                left.pop(0)
        else:
            taken += 1
    needed = [one for one in places if one.required]
    if whole and taken < len(needed):
        return f"{path} needs {(needed[taken].metavar or needed[taken].name).upper()}"
    if taken > len(places) and not any(one.nargs == -1 for one in places):
        return f"{path} takes {len(places)} arguments, not {taken}"
    return ""


def _anchors(page: Path) -> Iterator[str]:
    for heading in re.findall(r"^#+ (.+)$", page.read_text(), re.MULTILINE):
        yield re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-")


def test_the_table_of_paths_is_as_they_are() -> None:
    path = ROOT / "docs" / "api.md"
    assert path.read_text() == renewed(path.read_text()), "make docs renews it"


def test_every_command_is_on_the_page_of_commands() -> None:
    page = (ROOT / "docs" / "commands.md").read_text()
    for name, one in CLI.commands.items():
        if not one.hidden:
            assert re.search(rf"`raygate {name}[ `]", page), f"raygate {name} is not in docs/commands.md"


def test_what_the_readme_says_of_learning_is_what_was_measured() -> None:
    measured = (ROOT / "docs" / "learning.md").read_text()
    told = re.findall(r"^\| (\w+) \(.*?\) \| (\d+) % ± (\d+) \|", README.read_text(), re.MULTILINE)
    assert len(told) == 3
    for pack, saved, spread in told:
        # With published figures: gap closed, then what is saved at 90, 95 and 98 % of the quality.
        row = rf"^\| {pack} \| with \| .*? \| \d+ \| \S+ ± \S+ \| \S+ ± \S+ \| (\S+) ± (\S+) \|"
        (found,) = re.findall(row, measured, re.MULTILINE)
        assert [float(one) * 100 for one in found] == pytest.approx([float(saved), float(spread)], abs=0.51), pack


def test_what_the_readme_says_of_time_is_what_was_measured() -> None:
    measured = (ROOT / "docs" / "performance.md").read_text()
    rows = re.findall(r"^\| .*? \| (\d.*?µs.*?) \| .make bench.", README.read_text(), re.MULTILINE)
    assert len(rows) == 2
    for figure in re.findall(r"\d+", " ".join(rows)):
        assert re.search(rf"\| \**{figure}\** \|", measured), (
            f"{figure} µs is not in docs/performance.md; make bench renews it"
        )
