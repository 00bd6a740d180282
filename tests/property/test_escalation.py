"""An alert under any sequence of values, readers, deaths and clocks: each step told once, and nobody forgotten."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from pipeline.errors import Conflict
from pipeline.ports.escalation import Delivery
from tests.alert_builders import minutes, news2, potassium, study
from tests.unit.services.escalating import POLICY, Department, Killed

UIDS = st.sampled_from(["1", "2", "3"])
READERS = st.sampled_from(["Ada", "Ben"])
REASONS = st.lists(st.sampled_from([potassium(), potassium(9, 15), news2(9)]), max_size=2, unique_by=lambda one: one.kind)


class Escalating(RuleBasedStateMachine):
    """Three studies of two patients."""

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.department = Department()
        self.version = 0
        self.steps: dict[tuple[str, int], int] = {}

    def teardown(self) -> None:
        """The loop goes with the machine."""
        self.runner.close()

    def do(self, work: Any) -> None:
        """Runs it; a refusal is an answer, a killed agent is started again."""
        try:
            with suppress(Conflict):
                self.runner.run(work)
        except Killed:
            self.department.outside.kill_after = None
            self.department.start_agent()

    @rule(uid=UIDS, reasons=REASONS, due=st.sampled_from([10, 600]))
    def values(self, uid: str, reasons: list[Any], due: int) -> None:
        """New values, corrected ones, or none any more."""
        self.version += 1
        self.do(self.department.see(study(uid, *reasons, due=due, version=self.version, patient="p1" if uid == "1" else "p2")))

    @rule(uid=UIDS, how=st.sampled_from(["reported", "cancelled"]))
    def leaves(self, uid: str, how: str) -> None:
        """The study is read, or its order cancelled."""
        self.version += 1
        patient = "p1" if uid == "1" else "p2"
        self.do(self.department.see(study(uid, version=self.version, patient=patient, state="closed", closed=how)))

    @rule(uid=UIDS, reader=READERS, take_over=st.booleans())
    def acknowledges(self, uid: str, reader: str, take_over: bool) -> None:
        """On the list."""
        if uid in self.department.worklist.rows:
            self.do(self.department.worklist.acknowledge(uid, reader, self.department.clock.now(), take_over=take_over))

    @rule(by=st.sampled_from([0, 1, 7, 15, 40, 200]))
    def time_passes(self, by: int) -> None:
        """And the agent does what is due."""
        self.do(self.department.run(by))
        self.do(self.department.escalation.sweep())

    @rule(by=st.sampled_from([5, 300]))
    def clock_goes_back(self, by: int) -> None:
        """As clocks do."""
        self.department.clock.set(self.department.clock.now() - minutes(by))
        self.do(self.department.escalation.sweep())

    @rule(after=st.integers(0, 2))
    def agent_will_die(self, after: int) -> None:
        """After so many more messages."""
        self.department.outside.kill_after = after

    @rule(kind=st.sampled_from(["webhook", "apprise"]), outcome=st.sampled_from(["refused", "unknown", "delivered"]))
    def channel(self, kind: str, outcome: Any) -> None:
        """Breaks, or is mended."""
        self.department.outside.outcomes[kind] = Delivery(outcome)

    @invariant()
    def each_step_arrives_once_or_says_that_it_is_a_repeat(self) -> None:
        """At the receiver, whatever died."""
        assert not [key for key, times in self.department.outside.times().items() if times > 1]

    @invariant()
    def nobody_is_forgotten(self) -> None:
        """What is open has a next step, or has told everybody; what is not open has none (but for a word of withdrawal)."""
        for alert in self.department.alerts.alerts.values():
            if alert.is_open:
                assert alert.next_at is not None or alert.step == len(POLICY.steps) - 1
            else:
                assert alert.next_at is None or alert.state == "withdrawn"

    @invariant()
    def an_acknowledged_alert_has_its_record(self) -> None:
        """All six fields."""
        for alert in self.department.alerts.alerts.values():
            if alert.state == "acknowledged":
                assert alert.record is not None and alert.record.received_by == alert.acknowledged_by

    @invariant()
    def no_step_is_taken_twice(self) -> None:
        """Within a round the ladder only goes up."""
        for alert in self.department.alerts.alerts.values():
            before = self.steps.get((alert.id, alert.round), -1)
            assert alert.step >= before
            self.steps[alert.id, alert.round] = alert.step


TestEscalating = Escalating.TestCase
TestEscalating.settings = settings(max_examples=40, stateful_step_count=25, deadline=None)
