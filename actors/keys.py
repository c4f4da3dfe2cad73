"""Callers' keys: 256 bits of chance each, so one SHA-256 is enough to store them and to look them up by."""

from __future__ import annotations

import hashlib
import os
import secrets
from pathlib import Path

from runtime.feed import KeyInfo

PREFIX = "rg-"
BOOTSTRAP_FILE = "key"


def new_key() -> str:
    return PREFIX + secrets.token_urlsafe(32)


def sha256_of(key: str) -> str:
    return hashlib.sha256(key.encode()).hexdigest()


def bootstrap_key(folder: Path) -> tuple[KeyInfo, str | None]:
    """The first key of this state folder, and, if it was made just now, its text: the only time it is shown.

    Its file is readable by its owner only; there the command line finds it again.
    """
    path = folder / BOOTSTRAP_FILE
    fresh: str | None = None
    try:
        with os.fdopen(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "w") as file:
            fresh = new_key()
            file.write(fresh)
    except FileExistsError:
        pass
    return KeyInfo(sha256=sha256_of(path.read_text().strip()), name="bootstrap", admin=True), fresh
