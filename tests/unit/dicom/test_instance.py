"""What an object's header means."""

from __future__ import annotations

import dataclasses
from datetime import UTC, datetime
from pathlib import Path

import pytest
from pydicom.dataset import Dataset
from pydicom.uid import BasicTextSRStorage

from pipeline.adapters.dicom.header import read_header
from pipeline.adapters.dicom.instance import understand
from schemas.identifiers import accession_key, order_key, patient_key
from tests.dicom_objects import as_file, ct
from tests.unit.dicom.reading import RECEIVED, SITE_KEY, ZONE, read


def _item(**elements: str) -> Dataset:
    item = Dataset()
    for keyword, value in elements.items():
        setattr(item, keyword, value)
    return item


def test_the_plain_case(tmp_path: Path) -> None:
    """Study, modality, time in UTC by the sender's zone, age and sex."""
    instance = read(
        tmp_path, ct(ViewPosition="AP", ImageLaterality="L", RequestedProcedurePriority="STAT", NumberOfStudyRelatedInstances=12)
    )

    assert (instance.study_uid, instance.modality, instance.body_part, instance.view, instance.laterality) == (
        "1.2.826.0.1.3680043.10.1",
        "CT",
        "HEAD",
        "AP",
        "L",
    )
    assert instance.acquired.utc == datetime(2026, 3, 1, 9, 15, 30, tzinfo=UTC)
    assert (instance.demographics.age, instance.demographics.sex) == (76.0, "F")
    assert (instance.priority, instance.expected, instance.image, instance.derived_study) == ("stat", 12, True, False)


def test_identifiers_go_to_the_vault_only(tmp_path: Path) -> None:
    """Name, id, birth date and accession are in `identity` and `numbers` and nowhere else, not even where someone typed them as text."""
    free_text = "CT head of Jane Doe, born 01.03.1950, P-4711"
    instance = read(tmp_path, ct(StudyDescription=free_text, SeriesDescription="DOE axial", BodyPartExamined="DOE"))
    public = str(dataclasses.replace(instance, identity=None, numbers=()))

    assert instance.identity is not None
    assert (instance.identity.name, instance.identity.patient_id, instance.identity.birth_date) == ("DOE^JANE", "P-4711", "19500301")
    assert instance.identity.pseudonym == patient_key(SITE_KEY, "HOSP", "P-4711")
    assert instance.numbers == ((accession_key(SITE_KEY, "ACC-9"), "ACC-9"),)
    assert instance.study_description is not None and instance.study_description.startswith("CT head of")
    for secret in ("JANE", "DOE", "4711", "1950", "ACC-9"):
        assert secret not in public.upper()


@pytest.mark.parametrize(("name", "body_part", "view"), [("HEAD^PA", "HEAD", "PA"), ("Chest^Ap", "CHEST", "AP"), ("HAND^JO", "Hand", "LL")])
def test_a_name_that_is_a_part_of_the_body_takes_nothing_away(tmp_path: Path, name: str, body_part: str, view: str) -> None:
    """Which films an image model looks at, and which target an order has, hangs on DICOM's own terms; text loses the name all the same."""
    told = ct(PatientName=name, Modality="DX", BodyPartExamined=body_part, ViewPosition=view, StudyDescription=f"{body_part} {view}")
    instance = read(tmp_path, told)

    assert (instance.body_part, instance.view) == (body_part, view)
    assert instance.study_description is not None and body_part not in instance.study_description


@pytest.mark.parametrize("keyword", ["StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID"])
def test_a_name_in_a_uid_does_not_get_through(tmp_path: Path, keyword: str) -> None:
    """What is no UID is replaced by one made from it, the same each time."""
    first, second = (read(tmp_path, ct(**{keyword: "DOE.JANE"})) for _ in range(2))

    assert "DOE" not in str(dataclasses.replace(first, identity=None, numbers=()))
    assert (first.study_uid, first.series_uid) == (second.study_uid, second.series_uid)


