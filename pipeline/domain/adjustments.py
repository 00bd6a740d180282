"""What readers do to a deadline: set a study aside, put it off, move it up or down. Each ends by itself, and danger ends it at once.

A hold whose clock is paused moves due_at and the target by as long as it lasts, from the beginning: when it ends at its time, nothing is
left to do; when it ends sooner, both come back by what was left. A study that is put off keeps its deadline. An override sets the
deadline itself, and alone may set it after the order's target. Rules that find the study more pressing than when a reader decided
take it back to where they say: the reader decided on less than is known now.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from msgspec.structs import replace

from pipeline.domain.site import HoldReason, Policy
from pipeline.domain.urgency import FLOOR_MINUTES
from pipeline.errors import InvalidMessage
from schemas.assessments import Evidence
from schemas.worklist import Adjustment, Hold, Override, Reason, WorklistItem

KINDS = frozenset({"hold", "override"})
"""Kinds of evidence that are a reader's act, not a finding."""

DEFERRED = HoldReason("deferred", "put off", 0)
"""For a study that can be read, but not now: no reason of the site's list, and the clock runs on."""

_NONE = timedelta()


def plain(item: WorklistItem) -> WorklistItem:
    """The item as the rules alone have it."""
    made = item.adjustment
    if made is None:
        return item
    reasons = [replace(reason, binding=False) for reason in item.reasons if reason.evidence.kind not in KINDS]
    first = max(range(len(reasons)), key=lambda index: reasons[index].minutes, default=None)
    if first is not None:
        reasons[first] = replace(reasons[first], binding=True)
    return replace(item, due_at=made.due_at, target_at=made.target_at, reasons=reasons, adjustment=None)


def adjusted(item: WorklistItem, made: Adjustment | None) -> WorklistItem:
    """A plain item with what readers did to it: deadline, target, and a reason for each act."""
    if made is None:
        return item
    made = replace(made, due_at=item.due_at, target_at=item.target_at)
    paused = timedelta(seconds=made.paused_s) + (made.hold.until - made.hold.since if made.hold and made.hold.paused else _NONE)
    due, target = item.due_at + paused, item.target_at + paused
    if made.override is not None:
        due = min(due, made.override.due_at) if moves_up(made.override) else max(due, made.override.due_at)
    acts = [*_hold_reasons(made, paused), *_override_reasons(made, item.target_at, due)]
    overridden = any(reason.binding for reason in acts)
    reasons = [replace(reason, binding=reason.binding and not overridden) for reason in item.reasons] + acts
    return replace(item, due_at=due, target_at=target, reasons=reasons, adjustment=made, review_at=_review_at(item, made))


def standing(made: Adjustment | None, item: WorklistItem, now: datetime, policy: Policy) -> Adjustment | None:
    """What of it still stands for `item`, which is plain and may have just changed; None when nothing does.

    Nobody holds or overrides a closed study, but the time that it could not be read stays taken from its wait.
    """
    if made is None:
        return None
    hold, override, paused_s = made.hold, made.override, made.paused_s
    if hold is not None and (end := _hold_ends(hold, item, now, policy)) is not None:
        paused_s += max((end - hold.since).total_seconds(), 0.0) if hold.paused else 0.0
        hold = None
    if override is not None and _override_ends(override, item, now, policy):
        override = None
    if hold is None and override is None and not paused_s:
        return None
    return replace(made, hold=hold, override=override, paused_s=paused_s)


def moves_up(act: Override) -> bool:
    """Whether it was given to have the study read sooner than the rules would."""
    return act.due_at <= act.ruled_at


def _override_ends(act: Override, item: WorklistItem, now: datetime, policy: Policy) -> bool:
    """More danger ends only what holds a study down: to end what moved it up could make it later."""
    return item.state == "closed" or now >= act.until or (not moves_up(act) and _more_pressing(act.ruled_at, item, policy))


def _hold_ends(hold: Hold, item: WorklistItem, now: datetime, policy: Policy) -> datetime | None:
    if now >= hold.until:
        return hold.until
    return now if item.state == "closed" or news(hold, item) or _more_pressing(hold.ruled_at, item, policy) else None


def news(hold: Hold, item: WorklistItem) -> str | None:
    """What has come since the study was set aside: images (the study being complete again), or a preliminary report."""
    if item.study.complete and item.study.instances > hold.instances:
        return "new images"
    return "a preliminary report" if item.study.preliminary_report and not hold.preliminary_report else None


def _more_pressing(ruled_at: datetime, item: WorklistItem, policy: Policy) -> bool:
    return ruled_at - item.due_at > policy.dead_band


def _review_at(item: WorklistItem, made: Adjustment) -> datetime | None:
    ends = [act.until for act in (made.hold, made.override) if act is not None]
    return min([*ends, *([item.review_at] if item.review_at else [])], default=None)


