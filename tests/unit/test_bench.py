"""The pure parts of `readfirst bench`: nothing here is timed."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime
from pathlib import Path

import numpy as np
import pytest
import yaml

from pipeline.adapters.pictures.decoding import prepared
from pipeline.benchmarks import alerting, figures, overhead, serving, simulation, sizing, tables, window_bytes
from pipeline.benchmarks.context import summary
from pipeline.benchmarks.context_worker import Run
from pipeline.benchmarks.latency import Accepted, Change, Sightings, delays, percentiles
from pipeline.benchmarks.patients import PROFILES
from pipeline.benchmarks.vitals import Load
from pipeline.domain.window import Window
from pipeline.errors import StackError
from pipeline.simulation.department import loading
from pipeline.simulation.department.running import run
from pipeline.simulation.department.streams import draw
from schemas import codec
from schemas.events import ObservationEvent
from tests.perf import simpy_department

START = datetime(2026, 3, 2, 8, tzinfo=UTC)


def sightings(*pairs: tuple[float, int]) -> Sightings:
    return Sightings([time for time, _ in pairs], [number for _, number in pairs])


def test_the_same_seed_gives_the_same_load() -> None:
    """Every build gets the same records; each is of our schema, under its patient's key."""
    load = Load(START, events=100, patients=10)
    records = [*load.vitals()]
    events = [codec.decode_event(record.value or b"") for record in records]

    assert records == [*Load(START, events=100, patients=10).vitals()]
    assert len(events) == 100 and all(isinstance(event, ObservationEvent) for event in events)
    assert [record.key for record in records] == [event.patient.encode() for event in events]
    assert {event.patient for event in events} == set(load.names())


def test_studies_belong_to_the_share_that_was_asked() -> None:
    """An order and an image for each of the patients with something to read."""
    load = Load(START, patients=100, open_share=0.05)

    assert len([*load.studies()]) == 2 * load.open_patients == 10


def test_a_window_goes_on_from_its_bytes() -> None:
    """A build that encodes and decodes its window after each event shows the same as one that never does."""
    load = Load(START, events=300, patients=2, open_share=1.0)
    events = [codec.decode_event(record.value or b"") for record in (*load.studies(), *load.vitals())]
    mine = [event for event in events if event.patient == load.names()[0]]
    window = Window()
    for event in mine:
        assert window.apply(event)
        window = window_bytes.decode(window_bytes.encode(window))
    derived = Window.derive(mine)

    assert window.readings == derived.readings
    assert window.studies == derived.studies
    assert (window.age, window.sex, window.as_of) == (derived.age, derived.sex, derived.as_of)


def test_medians_and_ratios() -> None:
    """Figures are medians of the rounds; a ratio says how many times faster Readfirst is."""
    found = {"readfirst": [Run(100, 1, 1), Run(100, 2, 1), Run(100, 4, 1)], "quix": [Run(100, 4, 2)] * 3}
    told = summary(found, Load(START), 3, 7)

    assert (told["readfirst"], told["quix"], told["ratios"]) == (50, 25, {"readfirst_to_quix": 2.0})
    assert told["ranges"]["readfirst"] == [25, 100]


def test_a_cost_is_that_of_the_same_round() -> None:
    """A round on a slow moment of the machine says as much as one on a fast moment; one odd round does not move the figure."""
    plain = [Run(1000, 10, 10), Run(1000, 20, 20), Run(1000, 10, 10)]
    traced = [Run(1000, 11, 12), Run(1000, 22, 24), Run(1000, 40, 50)]
    told = overhead.summary({"nothing": plain, "metrics": plain, "traces": traced}, Load(START))
    text = tables.markdown({"overhead": figures.measured("overhead", told, 0.0)})

    assert (told["metrics"]["cost"], told["traces"]["cost"]) == ({"cpu": 0.0, "time": 0.0}, {"cpu": 0.2, "time": 0.1})
    assert "| +20.0% | processor time an event; +10.0% time, 45 events/s; asked for: under 15 % |" in text


