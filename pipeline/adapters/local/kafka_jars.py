"""Apache Kafka's jars: fetched once from Maven Central by jgo, checked against the committed checksums at every start."""

from __future__ import annotations

import hashlib
import shutil
import threading
from collections.abc import Callable
from pathlib import Path

from pipeline.adapters.local.folders import cache_dir, exclusive
from pipeline.errors import StackError

KAFKA_VERSION = "4.1.2"
CHECKSUMS = Path(__file__).with_name("kafka-jars.sha256")
# Kafka's own artifact names no SLF4J binding; without one it logs nothing.
_ENDPOINTS = (f"org.apache.kafka:kafka_2.13:{KAFKA_VERSION}", "org.slf4j:slf4j-simple:1.7.36")

Progress = Callable[[str, str], None]


def jars_dir() -> Path:
    """Where the jars of this version are kept, for all data folders of this user."""
    return cache_dir() / f"kafka-{KAFKA_VERSION}"


def expected(checksums: Path = CHECKSUMS) -> dict[str, str]:
    """File name -> SHA-256, hex."""
    pairs = (line.split() for line in checksums.read_text().splitlines() if line.strip())
    return {name: digest for digest, name in pairs}


def verify(folder: Path, checksums: Path = CHECKSUMS) -> None:
    """StackError naming the first jar that is missing, unknown or not the one that was pinned."""
    pinned = expected(checksums)
    here = {path.name for path in folder.glob("*.jar")}
    remedy = f"delete {folder} and start again: the jars are fetched anew"
    if missing := sorted(pinned.keys() - here):
        raise StackError(f"Kafka's jar {missing[0]} is missing in {folder}", remedy)
    if unknown := sorted(here - pinned.keys()):
        raise StackError(f"the jar {unknown[0]} in {folder} is not one of Kafka's pinned jars", remedy)
    for name, digest in pinned.items():
        with (folder / name).open("rb") as handle:
            if hashlib.file_digest(handle, "sha256").hexdigest() != digest:
                raise StackError(f"the jar {name} in {folder} does not match its pinned SHA-256 checksum", remedy)


def ensure(progress: Progress) -> Path:
    """The folder of verified jars, fetched first if need be."""
    folder = jars_dir()
    with exclusive(folder.with_name(f"{folder.name}.lock")):
        if not folder.is_dir():
            _fetch(folder, progress)
        verify(folder)
    return folder


def _fetch(folder: Path, progress: Progress) -> None:
    """Fetch into a scratch folder, verify there, then move into place: an interrupted fetch leaves nothing half done."""
    scratch = folder.with_name(f"{folder.name}.partial")
    shutil.rmtree(scratch, ignore_errors=True)
    staging = scratch / "jars"
    staging.mkdir(parents=True)
    done = threading.Event()
    threading.Thread(target=_report, args=(scratch / "m2", progress, done), daemon=True).start()
    try:
        for jar in _resolve(scratch):
            shutil.copy2(jar, staging / jar.name)
    finally:
        done.set()
    verify(staging)
    staging.replace(folder)
    shutil.rmtree(scratch)


def _report(repository: Path, progress: Progress, done: threading.Event) -> None:
    total = len(expected())
    while not done.wait(0.5):
        progress("kafka", f"fetching Apache Kafka {KAFKA_VERSION}: {len(list(repository.rglob('*.jar')))} of {total} jars")


def _resolve(scratch: Path) -> list[Path]:
    """All jars that the endpoints need, by Maven's rules."""
    from jgo.env import EnvironmentBuilder, LinkStrategy
    from jgo.maven import MavenContext, PythonResolver

    context = MavenContext(repo_cache=scratch / "m2", resolver=PythonResolver(), timeout=60)
    builder = EnvironmentBuilder(context=context, link_strategy=LinkStrategy.COPY, cache_dir=scratch / "environments")
    try:
        environments = [builder.from_endpoint(endpoint) for endpoint in _ENDPOINTS]
    except Exception as error:  # jgo raises requests', urllib's and its own errors
        raise StackError(
            f"could not fetch Apache Kafka {KAFKA_VERSION} from Maven Central: {error}",
            f"check the network and its proxy (HTTPS_PROXY), or copy {cache_dir()} from a machine that has it",
        ) from error
    return [jar for environment in environments for jar in Path(environment.path).rglob("*.jar")]
