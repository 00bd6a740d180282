"""Logs compared, scrubbed and refused: what `replay`, `diff` and `record --scrub` rest on."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
import pytest

from pipeline.adapters.memory.clock import ManualClock
from pipeline.adapters.memory.event_log import MemoryEventLog
from pipeline.domain.image_heads import Scope
from pipeline.ports import Record
from pipeline.replay import comparison, comparison_page, saved
from pipeline.replay.builder import patient
from pipeline.replay.engine import Replayed, replay
from pipeline.replay.feeding import feed
from pipeline.replay.log_file import LoggedRecord, LogHeader, LogReader, LogWriter, UnreadableLog
from pipeline.replay.play import play
from pipeline.replay.running import Choice, opened, result, scorer_of
from pipeline.replay.scorers import ModelAbsent
from pipeline.replay.scrub import scrub
from pipeline.replay.small_log import SmallLog
from schemas import codec
from schemas.topics import IMAGING

CREATED = datetime(2026, 3, 1, tzinfo=UTC)


@pytest.fixture
def log(tmp_path: Path) -> Path:
    """Two studies: a routine one of an inpatient who gets a potassium of 6.8, and a stat one."""
    ill = patient("ILL", age=67).arrives("I", at="08:00").order("ACC1", "CT HEAD", "routine", indication="cough", at="09:00")
    ill = ill.ct("HEAD", "ACC1", at="10:00").lab("K", 6.8, at="10:20", known_at="10:40")
    stat = patient("WELL", age=40).arrives("E", at="08:00").order("ACC2", "CT HEAD", "stat", indication="Mr Miller, stroke?", at="09:50")
    stat = stat.ct("HEAD", "ACC2", at="10:15")
    path = tmp_path / "log.rfl"
    SmallLog.of(ill, stat).write(path)
    return path


def rules(path: Path) -> Replayed:
    return asyncio.run(replay(LogReader(path)))


def test_the_image_models_that_there_were_are_those_of_the_replay(log: Path, tmp_path: Path) -> None:
    """Noted in the log, kept by a scrubbed copy and by whoever reads it for a test; of a log that notes none, those that ship."""
    other, scrubbed, header = tmp_path / "other.rfl", tmp_path / "scrubbed.rfl", LogReader(log).header
    heads = {"head_ct": Scope(modalities=("CT",), body_parts=("HEAD",), views=(None,))}
    with LogWriter(other, msgspec.structs.replace(header, heads=heads)) as writer:
        for record in LogReader(log):
            writer.write(record)
    scrub(LogReader(other), scrubbed, key=b"k" * 32)

    assert {rules(path).items[0].missing[-1] for path in (other, scrubbed)} == {"image assessment"}
    assert rules(log).items[0].missing[-1] == "image assessment: no image model for CT HEAD"
    small = SmallLog.read(other)
    small.write(tmp_path / "again.rfl")
    assert play(small).digest == rules(other).digest == rules(tmp_path / "again.rfl").digest != rules(log).digest

    state, records = tmp_path / "state", list(LogReader(other))
    asyncio.run(replay(LogReader(other), until=datetime.fromtimestamp(records[1].timestamp / 1000, UTC), save_state=state))
    for following in (LogReader(other), records):  # those that come later may be handed over without a header
        assert asyncio.run(replay(following, from_state=state)).digest == rules(other).digest
    with pytest.raises(UnreadableLog, match="by the image models head_ct; this replay goes by none"):
        asyncio.run(replay(records, heads={}, from_state=state))


def test_a_replay_without_an_event_differs_from_where_it_is_missing(log: Path, tmp_path: Path) -> None:
    """The study moved, by how much and why; the first event after which the histories differ; nothing else moved."""
    other = tmp_path / "other.rfl"
    with LogWriter(other, LogReader(log).header) as writer:
        for record in LogReader(log):
            if record.topic != "labs":
                writer.write(record)
    a, b = result(other, Choice("rules")), result(log, Choice("rules"))
    found, first = comparison.compare(a, b), comparison.first_difference(a, b)

    (moved,) = found.moved
    assert not found.same
    assert moved.minutes is not None and moved.minutes < 0
    assert "K 6.8" in moved.why_b and "K 6.8" not in moved.why_a
    assert first is not None and first.a is None and first.b is not None
    assert (first.event_id, first.at) == (moved.event_id, moved.at)
    assert {one.group: (one.earlier, one.later) for one in found.classes} == {"routine": (1, 0), "stat": (0, 0)}
    page = comparison_page.page(found, first)
    assert "<svg" in page and "1 are due earlier in B" in page


def test_another_rule_is_told_by_the_event_that_it_judges_otherwise(log: Path, tmp_path: Path) -> None:
    """The value that moves the study in A alone is the cause, not that nothing came of it in B; and it is the first difference."""
    site = tmp_path / "site.yaml"
    limit = "{observable: potassium, unit: mmol/L, below: 3, above: 7, from_age: 16}"
    site.write_text(f"schema: site/1\nversion: later\ncritical_labs: [{limit}]\n")
    a, b = result(log, Choice("rules")), result(log, Choice("rules", site))
    first, lab = comparison.first_difference(a, b), next(record for record in LogReader(log) if record.topic == "labs")

    (moved,) = comparison.compare(a, b).moved
    assert moved.minutes is not None and moved.minutes > 0
    assert moved.cause == "K 6.8 mmol/L at 10:20Z, critical above 6.1"
    assert first is not None
    assert moved.event_id == first.event_id == lab.headers["event_id"]


def test_a_log_and_itself_are_the_same(log: Path) -> None:
    """No study moved, and there is no first difference."""
    a, b = result(log, Choice("rules")), result(log, Choice("rules"))

    assert comparison.compare(a, b).same
    assert comparison.compare(a, b).moved == []
    assert comparison.first_difference(a, b) is None


def test_a_saved_result_is_as_good_as_its_log(log: Path, tmp_path: Path) -> None:
    """`replay --out` keeps all that `diff` needs."""
    kept = tmp_path / "kept.rfr"
    fresh = result(log, Choice("rules"))
    with saved.SavedWriter(kept) as writer:
        done = asyncio.run(replay(LogReader(log), on_move=writer.add))
        writer.finish(saved.summary(done, log.name, "default/1", "rules"))
    read = result(kept, Choice("rules"))

    assert read.moves == fresh.moves
    assert comparison.compare(read, fresh).same
    with pytest.raises(UnreadableLog, match=r"damaged|no saved replay"):
        kept.write_bytes(kept.read_bytes()[:-7])
        result(kept, Choice("rules"))


def test_a_scrubbed_log_tells_the_same_story(log: Path, tmp_path: Path) -> None:
    """Other names, other dates, and no text that somebody typed; the same studies are due as long after their images as before."""
    out = tmp_path / "scrubbed.rfl"
    done = scrub(LogReader(log), out, key=b"k" * 32)
    before, after = rules(log), rules(out)
    known = {text for record in LogReader(log) for text in (record.key.decode(), record.headers["event_id"])}
    content = b"".join(record.key + (record.value or b"") + repr(dict(record.headers)).encode() for record in LogReader(out))

    assert (done.records, done.left_out) == (LogReader(log).records, 0)
    assert [item.due_at - item.study.ready_at for item in after.items] == [item.due_at - item.study.ready_at for item in before.items]
    assert (before.items[0].study.ready_at - after.items[0].study.ready_at) % timedelta(weeks=1) == timedelta()
    assert [name for name in (*known, "Miller") if name.encode() in content] == []
    assert "stroke" in str(after.items)


def test_a_scrubbed_log_rejects_the_same_images(tmp_path: Path) -> None:
    """Under other UIDs: the film that is left is judged, the rejected one is not."""
    path, out = tmp_path / "log.rfl", tmp_path / "scrubbed.rfl"
    story = patient("P1").order("ACC1", "DX CHEST", at="09:00").xray("CHEST", "ACC1", stored=True, at="10:00")
    story.looked_at("pneumonia", 0.9, "ACC1").xray("CHEST", "ACC1", instances=2, stored=True, at="10:05")
    story.looked_at("pneumonia", 0.3, "ACC1", instance=2).rejects("ACC1", at="10:10")
    SmallLog.of(story).write(path)
    scrub(LogReader(path), out, key=b"k" * 32)

    for log in (path, out):
        [item] = rules(log).items
        assert item.study.image is not None and item.study.image.findings[0].probability == 0.3
        assert [one.images for one in item.study.rejected] == [1]
    (named,) = {uid for record in LogReader(path) if b"rejection" in (record.value or b"") for uid in _rejected(record)}
    assert named.encode() not in b"".join(record.value or b"" for record in LogReader(out))


def _rejected(record: LoggedRecord) -> tuple[str, ...]:
    note = codec.decode(IMAGING, record.value).rejection
    return note.instances if note else ()


def test_a_scrubbed_log_keeps_appointments_and_what_reports_say_of_findings(tmp_path: Path) -> None:
    """Not the words that somebody typed."""
    path, out = tmp_path / "log.rfl", tmp_path / "scrubbed.rfl"
    story = patient("P1").order("ACC1", "DX CHEST", at="09:00").xray("CHEST", "ACC1", at="10:00").is_booked("12:00", at="10:05")
    story.report("ACC1", "preliminary", "Mr Miller: no pneumothorax. Opacity left, pneumonia? Normal heart.", at="10:10")
    SmallLog.of(story).write(path)
    scrub(LogReader(path), out, key=b"k" * 32)
    [before], [after] = rules(path).items, rules(out).items

    assert before.study.reported == after.study.reported and before.study.reported
    assert before.study.appointment and after.study.appointment
    assert before.due_at - before.study.ready_at == after.due_at - after.study.ready_at
    assert b"Miller" not in b"".join(record.value or b"" for record in LogReader(out))


def test_a_log_goes_to_a_stack_without_its_answers(log: Path) -> None:
    """`replay --live`: the input records in order; assessments stay behind."""
    records = list(LogReader(log))
    answer = LoggedRecord("assessments", 0, 0, records[0].timestamp, b"k", b"{}", {})
    kafka = MemoryEventLog(8)

    assert asyncio.run(feed([*records, answer], kafka)) == len(records)
    assert sorted(record.value or b"" for record in kafka.records(IMAGING)) == sorted(
        r.value or b"" for r in records if r.topic == "imaging"
    )


def test_what_was_said_of_pictures_comes_before_the_stack_can_say_that_they_are_gone(log: Path) -> None:
    """Though it was said after the picture had arrived."""
    records = list(LogReader(log))
    said = LoggedRecord("findings", 0, 0, records[-1].timestamp + 1, b"k", b"{}", {})
    sent: list[str] = []

    class Noting(MemoryEventLog):
        async def append(self, records: Sequence[Record]) -> None:
            sent.extend(record.topic.name for record in records)

    assert asyncio.run(feed([*records, said], Noting(8))) == len(records) + 1
    assert sent[0] == "findings" and "findings" not in sent[1:]


def test_documents_of_a_newer_version_are_refused(tmp_path: Path) -> None:
    """With both versions; a topic that nobody knows, too."""
    for schemas, words in (({"imaging": "imaging/2"}, "imaging/2 .* knows: imaging/1"), ({"ecg": "ecg/1"}, "no such topic")):
        path = tmp_path / "newer.rfl"
        with LogWriter(path, LogHeader(created_at=CREATED, schemas=schemas)):
            pass
        with pytest.raises(UnreadableLog, match=words):
            opened(path, salvage=False)


def test_a_log_of_an_absent_model_offers_the_rules(tmp_path: Path) -> None:
    """Which model scored, what is here, and what can be done; a log without scores cannot be replayed by them."""
    path = tmp_path / "log.rfl"
    with LogWriter(path, LogHeader(created_at=CREATED, schemas={}, models={"oracle": "7"})):
        pass
    with pytest.raises(ModelAbsent, match=r"oracle 7, which is not here .*--scorer rules"):
        scorer_of(opened(path, salvage=False), Choice("model"), ManualClock())
    assert scorer_of(opened(path, salvage=False), Choice("model", any_model=True), ManualClock()) is not None
    assert scorer_of(opened(path, salvage=False), Choice("rules"), ManualClock()) is None
    with LogWriter(path, LogHeader(created_at=CREATED, schemas={})):
        pass
    with pytest.raises(ModelAbsent, match="holds no scores"):
        scorer_of(opened(path, salvage=False), Choice("recorded"), ManualClock())
