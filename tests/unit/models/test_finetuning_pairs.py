"""A site's manifest: every row is used or refused with its line and reason, and nobody stands on both sides of a split."""

from __future__ import annotations

import csv
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from pipeline import cli
from pipeline.adapters.onnx import artefact
from pipeline.cli import pairs as commands
from pipeline.errors import NotFound, StackError
from pipeline.models.finetuning.audit import audit, require_enough
from pipeline.models.finetuning.films import Films
from pipeline.models.finetuning.pairs import Manifest, Observed, read
from pipeline.models.finetuning.version import LearnedFrom, Version, others
from schemas.identifiers import patient_key

NOW = datetime(2026, 3, 2, 8, tzinfo=UTC)
SIDE = 64
LACTATE = json.dumps([["lactate", 2.5, 1]])


def film(folder: Path, name: str, seed: int, shape: tuple[int, ...] = (90, 80)) -> str:
    """A grey picture of its own."""
    pixels = np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)
    Image.fromarray(pixels).save(folder / name)
    return name


def manifest(folder: Path, *rows: dict[str, Any], objects: Path | None = None) -> Manifest:
    """Read back from a CSV with these rows; study, patient and outcome are made up where a row has none."""
    columns = list(dict.fromkeys(["study", "patient", "outcome", *(name for row in rows for name in row)]))
    with (folder / "pairs.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, columns, restval="")
        writer.writeheader()
        for place, row in enumerate(rows):
            writer.writerow({"study": f"s{place}", "patient": f"p{place}", "outcome": "0", **row})
    return read(folder / "pairs.csv", Films(folder, objects, SIDE), NOW)


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ({"patient": "", "observations": LACTATE}, "no-patient"),
        ({"study": "", "observations": LACTATE}, "no-study"),
        ({"outcome": "2", "observations": LACTATE}, "outcome"),
        ({"outcome": "", "observations": LACTATE}, "outcome"),
        ({"outcome": "nan", "observations": LACTATE}, "outcome"),
        ({}, "empty"),
        ({"observations": "[]"}, "empty"),
        ({"observations": "{not json"}, "observations"),
        ({"observations": '[["lactate", 2.5]]'}, "observations"),
        ({"observations": '["lactate"]'}, "observations"),
        ({"observations": '{"lactate": 2}'}, "observations"),
        ({"observations": '[["lactate", NaN, 1]]'}, "observations"),
        ({"observations": '[["lactate", 2.5, Infinity]]'}, "observations"),
        ({"observations": '[["99999-9", 2.5, 1]]'}, "observations"),
        ({"lactate": "high"}, "observations"),
        ({"lactate": "nan"}, "observations"),
        ({"image": "gone.png"}, "image-missing"),
        ({"image": "1.2.840.1.5"}, "image-missing"),
        ({"observations": LACTATE, "date": "yesterday"}, "date"),
        ({"observations": LACTATE, "date": "2031-01-01"}, "date"),
        ({"observations": LACTATE, "date": "1931-01-01"}, "date"),
        ({"observations": LACTATE, "age": "300"}, "age"),
        ({"observations": LACTATE, "sex": "7"}, "sex"),
    ],
)
def test_a_bad_row_is_refused_and_the_others_are_not(tmp_path: Path, row: dict[str, Any], reason: str) -> None:
    """With its line and a stable reason."""
    found = manifest(tmp_path, {"observations": LACTATE}, row, {"observations": LACTATE})

    assert [(one.line, one.reason) for one in found.refused] == [(3, reason)]
    assert [pair.line for pair in found.pairs] == [2, 4]


@pytest.mark.parametrize(
    ("shape", "reason"), [((90, 80, 3), "image-colour"), ((20, 20), "image-too-small"), ((70, 400), "image-wrong-shape")]
)
def test_a_picture_that_is_no_film_is_refused(tmp_path: Path, shape: tuple[int, ...], reason: str) -> None:
    """Colour, too small, too long."""
    found = manifest(tmp_path, {"image": film(tmp_path, "a.png", 1, shape)})

    assert [one.reason for one in found.refused] == [reason]


def test_broken_and_even_pictures_are_refused(tmp_path: Path) -> None:
    """What is no picture, a cut one, and one without contrast."""
    (tmp_path / "text.png").write_text("no picture")
    film(tmp_path, "whole.png", 1)
    (tmp_path / "cut.png").write_bytes((tmp_path / "whole.png").read_bytes()[:900])
    Image.fromarray(np.full((90, 80), 7, np.uint8)).save(tmp_path / "even.png")
    (tmp_path / "text.dcm").write_text("no picture")
    found = manifest(tmp_path, *({"image": name} for name in ("text.png", "cut.png", "even.png", "text.dcm")))

    assert [one.reason.split("-")[0] for one in found.refused] == ["image"] * 4
    assert not found.pairs


