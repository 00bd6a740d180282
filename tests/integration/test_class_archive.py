"""The archive of Kafka's classes: made once, used by the JVM, and no harm where it does not fit."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from pipeline.adapters.local import kafka_jars
from pipeline.adapters.local.class_archive import ClassArchive
from pipeline.adapters.local.kafka import java

OPTIONS = ("-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1")


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> ClassArchive:
    """Made of the few classes that a tool of Kafka's needs; the jars are links, so that the user's own archive stays as it is."""
    folder = tmp_path_factory.mktemp("archive")
    jars = folder / "jars"
    jars.mkdir()
    for jar in kafka_jars.ensure(lambda part, what: None).glob("*.jar"):
        (jars / jar.name).symlink_to(jar)
    archive = ClassArchive(java(), jars, OPTIONS, folder / "classes.txt")
    assert tool(archive).returncode == 0
    with (folder / "classes.txt").open("a") as notes:
        notes.write("java/lang/Obj")  # as a broker leaves it that goes on writing
    archive.make()
    return archive


def tool(archive: ClassArchive, *more: str) -> subprocess.CompletedProcess[str]:
    """`kafka.tools.StorageTool random-uuid`, started as the broker is."""
    classes = ["-cp", f"{archive.file.parent}/*", "kafka.tools.StorageTool", "random-uuid"]
    return subprocess.run([str(java()), *OPTIONS, *archive.options(), *more, *classes], capture_output=True, text=True)


def test_the_next_start_uses_it(archive: ClassArchive) -> None:
    """-Xshare:on makes the JVM refuse to run without its archive: it runs, and its classes come from there."""
    done = tool(archive, "-Xshare:on", "-Xlog:class+load")
    assert done.returncode == 0, done.stderr
    assert "kafka.tools.StorageTool source: shared objects file" in done.stdout
    before = archive.file.stat()
    archive.make()
    assert archive.file.stat().st_mtime_ns == before.st_mtime_ns, "it is there: nothing is made"


def test_a_damaged_one_does_no_harm(archive: ClassArchive) -> None:
    """Bytes that have rotted in the middle, or an end that is missing: the JVM says so and starts without."""
    whole = archive.file.read_bytes()
    middle = len(whole) // 2
    for damaged in (whole[:middle] + os.urandom(4096) + whole[middle + 4096 :], whole[:middle], b""):
        archive.file.write_bytes(damaged)
        done = tool(archive)
        assert done.returncode == 0
        assert "[cds" in done.stdout, "it says why"
    archive.file.write_bytes(whole)


def test_other_jars_or_options_have_another(archive: ClassArchive, tmp_path: Path) -> None:
    """What does not fit is not even tried; a start without notes makes none and fails nothing."""
    jars = archive.file.parent
    other = ClassArchive(java(), jars, (*OPTIONS, "-XX:+UseCompactObjectHeaders"), tmp_path / "none.txt")
    assert other.file != archive.file
    other.make()
    assert archive.file.exists() and not other.file.exists()
    (jars / "another.jar").touch()
    assert ClassArchive(java(), jars, OPTIONS, tmp_path / "none.txt").file != archive.file
    (jars / "another.jar").unlink()
