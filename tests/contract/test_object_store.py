"""ObjectStore: the local folder and its in-memory twin."""

from __future__ import annotations

import asyncio
import errno
import hashlib
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline.adapters.memory.objects import MemoryObjectStore
from pipeline.adapters.objects.local import LocalObjectStore
from pipeline.errors import NotFound, Unavailable
from pipeline.ports import ObjectStore


@pytest.fixture(params=["local", "memory"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> ObjectStore:
    """Each adapter in turn."""
    return LocalObjectStore(tmp_path / "objects") if request.param == "local" else MemoryObjectStore()


def _names(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir()]


def _files(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


async def test_new_object_can_be_read_back(store: ObjectStore) -> None:
    """What was put comes back under its uri, with its digest, size and count."""
    stored = await store.put("1.2", "1.2.3", "1.2.3.4", [b"ab", b"", b"c"])

    assert (stored.outcome, stored.size, stored.instances) == ("new", 3, 1)
    assert stored.sha256 == hashlib.sha256(b"abc").hexdigest()
    assert await store.get(stored.uri) == b"abc"


async def test_same_bytes_again_are_the_same(store: ObjectStore) -> None:
    """A resend changes nothing."""
    first = await store.put("1.2", "1.2.3", "1.2.3.4", [b"abc"])
    again = await store.put("1.2", "1.2.3", "1.2.3.4", [b"a", b"bc"])

    assert (again.outcome, again.uri, again.instances) == ("same", first.uri, 1)


async def test_other_bytes_are_kept_beside(store: ObjectStore) -> None:
    """A second version of an instance overwrites nothing, counts as no new instance, and is itself known when it comes again."""
    first = await store.put("1.2", "1.2.3", "1.2.3.4", [b"abc"])
    second = await store.put("1.2", "1.2.3", "1.2.3.4", [b"xyz"])
    third = await store.put("1.2", "1.2.3", "1.2.3.4", [b"xyz"])

    assert (second.outcome, second.instances) == ("conflict", 1)
    assert (third.outcome, third.uri) == ("same", second.uri)
    assert await store.get(first.uri) == b"abc"
    assert await store.get(second.uri) == b"xyz"


async def test_counts_the_study_across_series(store: ObjectStore) -> None:
    """`instances` is of the whole study and of no other."""
    await store.put("1.2", "1.2.3", "1.2.3.4", [b"a"])
    await store.put("1.3", "1.3.3", "1.3.3.4", [b"a"])
    stored = await store.put("1.2", "1.2.9", "1.2.9.1", [b"b"])

    assert stored.instances == 2


async def test_unknown_uri_is_not_found(store: ObjectStore) -> None:
    """Reading what is not there says so."""
    with pytest.raises(NotFound):
        await store.get("object:1.2/1.2.3/9.9.dcm")


async def test_racing_versions_are_all_kept(tmp_path: Path) -> None:
    """Of several versions that arrive at once, one is new and the others are conflicts; no byte is lost."""
    store = LocalObjectStore(tmp_path)
    versions = [bytes([65 + number]) * 1000 for number in range(8)]
    stored = await asyncio.gather(*(store.put("1.2", "1.2.3", "1.2.3.4", [version]) for version in versions))

    assert sorted(one.outcome for one in stored) == ["conflict"] * 7 + ["new"]
    assert [await store.get(one.uri) for one in stored] == versions


@pytest.mark.parametrize("uid", ["../../../etc/passwd", "DOE^JANE", "", "1." * 40, "1.2/3", "..", "1\0", "\udce4", "1.2\n"])
async def test_no_uid_leaves_the_folder_or_shows_a_name(tmp_path: Path, uid: str) -> None:
    """A UID that is none becomes a digest, in file name and uri."""
    store = LocalObjectStore(tmp_path / "objects")
    stored = await store.put(uid, uid, uid, [b"abc"])

    assert await store.get(stored.uri) == b"abc"
    assert _names(tmp_path) == ["objects"]
    assert "DOE" not in stored.uri
    assert stored.uri.count("/") == 2


@pytest.mark.parametrize("uri", ["object:../../x", "object:a/../b", "file:a/b/c", "object:a/b/c/d", "object:/etc/passwd"])
async def test_foreign_uris_are_not_followed(tmp_path: Path, uri: str) -> None:
    """A uri cannot lead out of the folder."""
    with pytest.raises(NotFound):
        await LocalObjectStore(tmp_path).get(uri)


async def test_bytes_and_names_are_synced_before_the_answer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The file and each folder that got a new entry are fsynced."""
    synced: list[str] = []
    real = os.fsync
    monkeypatch.setattr(os, "fsync", lambda fd: (synced.append(os.readlink(f"/proc/self/fd/{fd}")), real(fd))[1])
    await LocalObjectStore(tmp_path).put("1.2", "1.2.3", "1.2.3.4", [b"abc"])

    assert any("/.incoming/" in name for name in synced)
    assert {str(tmp_path), str(tmp_path / "1.2"), str(tmp_path / "1.2" / "1.2.3")} <= set(synced)


async def test_full_disk_is_unavailable_and_leaves_nothing(tmp_path: Path) -> None:
    """No space: the caller may try again, and no half object stands there."""

    def chunks() -> Iterator[bytes]:
        yield b"abc"
        raise OSError(errno.ENOSPC, "No space left on device")

    store = LocalObjectStore(tmp_path)
    with pytest.raises(Unavailable, match="No space"):
        await store.put("1.2", "1.2.3", "1.2.3.4", chunks())

    assert _files(tmp_path) == []
    assert (await store.put("1.2", "1.2.3", "1.2.3.4", [b"abc"])).outcome == "new"


async def test_read_only_folder_is_unavailable(tmp_path: Path) -> None:
    """A folder that cannot be made is a fault of ours, not of the sender."""
    (tmp_path / "objects").write_text("a file stands where the folder should be")
    with pytest.raises(Unavailable):
        await LocalObjectStore(tmp_path / "objects").put("1.2", "1.2.3", "1.2.3.4", [b"abc"])


async def test_whoever_asks_learns_whether_it_can_be_written(tmp_path: Path) -> None:
    """Before an image comes, also into a folder that nothing has been put into; nothing is left of the question."""
    (tmp_path / "a file").touch()
    await LocalObjectStore(tmp_path / "new").ping()

    assert _files(tmp_path / "new") == []
    with pytest.raises(Unavailable, match="cannot write"):
        await LocalObjectStore(tmp_path / "a file").ping()


async def test_leftovers_of_a_killed_process_go(tmp_path: Path) -> None:
    """What was half written an hour ago is removed; what is being written now is not."""
    store = LocalObjectStore(tmp_path)
    stored = await store.put("1.2", "1.2.3", "1.2.3.4", [b"abc"])
    incoming = tmp_path / ".incoming"
    for name, age in (("old", 7200), ("young", 10)):
        (incoming / name).write_bytes(b"half")
        os.utime(incoming / name, (1e9 - age, 1e9 - age))

    assert store.discard_abandoned(now=1e9) == 1
    assert _names(incoming) == ["young"]
    assert await store.get(stored.uri) == b"abc"
