"""What a stage's lag means, in a sentence."""

from __future__ import annotations

import pytest

from pipeline.domain.stages import CONTEXT, RANKING, SCORING, STAGES, PartitionLag, age_in_words, consequence, partitions_in_words

STUDIES = [0, 0, 0, 42, 1, 0, 0, 7]


def lag(partition: int, seconds: float, stage: str = "context") -> PartitionLag:
    """A partition that is behind."""
    return PartitionLag(stage, "labs", partition, 5, seconds, seconds)


def test_the_sentence_names_whom_it_affects() -> None:
    """Count, partition, and how old."""
    assert consequence(CONTEXT, [lag(3, 95)], STUDIES) == "42 studies of context partition 3 are ranked on data 95 s old."
    assert consequence(CONTEXT, [lag(4, 95)], STUDIES) == "1 study of context partition 4 is ranked on data 95 s old."
    assert consequence(RANKING, [lag(3, 130), lag(7, 30)], STUDIES) == (
        "49 studies of ranking partitions 3 and 7 are where they stood 2 min ago: newer assessments are not on the list yet."
    )
    assert consequence(CONTEXT, [lag(n, 20 + n) for n in range(8)], STUDIES) == (
        "50 studies on all 8 partitions of context are ranked on data 27 s old."
    )
    assert consequence(SCORING, [lag(0, 8)], STUDIES) == "Scoring is 8 s behind on partition 0; no open study is affected yet."


def test_a_moment_is_not_worth_a_sentence() -> None:
    """Below five seconds nobody is told."""
    assert consequence(CONTEXT, [lag(3, 4.9)], STUDIES) is None
    assert consequence(CONTEXT, [], STUDIES) is None


@pytest.mark.parametrize(
    ("seconds", "words"), [(0, "0 s"), (95.4, "95 s"), (119, "119 s"), (125, "2 min"), (7_200, "2 h"), (12_000, "3 h 20 min")]
)
def test_ages_as_people_say_them(seconds: float, words: str) -> None:
    """Seconds to two minutes, minutes to two hours."""
    assert age_in_words(seconds) == words


def test_partitions_as_people_say_them() -> None:
    """One, some, all."""
    assert [partitions_in_words(numbers, 8) for numbers in ([3], [1, 4, 7], list(range(8)))] == [
        "partition 3",
        "partitions 1, 4 and 7",
        "all 8 partitions",
    ]


def test_groups_are_not_shared() -> None:
    """Each stage has offsets of its own."""
    assert len({stage.group for stage in STAGES}) == len(STAGES)
