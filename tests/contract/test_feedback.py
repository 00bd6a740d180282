"""The contract of FeedbackStore, held by the memory twin and by Postgres."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from pipeline.adapters.memory.feedback import MemoryFeedback
from pipeline.adapters.postgres.feedback import PostgresFeedback
from pipeline.domain.feedback import Feedback
from pipeline.ports import FeedbackStore
from tests.store_fixtures import START

FIRST = Feedback("1.2.3", "1.2.3.1", "pneumonia", "agree", "Dr Ada", START, "chest_frontal", "1", 0.7)
LATER = replace(FIRST, verdict="corrected", instead="effusion\0", at=START + timedelta(minutes=5))


@pytest.fixture(params=["memory", "postgres"])
def store(request: pytest.FixtureRequest) -> FeedbackStore:
    """Empty."""
    return MemoryFeedback() if request.param == "memory" else PostgresFeedback(request.getfixturevalue("database"))


async def test_every_word_is_kept_in_its_order(store: FeedbackStore) -> None:
    """By study and by finding; the same word again is kept once, and text that Postgres does not take is no error."""
    other = replace(FIRST, study_uid="9.9", picture="9.9.1", finding="intensive-care-7d", at=START + timedelta(minutes=1))
    for said in (LATER, FIRST, other, FIRST):
        await store.add(said)

    found = await store.of_study("1.2.3")
    assert [(one.verdict, one.at) for one in found] == [("agree", START), ("corrected", START + timedelta(minutes=5))]
    assert found[0] == FIRST
    assert (found[1].instead or "").startswith("effusion")
    assert await store.of_finding("pneumonia") == found
    assert await store.of_finding("intensive-care-7d") == [other]
    assert await store.of_study("unknown") == []
