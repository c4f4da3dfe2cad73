"""`make test-clients`: people's own clients against a Raygate that runs, each in its own environment.

    python -m tests.clients.run [--actor] [NAME...]

--actor: over the manager's actor (`data_path: actor`). NAME: only those clients whose name holds one of these words.
Exit status 0 if everything holds that is not in `known.py`.
"""

from __future__ import annotations

import asyncio
import json
import re
import shutil
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.clients.known import KNOWN
from tests.clients.stack import SLOTS, Stack, environment, running
from tests.clients.table import COLUMNS, Check, Row, faults, reasons, render

HERE = Path(__file__).parent
INSTALLED = HERE.parent.parent / ".clients"
NODE = INSTALLED / "node"
LIMIT_S = 240.0
NOBODY = "http://127.0.0.1:9"

ALL = tuple(column for column in COLUMNS if column != "fuzz")
"""The columns of a client that people write programs with."""


@dataclass(frozen=True, slots=True)
class Client:
    """A row. `package` is the environment's or the Node package's name; `script` lies in py/ or node/.

    `words` is what the script is told: which API to speak, where it can speak several. `columns` leaves out what the
    client has not.
    """

    name: str
    version: str
    package: str
    script: str
    words: str = ""
    columns: tuple[str, ...] = ALL

    @property
    def tag(self) -> str:
        """What its models' names end with."""
        return re.sub(r"\W+", "-", f"{self.name} {self.version}")

    def command(self) -> list[str] | str:
        """How to start it, or why that cannot be."""
        arguments = [self.words] if self.words else []
        if self.script.endswith(".py"):
            python = INSTALLED / f"{self.package}-{self.version}" / "bin" / "python"
            return [str(python), str(HERE / "py" / self.script), *arguments] if python.exists() else _not_there(python)
        node = shutil.which("node")
        if node is None:
            return "there is no node here; install Node 20 or newer"
        if not (NODE / "node_modules" / self.package).exists():
            return _not_there(NODE / "node_modules" / self.package)
        # Node looks for packages beside the script, so the scripts go where the packages are.
        return [node, str(NODE / "scripts" / self.script), *arguments]


def _without(*columns: str) -> tuple[str, ...]:
    return tuple(column for column in ALL if column not in columns)


CHATS = _without("embed", "models")

CLIENTS = (
    Client("openai", "1.109.1", "openai", "use_openai.py"),
    Client("openai", "3.54.0", "openai", "use_openai.py"),
    Client("openai, responses", "1.109.1", "openai", "use_responses.py", columns=CHATS),
    Client("openai, responses", "3.54.0", "openai", "use_responses.py", columns=CHATS),
    Client("anthropic", "0.125.0", "anthropic", "use_anthropic.py", columns=_without("embed")),
    Client("anthropic", "2.12.0", "anthropic", "use_anthropic.py", columns=_without("embed")),
    Client("ollama", "0.6.3", "ollama", "use_ollama.py"),
    Client("litellm, OpenAI", "1.106.2", "litellm", "use_litellm.py", "openai", _without("models")),
    Client("litellm, Anthropic", "1.106.2", "litellm", "use_litellm.py", "anthropic", CHATS),
    Client("litellm, Ollama", "1.106.2", "litellm", "use_litellm.py", "ollama_chat", _without("models")),
    Client("langchain-openai", "1.7.3", "langchain-openai", "use_langchain.py", columns=_without("models")),
    Client("instructor", "1.17.0", "instructor", "use_instructor.py", columns=CHATS),
    Client("pydantic-ai", "2.38.0", "pydantic-ai", "use_pydantic_ai.py", columns=_without("models")),
    Client("schemathesis", "4.32.5", "schemathesis", "use_schemathesis.py", columns=("fuzz",)),
    Client("node openai", "6.49.0", "openai", "use_openai.mjs"),
    Client("node openai, responses", "6.49.0", "openai", "use_responses.mjs", columns=CHATS),
    Client("node @anthropic-ai/sdk", "1.12.0", "@anthropic-ai/sdk", "use_anthropic.mjs", columns=_without("embed")),
    Client("node ai, openai chat", "6.0.326", "ai", "use_ai.mjs", "openai", _without("models")),
    Client("node ai, openai responses", "6.0.326", "ai", "use_ai.mjs", "responses", CHATS),
    Client("node ai, openai-compatible", "6.0.326", "ai", "use_ai.mjs", "compatible", _without("models")),
    Client("node ai, anthropic", "6.0.326", "ai", "use_ai.mjs", "anthropic", CHATS),
)