def test_modality_that_is_no_code_is_left_out(tmp_path: Path) -> None:
    """A code string has 16 characters of a small alphabet."""
    assert read(tmp_path, ct(Modality="Doe, Jane!")).modality is None


def test_issuer_names_the_authority(tmp_path: Path) -> None:
    """The same id of another issuer is another patient."""
    here, there = read(tmp_path, ct()), read(tmp_path, ct(IssuerOfPatientID="OTHER"))

    assert here.identity is not None and there.identity is not None
    assert here.identity.pseudonym != there.identity.pseudonym


def test_numbers_of_the_request(tmp_path: Path) -> None:
    """Accession and placer order number are also looked for in the request sequences."""
    request = _item(AccessionNumber="ACC-7", PlacerOrderNumberImagingServiceRequest="ORD-1", RequestedProcedurePriority="HIGH")
    instance = read(tmp_path, ct(AccessionNumber=None, RequestAttributesSequence=[request]))

    assert instance.accession == accession_key(SITE_KEY, "ACC-7")
    assert instance.order == order_key(SITE_KEY, "ORD-1")
    assert instance.priority == "asap"


def test_no_study_uid_gives_a_stable_one_by_series(tmp_path: Path) -> None:
    """Objects of one series without a Study Instance UID stay together."""
    first, second = (read(tmp_path, ct(StudyInstanceUID=None)) for _ in range(2))
    other = read(tmp_path, ct(StudyInstanceUID=None, SeriesInstanceUID="1.2.3"))

    assert first.derived_study and first.study_uid.startswith("2.25.")
    assert first.study_uid == second.study_uid != other.study_uid
    assert first.sop_uid != second.sop_uid


def test_no_patient_id_means_no_identity(tmp_path: Path) -> None:
    """Blank is missing."""
    assert read(tmp_path, ct(PatientID=None)).identity is None
    assert read(tmp_path, ct(PatientID="   ")).identity is None


def test_the_command_names_what_the_object_does_not(tmp_path: Path) -> None:
    """Affected SOP Instance UID stands in."""
    assert read(tmp_path, ct(SOPInstanceUID=None), sop_uid="1.2.3.4").sop_uid == "1.2.3.4"


@pytest.mark.parametrize(
    ("age", "years"),
    [("045Y", 45.0), ("006M", 0.5), ("003W", 0.06), ("010D", 0.03), ("095Y", 90.0), ("999Y", None), ("abcY", 76.0), ("", 76.0)],
)
def test_ages(tmp_path: Path, age: str, years: float | None) -> None:
    """AS strings in all four units; what is none falls back on the birth date."""
    assert read(tmp_path, ct(PatientAge=age)).demographics.age == years


@pytest.mark.parametrize("written", ["not-a-date", "99999999", "19000230"])
def test_absurd_dates_are_marked_missing(tmp_path: Path, written: str) -> None:
    """The time of receipt stands in, and what was written is kept beside it."""
    acquired = read(tmp_path, ct(StudyDate=written)).acquired

    assert (acquired.precision, acquired.zone) == ("missing", "received")


def test_structured_report_counts_but_has_no_modality(tmp_path: Path) -> None:
    """An object without rows and columns is of the study, but is not what is read."""
    report = ct(SOPClassUID=BasicTextSRStorage, Modality="SR", Rows=None, Columns=None, PixelData=None, BodyPartExamined="HEAD")
    instance = read(tmp_path, report)

    assert (instance.image, instance.modality, instance.body_part) == (False, None, None)


def test_medium_is_what_the_site_says(tmp_path: Path) -> None:
    """The standard lists MEDIUM without saying whether it stands above ROUTINE."""
    path = tmp_path / "object.dcm"
    path.write_bytes(as_file(ct(RequestedProcedurePriority="MEDIUM")))
    header = read_header(path)

    assert understand(header, None, SITE_KEY, "HOSP", ZONE, RECEIVED).priority == "urgent"
    assert understand(header, None, SITE_KEY, "HOSP", ZONE, RECEIVED, "routine").priority == "routine"
