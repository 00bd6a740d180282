"""The escalation agent under kill -9, on real Kafka and Postgres, telling a real webhook receiver."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from pydantic import SecretStr

from pipeline.adapters.kafka import topics
from pipeline.benchmarks.escalation import Trial, run
from pipeline.services.alert_steps import AT_ONCE
from pipeline.settings import Kafka, Postgres, Settings


def test_every_step_is_sent_once_however_often_the_agent_is_killed(kafka: str, migrated: Callable[[], str], tmp_path: Path) -> None:
    """Killed at its work again and again; what was on its way, and no more, comes once more, and says so."""
    settings = Settings(
        data=tmp_path,
        kafka=Kafka(bootstrap_servers=kafka, topic_prefix="kills.", partitions=2),
        postgres=Postgres(dsn=SecretStr(migrated())),
    )
    topics.create(settings.kafka)
    found = run(Trial(alerts=400, seconds=4, kill_every_s=1, steps_a_life=40), settings, tmp_path, lambda part, what: None)

    assert (found["missed"], found["unmarked_repeats"], found["unknown"]) == (0, 0, 0)
    assert found["steps"] == 400 and found["kills"] == found["kills_at_work"] == 4
    assert found["sent_under_fire"] >= 4 * 40 - found["repeats"]
    assert found["repeats"] <= 4 * AT_ONCE
