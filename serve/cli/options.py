"""Options that several commands have."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

Json = Annotated[bool, typer.Option("--json", help="Print JSON for programs.")]
Config = Annotated[
    Path | None, typer.Option("--config", "-c", metavar="FILE", help="A settings file; else RAYGATE_CONFIG, if set.")
]
Url = Annotated[str, typer.Option(help="Where Raygate is; else RAYGATE_URL, else the one that runs here.")]
Key = Annotated[str, typer.Option(help="The key to show; else RAYGATE_API_KEY, else the one that was made here.")]
