"""What single readings did to a score that looked at a chest film: told beside the same film, or why that cannot be."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Iterable, Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from pipeline.adapters.memory.clock import ManualClock
from pipeline.adapters.onnx.scorer import OnnxScorer
from pipeline.adapters.onnx.versions import in_process
from pipeline.adapters.pictures.films import KeptFilms
from pipeline.domain.attribution import Effect
from pipeline.errors import UnfitPicture
from pipeline.ports import FilmSource, Picture
from pipeline.services.attribution import RiskAttribution
from schemas.assessments import Contribution
from schemas.events import AnyEvent, FindingEvent
from schemas.findings import ImageAssessment
from tests import small_version
from tests.unit.services.test_attribution import NOW, PATIENT, STUDY, Site, images, measured

DARK, BRIGHT = "object:1/2/51.dcm", "object:1/2/204.dcm"
"""Claim checks, by how bright the film is (of 255)."""


class Archive:
    """PictureReader. refused: why a film cannot be had. Nothing comes before `open`."""

    def __init__(self) -> None:
        self.open = asyncio.Event()
        self.open.set()
        self.refused: dict[str, str] = {}
        self.read_: list[str] = []

    async def read(self, uri: str, side: int) -> Picture:
        """As PictureReader.read."""
        self.read_.append(uri)
        await self.open.wait()
        if uri in self.refused:
            raise UnfitPicture(self.refused[uri], "ordered by the test")
        return np.full((side, side), int(uri.rpartition("/")[2].removesuffix(".dcm")), np.uint8)


class FilmSite(Site):
    """The small version scores, and the page has films of its own, as in another process."""

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self.archive, version, clock = Archive(), small_version.write(folder, "903"), ManualClock(NOW)
        self.folder_of = {"903": version}.__getitem__
        self.scorer = OnnxScorer(clock, lambda: version, KeptFilms(Archive()))
        self.service = self.page(KeptFilms(self.archive))

    def page(self, films: FilmSource, within_s: float = 60.0) -> RiskAttribution:
        return RiskAttribution(self.worklist, in_process(self.folder_of, ManualClock(NOW), films, within_s))


@pytest.fixture
def site(tmp_path: Path) -> FilmSite:
    """Nobody there yet."""
    return FilmSite(tmp_path)


def looked_at(hours: float, uri: str) -> FindingEvent:
    """The head did not refuse this film."""
    at = NOW - timedelta(hours=hours)
    said = ImageAssessment(head="chest_frontal", version="1", at=at, scorer="triton", unlikeness=0.2)
    told: dict[str, Any] = {"patient": PATIENT, "source": "pictures", "recorded_at": at, "study_uid": STUDY, "uri": uri}
    return FindingEvent(event_id=f"{uri} {hours}", image=said, **told)


SICK: Sequence[AnyEvent] = (images(9), looked_at(8, BRIGHT), measured(5, potassium=4.5), measured(1, potassium=7.0, crp=180))


def probability(potassium: float = 7.0, crp: float = 180, bright: float = 204) -> float:
    """As the small version has it."""
    logit = small_version.POTASSIUM * potassium + small_version.FURTHER * crp + small_version.BRIGHT * bright / 255 - 4
    return 1 / (1 + math.exp(-logit))


def changes(effects: Iterable[Effect]) -> dict[tuple[str, float | None], float]:
    return {(one.observable, one.value): one.change for one in effects}


def beside(bright: float) -> Mapping[tuple[str, float], Any]:
    """What each reading of SICK did beside a film so bright."""
    whole = probability(bright=bright)
    without = {("potassium", 7.0): probability(potassium=4.5, bright=bright), ("potassium", 4.5): whole}
    without["crp", 180] = probability(crp=0, bright=bright)
    return pytest.approx({reading: whole - one for reading, one in without.items()}, abs=2e-5)


async def test_readings_are_told_beside_the_film(site: FilmSite) -> None:
    """Which is read once, and given every time."""
    site.learn(SICK)
    risk = await site.scored(SICK)
    told = await site.told()

    assert (risk.inputs, risk.probability) == (("image", "crp"), pytest.approx(probability(), abs=1e-5))
    assert (told.why_not, told.film, told.probability) == (None, True, risk.probability)
    assert changes(told.effects) == beside(204)
    assert site.archive.read_ == [BRIGHT]
    assert changes(told.effects) != beside(0), "without the film it would be another number"


async def test_a_score_that_was_given_without_its_film(site: FilmSite) -> None:
    """It came late: the readings are told without it, and it is not read."""
    site.learn(SICK)
    site.scorer = OnnxScorer(ManualClock(NOW), lambda: site.folder_of("903"))
    risk = await site.scored(SICK)
    told = await site.told()

    assert (risk.unseen, told.why_not, told.film) == ("late", None, False)
    assert changes(told.effects) == beside(0)
    assert site.archive.read_ == []


@pytest.mark.parametrize("hours", [0.5, 1 - 1 / 60 - 2 / 3600])
async def test_a_film_that_came_since_is_not_the_one(site: FilmSite, hours: float) -> None:
    """Half an hour later, or so soon that the clocks cannot tell: then the probability does."""
    site.learn([*SICK, looked_at(hours, DARK)])
    site.show(await site.scored(SICK), as_of=NOW)
    told = await site.told()

    assert changes(told.effects) == beside(204)
    assert site.archive.read_ == ([BRIGHT] if hours == 0.5 else [DARK, BRIGHT])


@pytest.mark.parametrize(("reason", "why_not"), [("gone", "film-gone"), ("undecodable", "film-unread"), ("too-slow", "film-unread")])
async def test_a_film_that_cannot_be_had_any_more_is_said(site: FilmSite, reason: str, why_not: str) -> None:
    """And no number is told."""
    site.archive.refused[BRIGHT] = reason
    site.learn(SICK)
    await site.scored(SICK)
    told = await site.told()

    assert (told.why_not, told.effects, told.probability) == (why_not, (), None)
    assert site.archive.read_ == [BRIGHT]


async def test_a_film_that_is_not_read_yet(site: FilmSite) -> None:
    """Nobody waits for it long; it is there when one asks again."""
    site.archive.open.clear()
    service = site.page(KeptFilms(site.archive), within_s=0.0)
    site.learn(SICK)
    await site.scored(SICK)
    first = await service.of_study(STUDY)
    site.archive.open.set()
    await asyncio.sleep(0)

    assert first.why_not == "film-late"
    assert changes((await service.of_study(STUDY)).effects) == beside(204)
    assert site.archive.read_ == [BRIGHT]


async def test_a_film_that_goes_while_it_is_worked_out(site: FilmSite) -> None:
    """The readings would be told without it."""

    class Once:
        """FilmSource that has it once."""

        told = 0

        async def get(self, uris: Iterable[str], side: int, within_s: float) -> Mapping[str, Picture | str]:
            """As FilmSource.get."""
            self.told += 1
            return {uri: np.full((side, side), 204, np.uint8) if self.told == 1 else "gone" for uri in uris}

    site.learn(SICK)
    await site.scored(SICK)
    assert (await site.page(Once()).of_study(STUDY)).why_not == "film-gone"


async def test_a_film_that_did_something_else_is_not_the_one(site: FilmSite) -> None:
    """The same probability by chance does not make it that."""
    site.learn(SICK)
    risk = await site.scored(SICK)
    other = [msgspec.structs.replace(one, change=0.9) if one.feature == "image" else one for one in risk.contributions]
    assert Contribution("image", "chest film", 0.9) in other
    await site.scored(SICK, risk={"contributions": other})
    assert (await site.told()).why_not == "not-reproduced"
