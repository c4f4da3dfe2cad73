"""A file that is whole or not there: written beside, synced, renamed; with a checksum that is asked for when reading.

magic (8 bytes) · sha256 of the rest (32 bytes) · payload
"""

from __future__ import annotations

import os
from hashlib import sha256
from pathlib import Path

MAGIC = b"RAYGATE1"


class Damaged(ValueError):
    """The file is not what was written: cut short, altered, or another file."""


def write(path: Path, payload: bytes) -> None:
    """Replace the file. After a crash at any moment it holds the old payload or the new one, whole."""
    put(path, MAGIC + sha256(payload).digest() + payload)


def put(path: Path, whole: bytes) -> None:
    """The same with these bytes as they are: for formats that others read too."""
    beside = path.with_name(path.name + ".new")
    with beside.open("wb") as file:
        file.write(whole)
        file.flush()
        os.fsync(file.fileno())
    beside.replace(path)
    # The rename is durable once its folder is.
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def read(path: Path) -> bytes:
    """Raises `Damaged`, or `FileNotFoundError`."""
    whole = path.read_bytes()
    head = len(MAGIC) + 32
    if len(whole) < head or not whole.startswith(MAGIC):
        raise Damaged(f"{path} is no snapshot of Raygate; the memory can be rebuilt from its database")
    payload = whole[head:]
    if sha256(payload).digest() != whole[len(MAGIC) : head]:
        raise Damaged(f"{path} was altered or cut short; the memory can be rebuilt from its database")
    return payload
