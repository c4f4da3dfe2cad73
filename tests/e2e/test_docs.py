"""Every command and every piece of Python on the pages that people read, run as they stand against a real Raygate.

A page is a folder and a home of its own, where `raygate.yaml` is the last settings that the page has shown. What stands
in for the reader's world: the port, the id of the key just made, and an environment that is up to date for make.
What a console is said to show must be shown; there `…` is anything, and so is a number.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml
from pydantic import ValidationError

from runtime.settings import Settings
from tests.docs.pages import PAGES, ROOT, SHELL, Block, Typed, blocks, typed
from tests.e2e.conftest import Live, until

RUN = ("python", *SHELL)
WITH_COMMANDS = [page for page in PAGES if any(one.language in RUN and not one.unrun for one in blocks(page))]
LONGEST_S = 120
KEY_ID = re.compile(r"key_[0-9a-f]{12}")
NAMED = "http://127.0.0.1:8000"

PRELUDE = """
set -euo pipefail
curl() { command curl --fail-with-body --silent --show-error "$@"; }
make() { command make --no-print-directory -o .venv/.runtime -o .venv/.dev "$@"; }
"""

AWAITS = """
import ast, asyncio, inspect, sys
code = compile(sys.stdin.read(), "the page", "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
found = eval(code, {"__name__": "__main__"})
if inspect.iscoroutine(found):
    asyncio.run(found)
"""


@dataclass
class Reader:
    """Types what a page says, in a folder where the repository seems to lie."""

    live: Live
    home: Path
    there: Path
    key_id: str = ""
    assigned: str = ""

    def follow(self, page: Path) -> None:
        for block in blocks(page):
            if block.language == "yaml":
                self._keep(block)
            elif block.language in RUN and not block.unrun:
                self._do(block)

    def _keep(self, block: Block) -> None:
        document = yaml.safe_load(block.text)
        try:
            Settings.model_validate(document)
        except ValidationError:
            return  # a price list, or somebody else's file; tests/docs says which
        document.pop("port", None)
        (self.there / "raygate.yaml").write_text(yaml.safe_dump(document))
        if block.applied:
            self._run(block, Typed("raygate config apply raygate.yaml"))

    def _do(self, block: Block) -> None:
        if block.language == "python":
            self._end(block, block.text, [sys.executable, "-c", AWAITS], self._here(block.text))
            return
        for one in typed(block):
            self._run(block, one)

    def _run(self, block: Block, one: Typed) -> None:
        parts = one.text.split("; ")
        if all(re.match(r"[A-Z]+=(\".*\"|\$\(.*\)|\S*)$", part) for part in parts):
            self.assigned += f"{one.text}\n"
        command = f"{PRELUDE}{self._here(self.assigned + one.text)}\n"
        said = self._end(block, one.text, ["bash", "-c", command])
        found = KEY_ID.findall(said)
        self.key_id = found[-1] if found else self.key_id
        # Who starts Raygate first is told more than who finds it running.
        if one.shows and "make up" not in one.text:
            assert re.search(_pattern(one.shows), said), (
                f"{block}: {one.text}\nshould show\n{one.shows}\nand shows\n{said}"
            )

    def _end(self, block: Block, what: str, command: list[str], given: str = "") -> str:
        """What it wrote."""
        if block.endless:
            return self._listen(block, what, command, given)
        done = subprocess.run(
            command,
            input=given,
            capture_output=True,
            text=True,
            timeout=LONGEST_S,
            check=False,
            cwd=self.there,
            env=self._env(),
        )
        said = done.stdout + done.stderr
        assert done.returncode == 0, f"{block}: {what}\nended with {done.returncode}:\n{said}"
        assert "Traceback" not in said, f"{block}: {what}\n{said}"
        return said

    def _listen(self, block: Block, what: str, command: list[str], given: str) -> str:
        """What it wrote until it told of a request that was made meanwhile; then it gets its ^C."""
        file, name = self.there / "heard", f"req_heard_{block.line}"
        with file.open("w") as out, self.live.client() as client:
            running = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=out,
                stderr=out,
                text=True,
                cwd=self.there,
                env=self._env(),
                start_new_session=True,
                # Whoever is run in the background (nohup, some CI) hears no ^C, and its children neither.
                preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # noqa: PLW1509  # a call of C alone
            )
            assert running.stdin is not None
            running.stdin.write(given)
            running.stdin.close()
            body = {"model": "alpha/say", "messages": [{"role": "user", "content": "hi"}]}

            def heard() -> bool:
                client.post("/v1/chat/completions", json=body, headers={"x-request-id": name})
                return name in file.read_text()

            try:
                until(heard, f"{block}: {what}\ntells of a request", within_s=LONGEST_S)
            finally:
                os.killpg(running.pid, signal.SIGINT)
                try:
                    running.wait(timeout=20)
                except subprocess.TimeoutExpired:
                    os.killpg(running.pid, signal.SIGKILL)
                    raise
        return file.read_text()

    def _here(self, text: str) -> str:
        return KEY_ID.sub(self.key_id or r"\g<0>", text.replace(NAMED, self.live.url))

    def _env(self) -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("RAYGATE_", "XDG_"))}
        path = f"{ROOT / '.venv/bin'}:{os.environ['PATH']}"
        return {
            **kept,
            "HOME": str(self.home),
            "PATH": path,
            "RAYGATE_PORT": "0",
            "COLUMNS": "200",
            "PYTHONUNBUFFERED": "1",
        }


def _pattern(shows: str) -> str:
    """What a page says that is shown, as what may be shown: line after line, perhaps with others between."""
    lines = [line.split() for line in shows.splitlines() if line.strip(" …")]
    return r"[\s\S]*?".join(r"\s+".join(_word(word) for word in words) for words in lines)


def _word(word: str) -> str:
    """
    >>> bool(re.fullmatch(_word("key_4be1d68d9672:"), "key_000000000000:")), _word("rg-…")
    (True, 'rg\\\\-.*?')
    """
    word = KEY_ID.sub("\x00", word)
    parts = re.split(r"(\x00|…|\d+(?:[.,]\d+)*)", word)
    known = {"\x00": KEY_ID.pattern, "…": ".*?"}
    return "".join(known.get(part, r"[\d.,]+" if part[:1].isdigit() else re.escape(part)) for part in parts)


@pytest.fixture
def reader(live: Live, tmp_path: Path) -> Iterator[Reader]:
    home, there = tmp_path / "home", tmp_path / "raygate"
    (home / ".local/state").mkdir(parents=True)
    (home / ".local/state/raygate").symlink_to(live.folder)
    there.mkdir()
    for one in ROOT.iterdir():
        if not one.name.startswith(".") or one.name == ".venv":
            (there / one.name).symlink_to(one)
    (there / "raygate.yaml").write_text("replicas: 2\n")
    # The embedded model may take its time on a busy machine.
    live.switch(timeouts={})
    yield Reader(live, home, there)
    live.switch()


@pytest.mark.parametrize("page", WITH_COMMANDS, ids=lambda page: page.name)
def test_a_page_can_be_followed(reader: Reader, page: Path) -> None:
    reader.follow(page)


def test_what_is_shown_otherwise_is_noticed() -> None:
    shows = textwrap.dedent("""\
        rg-…
        key_4be1d68d9672: kept as a hash
        costs $100.00
        """)
    assert re.search(_pattern(shows), "rg-abc\nkey_0123456789ab: kept as  a hash\nby the way\ncosts $5.00\n")
    assert not re.search(_pattern(shows), "rg-abc\nkey_0123456789ab: kept\n")