def test_the_worst_alert_is_told_beside_the_median() -> None:
    """One late alert does not hide behind two early ones."""
    told = alerting.summary([{"page": 6.0, "alert": seconds, "resolved": 9.0} for seconds in (31.0, 29.0, 55.0)])

    assert told["alert_s"] == {"median": 31.0, "worst": 55.0}
    assert "| 31 s | at worst 55 s; asked for: under 60 s |" in tables.markdown({"alerting": figures.measured("alerting", told, 0.0)})


def test_a_replays_rate_stands_beside_the_live_stacks() -> None:
    """With their ratio; figures from before the live stack was measured are told as they are."""
    each = {"events": 1_000_000, "moves": 7, "seconds": 50.0, "cpu_s": 50.0, "events_per_s": 20_000, "memory_mib": 200}
    told = {"beds": 500, "file_share": 0.2, "rules": each, "quarter_memory_mib": 190, "model": each}
    live = {"events": 50_000, "seconds": 10.0, "events_per_s": 5_000}
    before, after = (tables.markdown({"replay": figures.measured("replay", found, 0.0)}) for found in (told, {**told, "live": live}))

    assert "live" not in before
    assert "| 5,000 events/s | 50,000 events through Kafka into Postgres by one worker a stage; the replay is 4.0 x |" in after


def test_every_build_is_first_once() -> None:
    """Over as many rounds as there are ways to watch, each has each place in the order."""
    orders = [overhead.turned(number) for number in range(3)]

    assert [set(place) for place in zip(*orders, strict=True)] == [set(overhead.WATCHING)] * 3


def test_a_message_is_seen_with_the_first_change_that_covers_it() -> None:
    """Two messages folded into one change are both seen with it; another patient's change says nothing of them."""
    messages = [Accepted("p", 10.0, "a"), Accepted("p", 10.1, "b"), Accepted("q", 10.2, "c")]
    changes = [Change("p", "b", 10.5), Change("q", "z", 10.6)]
    committed, seen, unmatched = delays(messages, changes, sightings((10.6, 1), (10.8, 2)), sightings((10.9, 2)))

    assert committed == pytest.approx([0.6, 0.5])
    assert seen == pytest.approx([0.9, 0.8])
    assert unmatched == 1


def test_a_change_caused_by_an_older_message_does_not_count() -> None:
    """The model's late answer to an earlier message is no sight of a later one."""
    messages = [Accepted("p", 10.0, "a"), Accepted("p", 11.0, "b")]
    committed, _, unmatched = delays(messages, [Change("p", "a", 11.5)], sightings((12, 1)), sightings((12, 1)))

    assert committed == [2.0] and unmatched == 1


def test_percentiles_of_nothing_are_nothing() -> None:
    """No number is made up where nothing was measured."""
    assert percentiles([]) == {"p50": None, "p95": None, "p99": None}
    assert percentiles([n / 1000 for n in range(1, 101)]) == {"p50": 51.0, "p95": 96.0, "p99": 100.0}


def test_every_profile_differs() -> None:
    """A repeated profile would change nothing on the list, and its message would never be seen."""
    assert len({tuple(profile.items()) for profile in PROFILES}) == len(PROFILES)


def test_the_block_is_replaced_and_nothing_else() -> None:
    """Writing twice is the same as writing once."""
    readme = "a\n<!-- figures: said -->\nold\n<!-- /figures -->\nz\n"
    once = figures.with_block(readme, "new")

    assert once == "a\n<!-- figures: said -->\nnew\n<!-- /figures -->\nz\n"
    assert figures.with_block(once, "new") == once


def test_a_readme_without_marks_is_left_alone() -> None:
    """The person is told, instead of figures at a place of our choosing."""
    with pytest.raises(StackError):
        figures.with_block("no marks", "new")


def test_figures_are_kept_until_measured_anew(tmp_path: Path) -> None:
    """One figure measured again leaves the others as they are."""
    document = tmp_path / "figures.json"
    for name, seconds in (("startup", 9.0), ("memory", 1.0), ("startup", 8.0)):
        figures.store({name: figures.measured(name, {"seconds": seconds}, 0.1, date(2026, 3, 2))}, document)

    assert {name: each["result"]["seconds"] for name, each in json.loads(document.read_text()).items()} == {"startup": 8.0, "memory": 1.0}