def _not_there(path: Path) -> str:
    return f"{path} is missing: make test-clients installs it"


async def asked(client: Client, stack: Stack, slots: asyncio.Queue[int]) -> Row:
    """What one client finds."""
    row = Row(client.name, client.version, client.columns)
    command = client.command()
    if isinstance(command, str):
        return Row(client.name, client.version, client.columns, absent=command)
    env = {
        **environment(),
        "RAYGATE_URL": stack.url,
        "RAYGATE_KEY": stack.key,
        "FAKE_URL": stack.fake_url,
        "CLIENT_TAG": client.tag,
        "OLLAMA_API_KEY": stack.key,
        # Nothing beyond this machine: what a client would fetch from elsewhere, it fails to at once.
        "HTTPS_PROXY": NOBODY,
        "LITELLM_LOCAL_MODEL_COST_MAP": "True",
        "LITELLM_LOCAL_ANTHROPIC_BETA_HEADERS": "True",
    }
    slot = await slots.get()
    try:
        begun = time.monotonic()
        process = await asyncio.create_subprocess_exec(
            *command,
            env={**env, "CLIENT_SLOT": str(slot)},
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            limit=2**22,
        )
        ended = ""
        try:
            out, err = await asyncio.wait_for(process.communicate(), LIMIT_S)
        except TimeoutError:
            process.kill()
            out, err = await process.communicate()
            ended = f"it was ended after {LIMIT_S:g} s"
        took_s = time.monotonic() - begun
    finally:
        slots.put_nowait(slot)
    if process.returncode and not ended:
        ended = f"exit status {process.returncode}: {err.decode(errors='replace')[-1500:]}"
    return Row(row.client, row.version, row.columns, checks=_checks(out), ended=ended, took_s=took_s)


def _checks(out: bytes) -> tuple[Check, ...]:
    lines = [line for line in out.decode().splitlines() if line.startswith("{")]
    return tuple(Check(said["column"], said["check"], said["problem"]) for said in map(json.loads, lines))


async def main(said: Sequence[str]) -> int:
    words = [word for word in said if word != "--actor"]
    clients = [one for one in CLIENTS if not words or any(word in f"{one.name} {one.version}" for word in words)]
    if not clients:
        print("no client has such a name; there are:", *(f"{one.name} {one.version}" for one in CLIENTS), sep="\n  ")
        return 2
    if NODE.exists():
        shutil.copytree(HERE / "node", NODE / "scripts", dirs_exist_ok=True)
    begun = time.monotonic()
    print(f"starting Raygate for {len(clients)} clients ...", file=sys.stderr)
    async with running(data_path="actor" if "--actor" in said else "edge") as stack:
        slots: asyncio.Queue[int] = asyncio.Queue()
        for slot in range(SLOTS):
            slots.put_nowait(slot)
        rows = await asyncio.gather(*(asked(one, stack, slots) for one in clients))
    print(render(rows, KNOWN))
    for reason in reasons(rows, KNOWN):
        print(f"known  {reason}")
    found = [fault for row in rows for fault in faults(row, KNOWN)]
    for fault in found:
        print(f"FAIL   {fault}")
    print(f"{sum(len(row.checks) for row in rows)} checks, {len(found)} faults, {time.monotonic() - begun:.0f} s")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(asyncio.run(main(sys.argv[1:])))
