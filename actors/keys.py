"""The first key, which `raygate up` makes; all others are the ledger's."""

from __future__ import annotations

import os
import secrets
from collections.abc import Mapping
from pathlib import Path

from runtime.feed import KeyInfo
from runtime.ledger.accounts import KEY_BYTES, new_key, sha256_of

BOOTSTRAP_FILE = "key"
GIVEN = "RAYGATE_FIRST_KEY"
"""A cluster may be told its first key, so that it is the same one whichever machine keeps the state."""


def bootstrap_key(folder: Path, env: Mapping[str, str] | None = None) -> tuple[KeyInfo, str | None]:
    """The first key of this state folder, and, if it was made just now, its text: the only time it is shown.

    Its file is readable by its owner only; there the command line finds it again.
    """
    path = folder / BOOTSTRAP_FILE
    if (given := (env or {}).get(GIVEN, "").strip()) and not (path.exists() and path.read_text().strip() == given):
        path.unlink(missing_ok=True)
        write_once(path, given)
    made = new_key(secrets.token_bytes(KEY_BYTES)).text
    fresh = made if write_once(path, made) else None
    return KeyInfo(sha256=sha256_of(path.read_text().strip()), name="bootstrap", admin=True), fresh


def write_once(path: Path, secret: str) -> bool:
    """Write a secret for its owner's eyes only; False where there is one already.

    It appears whole or not at all: a start that is killed between creating and writing must not leave an empty file
    that every later one takes for a secret.
    """
    if path.exists() and not path.read_text().strip():
        path.unlink(missing_ok=True)
    temporary = path.with_name(f"{path.name}.{os.getpid()}.{secrets.token_hex(4)}")
    try:
        with os.fdopen(os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "w") as file:
            file.write(secret)
        os.link(temporary, path)
    except FileExistsError:
        return False
    finally:
        temporary.unlink(missing_ok=True)
    return True