def _hold_reasons(made: Adjustment, paused: timedelta) -> list[Reason]:
    hold, minutes = made.hold, -round(paused / timedelta(minutes=1), 1) or 0.0
    if hold is not None:
        how = "its clock stands still" if hold.paused else "its clock runs on"
        label = f"set aside by {hold.by}: {hold.words}; {how} until {hold.until:%Y-%m-%d %H:%MZ} at the latest"
        return [_act("hold", hold.code, label, hold.since, minutes, "new images, a report, more danger, or that time")]
    return [_act("hold", "past", f"could not be read for {-minutes:g} min: its clock stood still", None, minutes)] if paused else []


def _override_reasons(made: Adjustment, target: datetime, due: datetime) -> list[Reason]:
    override = made.override
    if override is None:
        return []
    sooner = moves_up(override)
    beyond = ", later than the order's own target" if override.due_at > target else ""
    label = f"moved {'up' if sooner else 'down'} by {override.by}{beyond}: {override.words}; until {override.until:%Y-%m-%d %H:%MZ}"
    ends = "that time" if sooner else "that time, or more danger"
    minutes = round((target - override.due_at) / timedelta(minutes=1), 1)
    return [_act("override", "up" if sooner else "down", label, override.since, minutes, ends, due == override.due_at)]


def _act(kind: str, code: str, label: str, at: datetime | None, minutes: float, ends: str | None = None, binding: bool = False) -> Reason:
    said = Evidence(kind=kind, code=code, label=label, severity=0.0, at=at, reverts_when=ends)
    return Reason(evidence=said, minutes=minutes, binding=binding)


# --- what a reader may do --------------------------------------------------------------------------------------------------------------


def hold(
    item: WorklistItem, reason: HoldReason, by: str, now: datetime, minutes: float | None, note: str | None, policy: Policy
) -> WorklistItem:
    """Set aside as it cannot be read as it is: the clock stands still for `minutes`, at most the reason's own (the default)."""
    length = reason.minutes if minutes is None else minutes
    if not 0 < length <= reason.minutes:
        raise InvalidMessage("invalid", f"minutes must be more than 0 and at most {reason.minutes:g} for this reason")
    return _set_aside(item, reason, by, now, now + timedelta(minutes=length), True, note, policy)


def defer(item: WorklistItem, by: str, now: datetime, minutes: float, note: str | None, policy: Policy) -> WorklistItem:
    """Put off, the clock running on: it is nobody's next case for so long, but at the latest when it is due."""
    until = min(now + timedelta(minutes=_positive(minutes)), item.due_at)
    if until <= now:
        raise InvalidMessage("invalid", "a study that is due cannot be put off")
    return _set_aside(item, DEFERRED, by, now, until, False, note, policy)


def _set_aside(
    item: WorklistItem, reason: HoldReason, by: str, now: datetime, until: datetime, paused: bool, note: str | None, policy: Policy
) -> WorklistItem:
    bare = resumed(item, now, policy)
    made = bare.adjustment or Adjustment(due_at=bare.due_at, target_at=bare.target_at)
    words = f"{reason.words} ({note})" if note else reason.words
    act = Hold(
        code=reason.code,
        words=words,
        by=by,
        since=now,
        until=until,
        ruled_at=made.due_at,
        paused=paused,
        instances=bare.study.instances,
        preliminary_report=bare.study.preliminary_report,
        note=note,
    )
    return _again(bare, replace(made, hold=act), now, policy)


def resumed(item: WorklistItem, now: datetime, policy: Policy) -> WorklistItem:
    """Back from a hold, now; the same item when it is not set aside."""
    made = item.adjustment
    if made is None or made.hold is None:
        return item
    return _again(item, replace(made, hold=replace(made.hold, until=max(min(made.hold.until, now), made.hold.since))), now, policy)


def override(item: WorklistItem, due_at: datetime, by: str, now: datetime, minutes: float, words: str, policy: Policy) -> WorklistItem:
    """The deadline that a reader wants, for `minutes`; a time to open the study is left in any case."""
    length = timedelta(minutes=_positive(minutes))
    if length > policy.override_longest:
        raise InvalidMessage("invalid", f"an override stands for at most {policy.override_longest / timedelta(minutes=1):g} minutes here")
    ruled = plain(item)
    earliest = ruled.study.ready_at + timedelta(minutes=FLOOR_MINUTES)
    act = Override(due_at=max(due_at, earliest), words=words, by=by, since=now, until=now + length, ruled_at=ruled.due_at)
    made = item.adjustment or Adjustment(due_at=item.due_at, target_at=item.target_at)
    return _again(item, replace(made, override=act), now, policy)


def freed(item: WorklistItem, now: datetime, policy: Policy) -> WorklistItem:
    """Without the override, as the rules have it."""
    made = item.adjustment
    return item if made is None or made.override is None else _again(item, replace(made, override=None), now, policy)


def _again(item: WorklistItem, made: Adjustment, now: datetime, policy: Policy) -> WorklistItem:
    bare = plain(item)
    return adjusted(bare, standing(made, bare, now, policy))


def _positive(minutes: float) -> float:
    if not 0 < minutes < float("inf"):
        raise InvalidMessage("invalid", "minutes must be more than 0")
    return minutes


def set_aside(item: WorklistItem, now: datetime) -> bool:
    """Whether it is nobody's next case at `now`."""
    return item.adjustment is not None and item.adjustment.hold is not None and now < item.adjustment.hold.until
