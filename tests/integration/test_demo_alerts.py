"""The demo's ladder: an unread critical case goes up all of it, to a webhook receiver and a mail server that check what comes."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path

from pipeline.adapters.local.network import free_port
from pipeline.adapters.memory.clock import ManualClock
from pipeline.adapters.notify.channels import Channels
from pipeline.adapters.site.file import load
from pipeline.services.alert_steps import AlertSteps
from pipeline.simulation.alerting import LADDER, SITE, DemoAlerts
from tests.alert_builders import potassium, study
from tests.unit.services.escalating import Department

FACTOR = 450.0


async def test_an_unread_critical_case_climbs_the_demos_ladder(tmp_path: Path) -> None:
    """By the site file that the demo writes: each step once, by its channel, in order; who acknowledges stops it; nobody is named."""
    with DemoAlerts(tmp_path, FACTOR) as demo:
        policy = load(Path(os.environ[SITE])).policy.escalation
        department = Department(policy)
        department.clock = ManualClock(datetime.now(UTC))
        department.start_agent()
        async with Channels() as channels:
            department.steps = AlertSteps(
                department.alerts, channels, department.log, department.clock, lambda: policy, f"http://127.0.0.1:{free_port()}"
            )
            await department.see(study("1.2", potassium()), study("1.3", potassium(), patient="p2"))
            await department.run()
            await department.desk.acknowledge(department.alert("1.3").id, "Dr Demo", "api")
            for step, following in pairwise(LADDER):
                await department.run((following[0] - step[0]) / FACTOR)
            await department.run(60)

        assert demo.climbed() == 1
        told = [(message.by, message.role) for message in demo.arrived if department.alert("1.2").id in message.text]
        assert sorted(told) == sorted(("webhook" if channel == "pager" else "mail", role) for _, role, channel in LADDER)
        assert len(demo.arrived) == len(LADDER) + 1
        assert not any(message.repeat or message.again for message in demo.arrived)
        assert not any(word in message.subject + message.text for message in demo.arrived for word in ("p1", "p2", "1.2", "1.3"))
    assert SITE not in os.environ
