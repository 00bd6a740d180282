"""From a DICOM object to a head's input: what a person would see, or a typed refusal."""

from __future__ import annotations

import csv
import io
import os
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian

from pipeline.adapters.pictures.decoding import grey, prepared
from pipeline.adapters.pictures.preparation import prepare
from pipeline.adapters.pictures.reading import PooledReader
from pipeline.errors import NotFound, UnfitPicture
from tests.unit.pictures import fragile_decoder

SIDE = 64


def film(rows: int = 200, columns: int = 180) -> np.ndarray[Any, Any]:
    """Dark fields on bright ground, brighter towards the feet and at the picture's left."""
    y, x = np.mgrid[0:rows, 0:columns]
    lungs = np.exp(-((np.abs(x / columns - 0.5) - 0.2) ** 2 / 0.012 + (y / rows - 0.45) ** 2 / 0.05))
    return (2000 + 800 * y / rows - 300 * x / columns - 1500 * lungs).astype("<u2")


def dicom(pixels: np.ndarray[Any, Any], **attributes: Any) -> bytes:
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.file_meta.MediaStorageSOPClassUID = dataset.SOPClassUID = "1.2.840.10008.5.1.4.1.1.1.1"
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID = "1.2.3"
    dataset.Rows, dataset.Columns, dataset.SamplesPerPixel = *pixels.shape, 1
    dataset.PhotometricInterpretation, dataset.PixelRepresentation = "MONOCHROME2", 0
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = 16, 12, 11
    dataset.PixelData = pixels.tobytes()
    for name, value in attributes.items():
        setattr(dataset, name, value)
    body = io.BytesIO()
    dataset.save_as(body, enforce_file_format=True)
    return body.getvalue()


def reason(body: bytes) -> str:
    with pytest.raises(UnfitPicture) as refusal:
        prepared(body, SIDE)
    return refusal.value.reason


def close(one: np.ndarray[Any, Any], other: np.ndarray[Any, Any]) -> bool:
    return float(np.abs(one.astype(float) - other.astype(float)).mean()) < 3


def test_inverse_presentation_and_depth_make_no_difference() -> None:
    """MONOCHROME1, a rescale, a window and 16 bits show the same film."""
    plain = prepared(dicom(film()), SIDE)
    inverse = dicom((4095 - film()).astype("<u2"), PhotometricInterpretation="MONOCHROME1")
    assert close(prepared(inverse, SIDE), plain)
    assert close(prepared(dicom(film(), RescaleSlope="2", RescaleIntercept="-100", RescaleType="US"), SIDE), plain)
    assert close(prepared(dicom(film(), WindowCenter="2000", WindowWidth="4000"), SIDE), plain)
    assert close(prepared(dicom((film() * 16).astype("<u2"), BitsStored=16, HighBit=15), SIDE), plain)


def test_a_window_that_cannot_be_is_left_out() -> None:
    """Neither a width of nothing nor a window beside the film may blank it."""
    plain = prepared(dicom(film()), SIDE)
    assert close(prepared(dicom(film(), WindowCenter="2000", WindowWidth="0"), SIDE), plain)
    assert close(prepared(dicom(film(), WindowCenter="60000", WindowWidth="10"), SIDE), plain)


@pytest.mark.parametrize(
    ("orientation", "turn"),
    [
        (["R", "F"], lambda x: x[:, ::-1]),
        (["L", "H"], lambda x: x[::-1]),
        (["F", "L"], lambda x: x.T),
        (["H", "R"], lambda x: np.rot90(x, 2).T),
    ],
)
def test_a_film_is_set_upright(orientation: list[str], turn: Any) -> None:
    """Patient Orientation undoes how the detector lay."""
    stored = np.ascontiguousarray(turn(film()))
    assert np.array_equal(grey(dicom(stored, PatientOrientation=orientation)), film().astype(np.float32))


def test_borders_padding_and_letters_do_not_matter() -> None:
    """A frame of black, a collimator's white, declared padding and a burnt-in marker leave the film as it is."""
    plain = prepare(film(), SIDE)
    assert close(prepare(np.pad(film(), 30), SIDE), plain)
    assert close(prepare(np.pad(film(), 25, constant_values=4095), SIDE), plain)
    padded = np.pad(film(), 20, constant_values=4000)
    assert close(prepared(dicom(padded, PixelPaddingValue=4000), SIDE), plain)
    marked = film().copy()
    marked[5:15, 5:20] = 4095
    assert float(np.abs(prepare(marked, SIDE).astype(float) - plain).mean()) < 8


