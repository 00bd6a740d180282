"""Films for a score: read once, kept a while, never waited for too long."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import numpy as np
import pytest
from msgspec.structs import replace

from pipeline.adapters.memory.clock import ManualClock
from pipeline.adapters.memory.degraded_scores import MemoryDegradedScores
from pipeline.adapters.memory.event_log import MemoryEventLog
from pipeline.adapters.memory.transactions import MemoryOffsets
from pipeline.adapters.onnx.artefact import REFERENCE_FILE, SHIPPED, load_reference
from pipeline.adapters.onnx.asking import BESIDE, Patience, films_for
from pipeline.adapters.pictures import films
from pipeline.adapters.pictures.films import KeptFilms
from pipeline.adapters.triton.scorer import TritonScorer
from pipeline.domain import features
from pipeline.domain.model_answer import Answer
from pipeline.domain.model_inputs import film_of
from pipeline.errors import Unavailable, UnfitPicture
from pipeline.ports import Picture
from pipeline.replay.scorers import ReplayScorer
from pipeline.services.scoring import ScoringStage
from schemas.topics import ASSESSMENTS
from tests import virtual_time
from tests.store_fixtures import batch
from tests.unit.services.test_scoring import GROUP, NOW, received, request

KNOWN = (("features", [len(features.NAMES)]),)
SITE = replace(load_reference(), side=8)


class Reader:
    """A film for every claim check but some; none before `open`."""

    def __init__(self) -> None:
        self.open = asyncio.Event()
        self.open.set()
        self.away = False
        self.read_: list[str] = []

    async def read(self, uri: str, side: int) -> Picture:
        self.read_.append(uri)
        await self.open.wait()
        if self.away:
            raise Unavailable("the store does not answer")
        if uri == "photograph":
            raise UnfitPicture("colour", "a photograph")
        return np.full((side, side), 7, np.uint8)


async def test_a_film_is_read_once_by_side() -> None:
    """Refusals too; of a store that is away nothing is remembered."""
    reader = Reader()
    kept = KeptFilms(reader)
    reader.away = True
    assert await kept.get(["a"], 8, 5.0) == {}
    reader.away = False
    for _ in range(2):
        found = await kept.get(["a", "a", "photograph"], 8, 5.0)
        assert (found["photograph"], np.shape(found["a"])) == ("colour", (8, 8))
    await kept.get(["a"], 4, 5.0)
    assert reader.read_ == ["a", "a", "photograph", "a"]


async def test_what_is_not_there_in_time_comes_the_next_time() -> None:
    """And is read on meanwhile, for whoever asks."""
    reader = Reader()
    kept = KeptFilms(reader)
    reader.open.clear()
    assert await kept.get(["a"], 8, 0.0) == {}
    both = asyncio.gather(kept.get(["a"], 8, 5.0), kept.get(["a", "b"], 8, 5.0))
    reader.open.set()
    assert [sorted(found) for found in await both] == [["a"], ["a", "b"]]
    assert reader.read_ == ["a", "b"]


async def test_memory_is_bounded() -> None:
    """The film that nobody asked for longest goes; only so many are on their way."""
    reader = Reader()
    kept = KeptFilms(reader, kept=2)
    for uri in ("a", "b", "a", "c", "a", "b"):
        await kept.get([uri], 8, 5.0)
    assert reader.read_ == ["a", "b", "c", "b"]

    reader.open.clear()
    more = [f"f{n}" for n in range(films.BEGUN + 9)]
    assert await kept.get(more, 8, 0.0) == {}
    assert len(kept._begun) == films.BEGUN
    kept.close()


async def test_the_most_urgent_are_given_theirs_first() -> None:
    """As many as one score can take; a model that reads none asks for none."""
    kept, asked = KeptFilms(Reader()), [replace(request(f"p{n}", urgency=3 - n % 3), picture=f"u{n}") for n in range(6)]
    found = await films_for(asked, SITE, kept, Patience(2, 5.0, 2))
    assert [one.patient for one in asked if film_of(one, SITE, found) is not None] == ["p2", "p5"]
    assert await films_for(asked, load_reference(), kept, Patience(2, 5.0, 2)) == {}
    assert set((await films_for(asked, SITE, None, Patience(2, 5.0, 2))).values()) == {"no-reader"}


class Triton:
    """A TritonScorer of a model that reads films, and what answers it; `taken` and `ask` stand for the server."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch, reader: Reader) -> None:
        further = {"side": 8, "groups": [*load_reference().groups, "image"]}
        (folder / REFERENCE_FILE).write_bytes(
            msgspec.json.encode({**msgspec.json.decode((SHIPPED / REFERENCE_FILE).read_bytes()), **further})
        )
        self.scorer = TritonScorer("nowhere:1", "m", 0.5, ManualClock(NOW), lambda: folder, films=KeptFilms(reader))
        self.looks: list[int] = []
        self.fails: str | None = None
        monkeypatch.setattr(self.scorer, "_taken", self.taken)
        monkeypatch.setattr(self.scorer, "_ask", self.ask)

    async def taken(self) -> Sequence[Any]:
        return [SimpleNamespace(name=name, dims=dims, optional=True) for name, dims in (*KNOWN, ("image", [8, 8]), ("has_image", [1]))]

    async def ask(self, arrays: dict[str, Any], urgency: int) -> tuple[str, Answer]:
        rows, chance = len(arrays["features"]), 0.3 if "image" in arrays else 0.2
        if "image" in arrays:
            self.looks.append(rows)
            if urgency == 1 and self.fails == "broken":
                raise RuntimeError("out of memory")
            if urgency == 1 and self.fails == "slow":
                await asyncio.Event().wait()
        column = np.full((rows, 1), chance)
        return load_reference().version, Answer(column, np.zeros((rows, len(load_reference().groups) + 1)), column, column)


