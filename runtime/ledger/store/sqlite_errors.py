"""What an error of SQLite's means, by its code alone."""

from __future__ import annotations

import errno
import os
import shutil
import sqlite3
from pathlib import Path

from runtime.ledger.store.base import StoreFailure, Trouble

_KIND = {
    sqlite3.SQLITE_FULL: Trouble.FULL,
    sqlite3.SQLITE_READONLY: Trouble.READ_ONLY,
    sqlite3.SQLITE_PERM: Trouble.READ_ONLY,
    sqlite3.SQLITE_BUSY: Trouble.LOCKED,
    sqlite3.SQLITE_LOCKED: Trouble.LOCKED,
    sqlite3.SQLITE_PROTOCOL: Trouble.LOCKED,
    sqlite3.SQLITE_CORRUPT: Trouble.CORRUPT,
    sqlite3.SQLITE_NOTADB: Trouble.CORRUPT,
    sqlite3.SQLITE_CONSTRAINT: Trouble.INVALID,
    sqlite3.SQLITE_MISMATCH: Trouble.INVALID,
    sqlite3.SQLITE_TOOBIG: Trouble.INVALID,
}

_OF_OS = {
    errno.ENOSPC: Trouble.FULL,
    errno.EDQUOT: Trouble.FULL,
    errno.EFBIG: Trouble.FULL,
    errno.EROFS: Trouble.READ_ONLY,
    errno.EACCES: Trouble.READ_ONLY,
    errno.EPERM: Trouble.READ_ONLY,
}

_DETAIL = {
    Trouble.FULL: "its disk is full; make room, or lower the ledger's retention",
    Trouble.READ_ONLY: "it may not be written; give Raygate's user the right to write the file and its folder",
    Trouble.LOCKED: "another process holds it; see who else has opened it",
    Trouble.CORRUPT: "it is no whole SQLite database; keep a copy, then restore a backup or run sqlite3 FILE .recover",
    Trouble.UNREACHABLE: "its disk failed or its folder is gone; see the system's log",
    Trouble.INVALID: "it breaks a rule of the table",
}

NO_ROOM = 64 * 1024
"""A disk with less room than this is full: what SQLite reports is then often a plain I/O error."""


def failure_of(error: BaseException, path: Path) -> StoreFailure:
    """Raises what is no trouble of a store's, but a bug."""
    if isinstance(error, sqlite3.Error) and not isinstance(error, sqlite3.ProgrammingError):
        kind = _kind(error, path)
    elif isinstance(error, OSError):
        kind = _OF_OS.get(error.errno or 0, Trouble.UNREACHABLE)
    else:
        raise error
    return StoreFailure(kind=kind, detail=f"{path}: {_DETAIL[kind]} ({error})")


def _kind(error: sqlite3.Error, path: Path) -> Trouble:
    # Extended codes hold the plain one in their lowest byte. Errors of Python's own module have none.
    code = getattr(error, "sqlite_errorcode", None)
    if code is None:
        return Trouble.UNREACHABLE
    if kind := _KIND.get(code & 0xFF):
        return kind
    # I/O errors, and files that cannot be opened: their cause is the disk's or the folder's.
    if _has_no_room(path):
        return Trouble.FULL
    if path.parent.exists() and not (
        os.access(path.parent, os.W_OK) and (not path.exists() or os.access(path, os.W_OK))
    ):
        return Trouble.READ_ONLY
    return Trouble.UNREACHABLE


def _has_no_room(path: Path) -> bool:
    try:
        return shutil.disk_usage(path.parent).free < NO_ROOM
    except OSError:
        return False
