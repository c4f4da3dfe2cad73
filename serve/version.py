"""Which Raygate this is."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError
from importlib.metadata import version as installed_version

try:
    VERSION = installed_version("raygate")
except PackageNotFoundError:
    # Ray ships a working directory as it stands, without installing it.
    VERSION = "unpackaged"