def test_sixteen_bits_are_kept(tmp_path: Path) -> None:
    """A picture whose contrast lies above 255 is not cut to white."""
    pixels = np.random.default_rng(0).integers(2000, 4000, (90, 80)).astype(np.uint16)
    Image.fromarray(pixels).save(tmp_path / "deep.png")
    (pair,) = manifest(tmp_path, {"image": "deep.png"}).pairs

    assert pair.picture is not None
    assert len(np.unique(pair.picture)) > 50


def test_the_same_picture_twice(tmp_path: Path) -> None:
    """The second of one patient's is refused; of two patients', both are: one of them is wrong."""
    film(tmp_path, "a.png", 1), film(tmp_path, "b.png", 2), film(tmp_path, "c.png", 3)
    rows = [("kim", "a.png"), ("kim", "a.png"), ("lee", "b.png"), ("ann", "b.png"), ("ann", "c.png")]
    found = manifest(tmp_path, *({"patient": patient, "image": image} for patient, image in rows))

    assert [(one.line, one.reason) for one in found.refused] == [
        (3, "duplicate"),
        (4, "image-of-two-patients"),
        (5, "image-of-two-patients"),
    ]
    assert [(pair.patient, pair.line) for pair in found.pairs] == [("kim", 2), ("ann", 6)]


def test_a_study_of_two_patients_is_refused(tmp_path: Path) -> None:
    """Both rows."""
    found = manifest(tmp_path, {"study": "s", "observations": LACTATE}, {"study": "s", "observations": LACTATE})

    assert [one.reason for one in found.refused] == ["study-of-two-patients"] * 2


def test_a_picture_out_of_the_object_store(tmp_path: Path) -> None:
    """By its SOP Instance UID; a file that is there but no DICOM is refused as a picture, not as missing."""
    folder = tmp_path / "objects" / "1.2.3" / "1.2.3.4"
    folder.mkdir(parents=True)
    (folder / "1.2.3.4.5.dcm").write_bytes(b"no DICOM")
    found = manifest(tmp_path, {"image": "1.2.3.4.5"}, {"image": "1.2.3.4.6"}, objects=tmp_path / "objects")

    assert [one.reason for one in found.refused] == ["image-no-pixels", "image-missing"]


def test_values_from_the_future_and_impossible_ones_are_left_out(tmp_path: Path) -> None:
    """Counted, the row goes on; names may be LOINC codes, catalogue names or the site's own."""
    told = [["lactate", 3, 2], ["lactate", 9, -1], ["2524-7", 4, 1], ["potassium", 400, 1], ["Site-Score", 7, 0]]
    found = manifest(tmp_path, {"observations": json.dumps(told), "heart_rate": "88"})

    assert found.pairs[0].observations == (
        Observed("lactate", 3, 2),
        Observed("lactate", 4, 1),
        Observed("site_score", 7, 0),
        Observed("heart_rate", 88, 0),
    )
    assert (found.left.after_the_picture, found.left.out_of_range) == (1, 1)
    assert audit(found).unknown_to_the_catalogue == ("site_score",)


def test_parquet_is_read_as_csv_is(tmp_path: Path) -> None:
    """Numbers and lists in cells of their own types."""
    pyarrow = pytest.importorskip("pyarrow", reason="needs the extra train")
    parquet = pytest.importorskip("pyarrow.parquet", reason="needs the extra train")
    rows = [{"study": "s", "patient": 7, "outcome": True, "observations": [["lactate", "2.5", "1"]], "age": None}]
    parquet.write_table(pyarrow.Table.from_pylist(rows), tmp_path / "pairs.parquet")
    (pair,) = read(tmp_path / "pairs.parquet", Films(tmp_path, None, SIDE), NOW).pairs

    assert (pair.patient, pair.outcome, pair.observations, pair.age) == ("7", True, (Observed("lactate", 2.5, 1),), None)


def test_what_is_no_manifest_is_said_so(tmp_path: Path) -> None:
    """Missing, without the columns, without rows, no Parquet."""
    films = Films(tmp_path, None, SIDE)
    with pytest.raises(NotFound):
        read(tmp_path / "gone.csv", films, NOW)
    (tmp_path / "a.csv").write_text("study,image\ns,a.png\n")
    with pytest.raises(StackError, match="patient, outcome"):
        read(tmp_path / "a.csv", films, NOW)
    (tmp_path / "b.csv").write_text("study,patient,outcome\n")
    with pytest.raises(StackError, match="no row"):
        read(tmp_path / "b.csv", films, NOW)
    (tmp_path / "c.csv").write_bytes(b"\xff\xfe\x00study")
    with pytest.raises(StackError, match="cannot be read"):
        read(tmp_path / "c.csv", films, NOW)