def test_each_bad_picture_has_its_own_refusal() -> None:
    """Typed, and before pixels are decoded where the header says enough."""
    assert reason(dicom(film(), NumberOfFrames=2)) == "multi-frame"
    assert reason(dicom(film(), PhotometricInterpretation="PALETTE COLOR")) == "colour"
    assert reason(dicom(film(), PhotometricInterpretation="RGB", SamplesPerPixel=3)) == "colour"
    assert reason(dicom(film(), Rows=60000, Columns=60000)) == "too-large"
    assert reason(dicom(film(1, 1))) == "too-small"
    assert reason(dicom(np.full((200, 200), 7, "<u2"))) == "empty"
    assert reason(dicom(film(400, 100))) == "wrong-shape"
    assert reason(dicom(film())[:-5000]) == "undecodable"
    assert reason(b"") == "no-pixels"
    assert reason(b"\x00" * 5000) in ("no-pixels", "undecodable")


def test_values_that_are_no_numbers_are_refused() -> None:
    """NaN and infinity would spread over the whole film."""
    broken = film().astype(np.float32)
    broken[3, 3] = np.nan
    with pytest.raises(UnfitPicture, match="not-finite"):
        prepare(broken, SIDE)
    with pytest.raises(UnfitPicture, match="wrong-shape"):
        prepare(np.zeros((3, 100, 100)), SIDE)


def test_a_refusal_survives_the_way_from_another_process() -> None:
    """The decoder is a process of its own."""
    again = pickle.loads(pickle.dumps(UnfitPicture("colour", "in words")))
    assert (again.reason, again.explanation) == ("colour", "in words")


def test_real_objects_decode_or_say_why(shared_data: Path) -> None:
    """All of dicom-dev: chest films and slices come through, the rest has a reason, and nothing else is raised."""
    folder = shared_data / "dicom-dev"
    with (folder / "manifest.csv").open(newline="") as lines:
        files = [row["file"] for row in csv.DictReader(lines)]
    passed = set()
    for file in files:
        try:
            picture = prepared((folder / file).read_bytes(), SIDE)
        except UnfitPicture as unfit:
            assert unfit.reason and unfit.explanation
        else:
            assert picture.shape == (SIDE, SIDE) and picture.dtype == np.uint8
            passed.add(file)
    assert {file for file in files if file.startswith("chest/")} <= passed
    assert not any(file.startswith(("malformed", "multiframe", "non-image")) for file in passed)


class Objects:
    """A store in which everything but one is there: its own name."""

    async def get(self, uri: str) -> bytes:
        """As ObjectStore.get."""
        if uri == "gone":
            raise NotFound(uri)
        return uri.encode()


async def test_a_decoder_that_is_seldom_asked_ends_with_each_film(monkeypatch: pytest.MonkeyPatch) -> None:
    """The next one has a process of its own."""
    monkeypatch.setattr("pipeline.adapters.pictures.reading.prepared", fragile_decoder.prepared)
    reader = PooledReader(Objects(), stays=False)  # type: ignore[arg-type]
    processes = [await reader.read("film", SIDE) for _ in range(2)]
    assert len({os.getpid(), *processes}) == 3


async def test_a_decoder_that_hangs_or_crashes_is_refused_and_the_next_film_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its process, which is not this one, is ended and made anew."""
    monkeypatch.setattr("pipeline.adapters.pictures.reading.prepared", fragile_decoder.prepared)
    reader = PooledReader(Objects())  # type: ignore[arg-type]
    try:
        processes = [await reader.read("film", SIDE)]
        for uri, limit_s, why in (("gone", 60, "gone"), ("hangs", 0.2, "too-slow"), ("crashes", 60, "undecodable")):
            reader._limit_s = limit_s
            with pytest.raises(UnfitPicture) as refusal:
                await reader.read(uri, SIDE)
            assert refusal.value.reason == why
        processes.append(await reader.read("film", SIDE))
    finally:
        reader.close()
    assert len({os.getpid(), *processes}) == 3
