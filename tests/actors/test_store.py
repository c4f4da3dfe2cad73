"""What must survive every actor: also with two writers, and across a restart."""

from __future__ import annotations

import stat
import subprocess
import sys
from pathlib import Path

from actors.keys import BOOTSTRAP_FILE, bootstrap_key, write_once
from actors.store import Store
from runtime.feed import KeyInfo
from runtime.ledger.accounts import sha256_of

TAKE = """
import sys
from pathlib import Path
from actors.store import Store
for _ in range(25):
    print(Store(Path(sys.argv[1])).next_incarnation("manager"))
"""


def test_two_processes_never_share_an_incarnation(tmp_path: Path) -> None:
    folder = tmp_path / "state"
    command = [sys.executable, "-c", TAKE, str(folder)]
    both = [subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) for _ in range(2)]
    said = [process.communicate(timeout=60) for process in both]
    assert [process.returncode for process in both] == [0, 0], said
    taken = [int(line) for out, _ in said for line in out.split()]
    assert sorted(taken) == list(range(1, 51))


def test_settings_keep_their_order_and_their_version(tmp_path: Path) -> None:
    store = Store(tmp_path)
    assert store.settings() == (0, {})
    document = {"providers": {"zeta": {}, "alpha": {}}}
    assert store.put_settings(document) == 1
    assert store.put_settings(document) == 1
    version, read = Store(tmp_path).settings()
    assert version == 1
    assert list(read["providers"]) == ["zeta", "alpha"]
    assert store.put_settings({}) == 2


def test_only_its_owner_reads_the_store(tmp_path: Path) -> None:
    folder = tmp_path / "state"
    Store(folder).put_settings({"a": 1})
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert {stat.S_IMODE(file.stat().st_mode) for file in folder.iterdir()} == {0o600}


def test_a_key_of_the_same_hash_is_replaced(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.add_key(KeyInfo(sha256="a", name="one"))
    store.add_key(KeyInfo(sha256="a", name="two", admin=True))
    assert store.keys() == (KeyInfo(sha256="a", name="two", admin=True),)


def test_an_only_key_takes_the_place_of_all_of_its_name(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.add_key(KeyInfo(sha256="a", name="bootstrap", admin=True))
    store.add_key(KeyInfo(sha256="b", name="bootstrap", admin=True))
    store.add_key(KeyInfo(sha256="c", name="another"))
    store.only_key(KeyInfo(sha256="d", name="bootstrap", admin=True))
    kept = store.keys()
    assert [one.sha256 for one in kept] == ["c", "d"]


def test_the_first_key_is_shown_once(tmp_path: Path) -> None:
    info, fresh = bootstrap_key(tmp_path)
    assert fresh is not None
    assert fresh.startswith("rg-")
    assert info == KeyInfo(sha256=sha256_of(fresh), name="bootstrap", admin=True)
    assert bootstrap_key(tmp_path) == (info, None)
    assert stat.S_IMODE((tmp_path / BOOTSTRAP_FILE).stat().st_mode) == 0o600


def test_an_empty_file_is_no_key(tmp_path: Path) -> None:
    """What a start leaves that is killed between creating and writing, or a disk that was full."""
    (tmp_path / BOOTSTRAP_FILE).touch()
    info, fresh = bootstrap_key(tmp_path)
    assert fresh is not None
    assert info.sha256 != sha256_of("")


def test_a_secret_is_written_once_and_leaves_nothing_beside_it(tmp_path: Path) -> None:
    path = tmp_path / "token"
    assert write_once(path, "first")
    assert not write_once(path, "second")
    assert path.read_text() == "first"
    assert list(tmp_path.iterdir()) == [path]


def test_a_cluster_may_be_told_its_first_key(tmp_path: Path) -> None:
    """The same one on whichever machine the state lies; a new one takes the place of the old."""
    for given in ("rg-told", "rg-told-anew"):
        info, fresh = bootstrap_key(tmp_path, {"RAYGATE_FIRST_KEY": given})
        assert fresh is None
        assert info.sha256 == sha256_of(given)
    assert bootstrap_key(tmp_path)[0].sha256 == sha256_of("rg-told-anew")


def test_an_incarnation_may_have_a_least_number(tmp_path: Path) -> None:
    store = Store(tmp_path)
    assert [store.next_incarnation("m", least=least) for least in (1, 1, 100, 7)] == [1, 2, 100, 101]
