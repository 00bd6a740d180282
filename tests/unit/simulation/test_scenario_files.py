"""What a scenario file may say, and how a bad one is refused."""

from __future__ import annotations

import pytest

from pipeline.simulation.department.loading import InvalidScenario, load, parse, shipped
from tests.unit.simulation.departments import AI, GROUP, department, document

BAD = [
    ({"titel": "x"}, "top level", "unknown field"),
    ({"arrivals": {"traffic": "much"}}, "arrivals.traffic", "Expected"),
    ({"arrivals": {}}, "arrivals", "either traffic or per_hour"),
    ({"arrivals": {"traffic": 0}}, "arrivals", "above 0"),
    ({"arrivals": {"traffic": 1.0}}, "arrivals", "cannot keep up"),
    ({"arrivals": {"traffic": 0.5, "by_hour": [1.0] * 23}}, "arrivals.by_hour", "24 weights"),
    ({"exams": 10}, "exams", "from 1,000"),
    ({"groups": []}, "groups", "at least one"),
    ({"groups": [{**GROUP, "share": 0.5}]}, "groups", "add up to 0.5"),
    ({"groups": [{**GROUP, "share": -1}]}, "groups[0].share", "from 0 to 1"),
    ({"groups": [{**GROUP, "reading": {"mean": -3}}]}, "groups[0].reading.mean", "above 0"),
    ({"groups": [{**GROUP, "diseases": [{"name": "bleed", "prevalence": 1.2}]}]}, "groups[0].diseases[0].prevalence", "from 0 to 1"),
    ({"groups": [{**GROUP, "diseases": [{"name": "none", "prevalence": 0.1}]}]}, "groups[0].diseases[0].name", "'none'"),
    ({"readers": [{"groups": ["MR"]}]}, "readers[0].groups", "no group 'MR'"),
    ({"readers": [{"count": 0}]}, "readers[0].count", "from 1"),
    ({"readers": [{"hours": [8, 8]}]}, "readers[0].hours", "two different hours"),
    ({"ais": [{**AI, "group": "MR"}]}, "ais[0].group", "no group 'MR'"),
    ({"ais": [{**AI, "finds": "stone"}]}, "ais[0].finds", "no disease 'stone'"),
    ({"ais": [{**AI, "sensitivity": 0.1}]}, "ais[0].sensitivity", "worse than chance"),
    ({"ais": [{**AI, "roc": [[0.1, 0.5]]}]}, "ais[0]", "either sensitivity or roc"),
    (
        {"ais": [{"name": "AI", "group": "CT", "finds": "bleed", "specificity": 0.9, "roc": [[0.1, 0.2], [0.2, 0.9]]}]},
        "ais[0].roc",
        "slopes",
    ),
    ({"ais": [AI, AI]}, "ais", "twice"),
    ({"orders": [{"name": "a", "share": 0.4}]}, "orders", "add up to 0.4"),
    ({"orders": [{"name": "a", "priority": "soon"}]}, "orders[0].priority", "Invalid enum value"),
    ({"signs": [{"name": "s", "given": {"stone": 0.5}}]}, "signs[0].given", "no disease 'stone'"),
    ({"signs": [{"name": "s", "given": {"none": 2}}]}, "signs[0].given.none", "from 0 to 1"),
    ({"signs": [{"name": "s", "given": {}, "news2": {"mood": 1}}]}, "signs[0].news2", "no parameter 'mood'"),
    ({"policies": [{"name": "x", "kind": "random"}]}, "policies[0].kind", "Invalid enum value"),
    ({"policies": [{"name": "x", "kind": "edf", "minutes": {"AI": 20}}]}, "policies[0].minutes", "other is missing"),
    ({"policies": [{"name": "x", "kind": "edf", "minutes": {"AI": -1, "other": 9}}]}, "policies[0].minutes", "above 0"),
    ({"policies": [{"name": "x", "kind": "readfirst", "minutes": {"AI": 20}}]}, "policies[0].minutes", "come from the site's rules"),
    ({"policies": [{"name": "x", "kind": "fifo", "max_wait": 60}]}, "policies[0].max_wait", "of a hierarchy"),
    (
        {"preemption": "all", "policies": [{"name": "x", "kind": "accumulating", "weights": {"AI": 2, "other": 1}}]},
        "policies[0]",
        "cannot interrupt",
    ),
]


@pytest.mark.parametrize(("changes", "field", "reason"), BAD, ids=[f"{field}: {reason}" for _, field, reason in BAD])
def test_a_bad_scenario_names_field_and_reason(changes, field, reason):
    """Each fault is told with its field and what is wrong with it."""
    with pytest.raises(InvalidScenario) as caught:
        parse(document(**changes), "bad.toml")

    assert field == caught.value.field
    assert reason in caught.value.reason
    assert str(caught.value).startswith(f"scenario bad.toml, {field}: ")


@pytest.mark.parametrize("name", shipped())
def test_shipped_scenarios_are_valid(name):
    """What comes with the product loads, and is named as its file."""
    assert name == load(name).name


def test_g1_is_the_manuals():
    """37.5 minutes between studies, three diseases, two AIs."""
    g1 = load("g1")

    assert 1 / g1.per_minute() == pytest.approx(37.5)
    assert g1.diseases == ["SAH", "ICH", "LVO"]


def test_a_skill_that_is_too_rare_is_refused():
    """Readers enough in all, but the one who reads CT is asked for 1.2 of his time."""
    groups = [{**GROUP, "share": 0.4}, {"name": "MR", "share": 0.6, "reading": {"mean": 10}}]

    with pytest.raises(InvalidScenario, match=r"readers of CT cannot keep up: 1\.20"):
        department(groups=groups, readers=[{"groups": ["CT"]}, {"count": 3, "groups": ["MR"]}], arrivals={"traffic": 0.75})


def test_files_that_cannot_be_read(tmp_path):
    """A missing file names the shipped ones; what is not TOML says so; a file that extends itself ends."""
    with pytest.raises(InvalidScenario, match=r"shipped scenarios: .*g1, g2, g3"):
        load("nowhere")
    bad = tmp_path / "bad.toml"
    bad.write_text("name = ")
    with pytest.raises(InvalidScenario, match="is not TOML"):
        load(str(bad))
    bad.write_text(f'extends = "{bad}"')
    with pytest.raises(InvalidScenario, match="does not end"):
        load(str(bad))


def test_a_file_overlays_what_it_extends(tmp_path):
    """Own tables replace the other's; the rest stays."""
    mine = tmp_path / "mine.toml"
    mine.write_text('extends = "g1"\nname = "mine"\narrivals = { traffic = 0.5 }\n')

    assert load(str(mine)).arrivals.traffic == 0.5
    assert load(str(mine)).groups == load("g1").groups