def test_what_is_published_of_the_figures_is_up_to_date() -> None:
    """`readfirst bench --write-readme` has been run: README and sizing guide say what infra/figures.json holds."""
    readme = figures.README.read_text()

    assert figures.with_block(readme, tables.markdown(figures.stored())) == readme
    assert figures.GUIDE.read_text() == sizing.text(figures.stored())


def test_a_stack_is_planned_by_a_rate_that_it_held() -> None:
    """The next higher one that was measured; beyond the highest, in proportion. A rate at which senders waited says nothing."""
    rates = [(50, 50.0, 0.2), (200, 199.9, 0.4), (1000, 246.0, 0.4)]
    latency = {"rates": {f"{sent}": {"sent_per_s": sent, "accepted_per_s": got, "cores_busy": {"web": busy}} for sent, got, busy in rates}}

    assert [sizing.cores(latency, rate)["web"] for rate in (10, 51, 400)] == [0.2, 0.4, 0.8]
    assert [sizing.processes(busy) for busy in (0.1, 1.3, 6.0)] == [2, 3, 10]
    assert sizing.processes(6.0, most=8) == 8


def test_the_chart_asks_for_what_was_measured() -> None:
    """Each role's memory request is more than it held after a demo."""
    roles = yaml.safe_load((figures.ROOT / "infra" / "helm" / "readfirst" / "values.yaml").read_text())["roles"]
    asked = {name: int(role["resources"]["requests"]["memory"].removesuffix("Mi")) for name, role in roles.items()}
    held = figures.stored()["memory"]["result"]["parts_mib"]

    assert {name: (mib, held[name]["rss"]) for name, mib in asked.items() if mib < held[name]["rss"]} == {}


def test_the_machine_is_described_not_named() -> None:
    """Cores, memory, Python and system; no host name."""
    assert figures.machine().keys() == {"cores", "memory_gib", "python", "system"}


def test_the_table_says_the_ratio() -> None:
    """Each rival stands beside Readfirst with the factor between them."""
    result = summary({"readfirst": [Run(100, 1, 1)], "faust_table": [Run(10, 1, 1)]}, Load(START), 1, 0)
    text = tables.markdown({"context": figures.measured("context", result, 3.0)})

    assert "10.0 x" in text and "| Readfirst |" in text


def test_the_simulators_read_in_the_same_room() -> None:
    """What is timed beside each other is one reading room: SimPy's mean wait is that of our `order`, as far as so few studies tell."""
    scenario = loading.parse(simulation.ONE_READER)
    studies = draw(scenario, 40_000, 1)
    ours = run(scenario, studies, next(rule for rule in scenario.policies if rule.name == "order")).wait(studies).mean()

    assert simpy_department.simulate(40_000, 1) == pytest.approx(ours, rel=0.25)


def test_a_film_is_the_same_in_every_transfer_syntax() -> None:
    """What is decoded for the figure is a film that a head is shown, and compressing it loses nothing."""
    shown = [prepared(serving.film(syntax, 128), 64) for syntax in serving.SYNTAXES.values()]

    assert all(np.array_equal(one, shown[0]) for one in shown)
    assert shown[0].std() > 20


def test_serving_figures_are_told_beside_what_was_asked() -> None:
    """Each model beside one process, the urgent request beside its idle self, each transfer syntax."""
    wait = {"p50": 2.0, "p95": 3.0, "p99": 4.0}
    found = {
        "throughput": {"clinical_risk": {"process": 700.0, "triton": 630.0, "batch": 8, "ratio": 0.9}},
        "urgent": {
            **{name: {**wait, "routine_rows_per_s": 500.0} for name in ("idle", "saturated", "without priorities")},
            "saturated_to_idle": 2.5,
            "routine": {"rows": 8, "at_once": 16},
        },
        "films": {"RLE": 7.3},
        "seconds": 20.0,
    }
    rows = tables.rows("serving", found)

    assert [row[1] for row in rows] == ["630/s", *["2 / 3 / 4 ms"] * 3, "7.3/s"]
    assert "500 rows/s answered" in tables._NOTES["serving"](found)
    assert "0.9 x" in rows[0][2] and "2.5 x its idle p99" in rows[2][2]
