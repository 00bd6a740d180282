"""The challenge's archive is read in the catalogue's names and units."""

from __future__ import annotations

import io
import tarfile
from datetime import timedelta
from pathlib import Path

import pytest

from pipeline.errors import NotFound
from pipeline.models.clinical import physionet
from pipeline.models.clinical.dataset import at_end, at_random_times
from pipeline.models.clinical.physionet import ADMISSION, Stay, stays

RECORD = """\
Time,Parameter,Value
00:00,RecordID,11
00:00,Age,71
00:00,Gender,0
00:00,Height,-1
00:00,ICUType,4
00:00,Weight,-1
00:07,HR,73
00:07,Temp,-17.8
01:00,SysABP,90
01:00,NISysABP,120
02:30,FiO2,0.5
02:30,MechVent,1
03:00,K,4.1
47:00,K,6.2
"""
OTHER = "Time,Parameter,Value\n00:00,RecordID,12\n00:00,Age,50\n00:00,Gender,1\n"


def archive(folder: Path) -> Path:
    """A data folder with two stays in set a and none in set b."""
    (folder / physionet.FOLDER).mkdir()
    with tarfile.open(folder / physionet.FOLDER / physionet.ARCHIVE, "w:xz") as tar:
        for name, text in (("./set-a/11.txt", RECORD), ("./set-b/13.txt", RECORD.replace(",11", ",13")), ("./set-a/12.txt", OTHER)):
            member = tarfile.TarInfo(name)
            member.size = len(text)
            tar.addfile(member, io.BytesIO(text.encode()))
    head = "RecordID,SAPS-I,SOFA,Length_of_stay,Survival,In-hospital_death\n"
    (folder / physionet.FOLDER / "Outcomes-a.txt").write_text(head + "11,14,-1,8,7,1\n12,-1,3,5,-1,0\n")
    return folder


@pytest.fixture
def read(tmp_path: Path) -> list[Stay]:
    """Set a of it."""
    return list(stays(archive(tmp_path), "a"))


def test_a_stay(read: list[Stay]) -> None:
    """Outcome and scores by record number, -1 as unknown; values by catalogue name and unit, at their time."""
    first, second = read

    assert (first.record, first.age, first.sex, first.died, first.saps, first.sofa) == (11, 71.0, "F", True, 14, None)
    assert (second.record, second.sex, second.died, second.saps, second.readings) == (12, "M", False, None, {})
    assert {name: [reading.value for reading in series] for name, series in first.readings.items()} == {
        "heart_rate": [73.0],
        "systolic_bp": [120.0, 90.0],  # cuff before arterial at the same minute
        "fio2": [50.0],
        "potassium": [4.1, 6.2],
    }  # no weight of -1, no temperature of -17.8
    assert first.readings["fio2"][0].at == ADMISSION + timedelta(hours=2, minutes=30)


def test_the_end_and_earlier_moments(read: list[Stay]) -> None:
    """The first row of each stay is at 48 h; earlier rows know no later value; the same seed gives the same rows."""
    from pipeline.domain.features import NAMES

    last = NAMES.index("potassium.last")
    rows = at_random_times(read, 20, 3)

    assert rows.x.shape[0] == 42
    assert at_end(read).x[0, last] == pytest.approx(6.2)
    assert all(
        row[last] == pytest.approx(4.1)
        for row, stay, hours in zip(rows.x, rows.stay, rows.hours, strict=True)
        if stay == 0 and 3 < hours < 47
    )
    assert (at_random_times(read, 20, 3).hours == rows.hours).all()
    assert (rows.hours[[0, 21]] == 48).all()


def test_absent_data_says_what_is_missing(tmp_path: Path) -> None:
    """The path, and which folder --data must name."""
    with pytest.raises(NotFound, match="--data"):
        list(stays(tmp_path, "a"))
