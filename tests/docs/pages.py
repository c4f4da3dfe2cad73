"""The pages that people read, and what in them a machine can follow.

    <!-- not run: why -->     before a block: it is parsed, and nothing more
    <!-- until ^C -->         before a block: its last command never ends by itself
    <!-- apply -->            before settings: the commands that follow are for a Raygate with these

A block without a language is a picture. `…` in what a console shows stands for anything.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGES = tuple(sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")]))
SHELL = ("sh", "console")
LANGUAGES = (*SHELL, "python", "yaml", "json")

_FENCE = re.compile(r"^( *)```([^\n]*)\n(.*?)^\1```$", re.DOTALL | re.MULTILINE)
_NOTE = re.compile(r"<!-- (not run: (?:(?!-->).)+|until \^C|apply) -->\n*\Z", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Block:
    """One fenced block. `unrun` says why it is only parsed."""

    page: str
    line: int
    language: str
    text: str
    unrun: str = ""
    endless: bool = False
    applied: bool = False

    def __str__(self) -> str:
        return f"{self.page}:{self.line}"


@dataclass(frozen=True, slots=True)
class Typed:
    """One command as typed, and what the page says that it shows; None where it says nothing."""

    text: str
    shows: str | None = None


def blocks(page: Path) -> Iterator[Block]:
    text = page.read_text(encoding="utf-8")
    for found in _FENCE.finditer(text):
        note = _NOTE.search(text, 0, found.start())
        said = note[1] if note else ""
        yield Block(
            page=str(page.relative_to(ROOT)),
            line=text.count("\n", 0, found.start()) + 1,
            language=found[2].strip(),
            text=found[3],
            unrun=" ".join(said.removeprefix("not run: ").split()) if said.startswith("not run") else "",
            endless=said == "until ^C",
            applied=said == "apply",
        )


def typed(block: Block) -> list[Typed]:
    """The commands of a shell block. A line goes on where its quotes, or a backslash at its end, leave it open."""
    prompt = "$ " if block.language == "console" else ""
    found: list[Typed] = []
    held = ""
    for line in block.text.splitlines():
        if not held and prompt and not line.startswith(prompt):
            assert found, f"{block} shows something before any command"
            last = found.pop()
            found.append(Typed(last.text, f"{last.shows or ''}{line}\n"))
            continue
        held += line.removeprefix(prompt) if not held else line
        if _open(held):
            held += "\n"
            continue
        if held.strip() and not held.lstrip().startswith("#"):
            found.append(Typed(held))
        held = ""
    assert not held, f"{block} ends inside a command"
    return found


def words(command: str) -> list[list[str]]:
    """The simple commands of a command line, as words."""
    lexer = shlex.shlex(command.replace("\\\n", " "), posix=True, punctuation_chars=True)
    lexer.commenters = "#"
    lexer.whitespace_split = True
    found: list[list[str]] = [[]]
    for word in lexer:
        if word and set(word) <= set("();<>|&"):
            found.append([])
        else:
            found[-1].append(word)
    return [one for one in found if one]


def inline(page: Path) -> Iterator[str]:
    """What stands between single backticks, outside of blocks."""
    for found in re.finditer(r"(?<!`)`([^`]+)`(?!`)", _FENCE.sub("", page.read_text(encoding="utf-8"))):
        yield " ".join(found[1].split())


def _open(line: str) -> bool:
    if line.endswith("\\"):
        return True
    try:
        shlex.split(line, comments=True)
    except ValueError:
        return True
    return False
