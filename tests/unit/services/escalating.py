"""The escalation over memory ports, with a clock and a world outside that a test commands."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

from pipeline.adapters.memory.clock import ManualClock
from pipeline.adapters.memory.event_log import MemoryEventLog
from pipeline.adapters.memory.worklist import MemoryWorklist
from pipeline.domain.escalation import Alert
from pipeline.domain.escalation_policy import DEFAULT, Channel, EscalationPolicy, Step
from pipeline.ports.escalation import Delivery, Notice
from pipeline.services.alert_desk import AlertDesk
from pipeline.services.alert_steps import AlertSteps
from pipeline.services.escalation import Escalation
from schemas.worklist import WorklistItem
from tests.alert_builders import minutes
from tests.store_fixtures import START, change

STEPS = (Step(0, "radiologist", "hook"), Step(15, "radiologist", "mail"), Step(30, "senior", "hook"), Step(60, "head", "mail"))
POLICY = replace(DEFAULT, steps=STEPS, channels={**DEFAULT.channels, "hook": Channel("webhook", "x", "y"), "mail": Channel("apprise", "z")})


class Killed(BaseException):
    """kill -9: nothing of the process runs any more."""


class Outside:
    """Notifier. Keeps what arrived; a test makes it refuse, lose its answer, or takes the sender away after sending."""

    def __init__(self) -> None:
        self.arrived: list[Notice] = []
        self.outcomes: dict[str, Delivery] = {}
        self.kill_after: int | None = None

    async def send(self, notice: Notice, channel: Channel) -> Delivery:
        """As Notifier.send."""
        outcome = self.outcomes.get(channel.kind, Delivery("delivered"))
        if outcome.outcome != "refused":
            self.arrived.append(notice)
        if self.kill_after is not None:
            self.kill_after -= 1
            if self.kill_after < 0:
                raise Killed
        return outcome

    def times(self) -> Counter[str]:
        """key -> how often it arrived without being marked as a repeat."""
        return Counter(notice.key for notice in self.arrived if not notice.repeat)


class Department:
    """A worklist, its alerts, and the agent that looks after them."""

    def __init__(self, policy: EscalationPolicy = POLICY) -> None:
        self.policy = policy
        self.clock = ManualClock(START)
        self.worklist = MemoryWorklist()
        self.alerts = self.worklist.alerts
        self.log = MemoryEventLog()
        self.outside = Outside()
        self.start_agent()

    def start_agent(self) -> None:
        """A new process: nothing is remembered but what is stored."""
        self.alerts.release_all()
        self.escalation = Escalation(self.alerts, self.worklist, self.clock, lambda: self.policy)
        self.steps = AlertSteps(self.alerts, self.outside, self.log, self.clock, lambda: self.policy, "https://list")
        self.desk = AlertDesk(self.alerts, self.alerts, self.worklist, self.clock)

    def put(self, item: WorklistItem) -> None:
        """What the ranking stage does."""
        self.worklist.write(change(item))

    async def see(self, *items: WorklistItem) -> None:
        """The list moves, and the agent reads its topic."""
        for item in items:
            self.put(item)
        await self.escalation.observe(items)

    async def run(self, by: float = 0) -> None:
        """Time goes by; the agent takes what is due."""
        self.clock.advance(minutes(by))
        while await self.steps.advance():
            pass

    def alert(self, uid: str = "1.2", trigger: str = "critical") -> Alert:
        """The study's alert."""
        return next(alert for alert in self.alerts.alerts.values() if (alert.subject, alert.trigger) == (uid, trigger))

    def told(self) -> list[tuple[str, str]]:
        """(role, subject) of each message that arrived."""
        return [(notice.role, notice.subject) for notice in self.outside.arrived]