def test_the_audit_counts(tmp_path: Path) -> None:
    """Patients with both outcomes, those of two hospitals, missing parts, dates, balance; and says it in words."""
    found = audit(
        manifest(
            tmp_path,
            {"patient": "kim", "outcome": "1", "observations": LACTATE, "hospital": "north", "date": "2025-01-05"},
            {"patient": "kim", "outcome": "0", "text": "sepsis?", "hospital": "south", "date": "2024-12-01T10:00"},
            {"patient": "lee", "outcome": "0", "observations": LACTATE, "shoe_size": "44"},
            {"patient": "ann", "outcome": "x", "observations": LACTATE},
        )
    )

    assert (found.rows, found.used, found.refused) == (4, 3, {"outcome": 1})
    assert (found.patients, found.patients_with_outcome, found.patients_with_both_outcomes) == (2, 1, 1)
    assert (found.without_image, found.without_observations, found.without_text, found.balance) == (3, 1, 2, 1 / 3)
    assert (found.first_date, found.last_date) == ("2024-12-01", "2025-01-05")
    assert (found.patients_in_several_hospitals, found.unused_columns) == (1, ("shoe_size",))
    for words in ("few", "both|with and without", "several hospitals", "1 of 4 rows", "shoe_size"):
        assert any(word in remark for remark in found.remarks for word in words.split("|"))


@pytest.mark.parametrize("outcomes", ["1" * 8, "0" * 8, "1110000", "1111000"])
def test_too_little_is_refused(tmp_path: Path, outcomes: str) -> None:
    """One class only, or fewer than four patients of one."""
    found = audit(manifest(tmp_path, *({"outcome": outcome, "observations": LACTATE} for outcome in outcomes)))

    with pytest.raises(StackError, match="too few"):
        require_enough(found)


def test_a_patient_by_number_and_by_pseudonym_is_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On either side of a version too, where the site's key is at hand, as the stack keeps it; elsewhere each name is a patient."""
    key = bytes(range(32))
    monkeypatch.setenv("READFIRST_DATA", str(tmp_path))
    monkeypatch.delenv("READFIRST_SITE_KEY", raising=False)
    names = {name: patient_key(key, "HOSP", name) for name in ("4711", "4712", "4713")}

    def told(*patients: str) -> Manifest:
        manifest(tmp_path, *({"patient": one, "observations": LACTATE} for one in patients))
        return commands.read(tmp_path / "pairs.csv", tmp_path)

    rows = ("4711", names["4711"], names["4712"])
    without = [pair.patient for pair in told(*rows).pairs]
    (tmp_path / "site.key").write_text(key.hex())
    pairs = told(*rows).pairs
    assert (without, [pair.patient for pair in pairs]) == (list(rows), ["4711", "4711", names["4712"]])

    shipped = artefact.load()
    known = Version(shipped, {}, LearnedFrom.of(pairs, shipped.reference.sha256))
    found = others(told("4713", names["4713"], "4711", names["4711"], "4712", names["4712"]), known)
    assert ([pair.patient for pair in found.pairs], len(found.refused)) == (["4713", "4713"], 4)
    assert not any(name in msgspec.json.encode(known.learned_from).decode() for name in (*names, *names.values()))


def test_hannover_s_manifest_is_written_and_checked(shared_data: Path, tmp_path: Path) -> None:
    """As the README has it, of twenty patients: every film of theirs is there and used, and what is written is read again."""
    for extra in ("torch", "lightgbm", "onnxscript", "onnxmltools"):
        pytest.importorskip(extra, reason="`finetune` needs the extra train")
    asked = [
        "finetune",
        "--example",
        "hannover",
        "--patients",
        "20",
        "--check",
        "--data",
        str(shared_data),
        "--out",
        str(tmp_path),
        "--json",
    ]
    said = json.loads(CliRunner().invoke(cli.build(("finetune",)), asked).stdout.splitlines()[-1])
    with Path(said["manifest"]).open(newline="") as lines:
        rows = list(csv.DictReader(lines))

    assert (said["pairs"]["patients"], len({row["patient"] for row in rows})) == (20, 20)
    assert said["pairs"]["rows"] == said["pairs"]["used"] == len(rows)
    assert (said["pairs"]["refused"], said["pairs"]["without_image"]) == ({}, 0)
    assert said["pairs"]["with_outcome"] == sum(row["outcome"] == "1" for row in rows) > 0
