"""What keeps the list from jumping: a dead band, a minimum dwell, and the pin of a claim. Danger passes all three.

Dead band: due_at stays where it was while it would move by less than `policy.dead_band` and the same reasons pull it. So a risk of 0.612
after 0.610 moves nothing, a new reason does. Dwell: what has just moved goes down again on the same reasons only after `policy.dwell`.
Pin: what a reader has claimed does not sink. A move that is held back is taken later, at `review_at` or when the claim is given back;
due_at is then too early, never too late. None of it holds where the order's own target moved, the patient changed, or the study closed
or opened again.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from msgspec.structs import replace

from pipeline.domain.site import Policy
from schemas.worklist import WorklistItem


def steadied(previous: WorklistItem, item: WorklistItem, now: datetime, policy: Policy) -> WorklistItem:
    """`item` with due_at where it may be now; both without what readers did to them."""
    if not _comparable(previous, item):
        return _moved(previous, item, now)
    later, same = item.due_at - previous.due_at, _pulling(previous) == _pulling(item)
    if same and abs(later) < policy.dead_band:
        return replace(item, due_at=previous.due_at, moved_at=previous.moved_at)
    if later <= timedelta():
        return _moved(previous, item, now)
    if previous.state == "claimed":
        return replace(item, due_at=previous.due_at, moved_at=previous.moved_at)
    if same and previous.moved_at is not None and now < previous.moved_at + policy.dwell:
        return replace(item, due_at=previous.due_at, moved_at=previous.moved_at, review_at=previous.moved_at + policy.dwell)
    return _moved(previous, item, now)


def _moved(previous: WorklistItem, item: WorklistItem, now: datetime) -> WorklistItem:
    return replace(item, moved_at=previous.moved_at if item.due_at == previous.due_at else now)


def _comparable(previous: WorklistItem, item: WorklistItem) -> bool:
    return (
        previous.state != "closed" and item.state != "closed" and previous.patient == item.patient and previous.target_at == item.target_at
    )


def _pulling(item: WorklistItem) -> set[tuple[str, str, bool]]:
    return {(reason.evidence.kind, reason.evidence.code, reason.binding) for reason in item.reasons if reason.minutes > 0 or reason.binding}