@pytest.mark.parametrize("fails", ["slow", "broken"])
def test_a_look_that_takes_too_long_holds_nobody_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fails: str) -> None:
    """Triton answers the same request without its film, which is said to be late; that of another is answered with it."""
    triton = Triton(tmp_path, monkeypatch, Reader())
    triton.fails = fails
    asked = [replace(request(f"p{n}", urgency=n), picture=f"u{n}") for n in (1, 2)] + [request("p3", urgency=1)]
    said = virtual_time.run(triton.scorer.score(asked))
    assert [(risk.probability, risk.unseen, risk.inputs) for risk in said] == [(0.2, "late", ()), (0.3, None, ("image",)), (0.2, None, ())]


@pytest.mark.parametrize("there", [True, False])
def test_a_backlog_waits_for_films_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, there: bool) -> None:
    """For those of the most urgent; all others have their scores first, and are scored again with theirs."""
    reader = Reader()
    triton, log = Triton(tmp_path, monkeypatch, reader), MemoryEventLog()
    asked = [replace(request(f"p{n}", urgency=3 - (n == 299)), picture=f"u{n}") for n in range(300)]

    async def handled() -> float:
        if not there:
            reader.open.clear()
        stage = ScoringStage(MemoryOffsets(), MemoryDegradedScores(), log, triton.scorer, None, ManualClock(NOW), GROUP)
        begun = asyncio.get_running_loop().time()
        await stage.handle([batch([received(n, one) for n, one in enumerate(asked)])])
        return asyncio.get_running_loop().time() - begun

    assert virtual_time.run(handled()) == (0.0 if there else 0.25)
    said = {one.patient: one.risk.unseen for one in log.documents(ASSESSMENTS) if one.risk}
    assert (len(said), said["p299"], said["p298"]) == (300, None if there else "late", "late")
    assert sum(triton.looks) == (4 if there else 0)


def test_who_looks_on_has_one_film_read_at_a_time() -> None:
    """A score that asks later has to wait for that one alone, however many the other has yet to read."""
    reader = Reader()
    kept = KeptFilms(reader)
    many = [replace(request(f"p{n}"), picture=f"u{n}") for n in range(20)]

    async def both() -> None:
        reader.open.clear()
        beside = asyncio.create_task(films_for(many, SITE, kept, BESIDE))
        await asyncio.sleep(0.1)
        asked = asyncio.create_task(kept.get(["mine"], 8, 0.25))
        await asyncio.sleep(0.1)
        reader.open.set()
        assert list(await asked) == ["mine"]
        assert reader.read_[:2] == ["u0", "mine"]
        assert len(await beside) == 20

    virtual_time.run(both())


async def test_a_replay_asks_for_no_film() -> None:
    """It has no object store, and the shipped model reads none."""
    asked = replace(request(), picture="u", values={"crp": 1.0}, concepts=("sepsis",))
    one, other = await ReplayScorer(ManualClock(NOW)).score([asked, request("q")])
    assert (one.probability, one.inputs, one.unseen) == (other.probability, (), None)
