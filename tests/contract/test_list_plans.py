"""The plans of the list's queries on a long list: the index gives the order, and nothing is sorted or read through."""

from __future__ import annotations

from typing import Any

import pytest
from psycopg import sql

from pipeline.adapters.postgres.database import Database
from pipeline.adapters.postgres.queries import Queries
from pipeline.adapters.postgres.worklist import NEXT, STANDING, page_parameters, page_query
from pipeline.adapters.worklist_rules import encode_cursor
from pipeline.worklist.queries import list_query
from tests.store_fixtures import START, item

OPEN = 20_000
FILL = """
insert into worklist_item (study_uid, patient, due_at, target_at, ready_at, ranked_at, closed, degraded, provisional, unmatched,
    context_version, seq, search, document, held_until, review_at, modality)
select '1.2.' || n, 'p' || n / 2, '2026-03-02 08:00Z'::timestamptz + n * interval '7 s', '2026-04-02', '2026-03-02', '2026-03-02',
    n %% 50 = 0,
    false, false, false, 1, n, '', '{}', case when n %% 400 = 1 then timestamptz '2026-03-03' end,
    case when n %% 400 = 1 then timestamptz '2026-03-03' end, case when n %% 2 = 0 then 'CT' else 'MR' end
from generate_series(1, %s) n
"""


@pytest.fixture
async def long_list(database: Database) -> Database:
    """Twenty thousand open studies, some claimed, some set aside."""
    async with database.connection() as connection:
        await connection.execute(FILL, (OPEN,))
        await connection.execute("update worklist_item set claimed_by = 'Ada', claimed_at = now() where seq % 100 = 0")
        await connection.execute("vacuum analyze worklist_item")
    return database


async def plan(database: Database, query: Any, parameters: dict[str, Any]) -> list[dict[str, Any]]:
    """The nodes of the plan, from the top."""
    async with database.connection() as connection:
        row = await (await connection.execute(sql.SQL("explain (format json) {}").format(query), parameters)).fetchone()
    assert row is not None
    return list(nodes(row[0][0]["Plan"]))


def nodes(node: dict[str, Any]) -> Any:
    yield node
    for below in node.get("Plans", ()):
        yield from nodes(below)


def deep_cursor() -> str:
    return encode_cursor(item("1.2.15000", due=15_000 * 7 / 60))


@pytest.mark.parametrize("standing", [STANDING[None], STANDING["open"], NEXT], ids=["all", "open", "next"])
@pytest.mark.parametrize("query", [{}, {"after": "deep"}, {"modality": "CT"}, {"list": "neuro"}, {"q": "sepsis"}], ids=str)
async def test_the_order_comes_from_the_index(long_list: Database, standing: Any, query: dict[str, str]) -> None:
    """ORDER BY due_at reads the index from the cursor on: no sort, no scan of the table, on the first page and on deep ones."""
    asked = {**query, **({"after": deep_cursor()} if "after" in query else {})}
    parameters = {**page_parameters(list_query(asked, START), 100), "now": START}
    found = await plan(long_list, page_query(standing), parameters)

    assert "Sort" not in {node["Node Type"] for node in found}
    assert "Incremental Sort" not in {node["Node Type"] for node in found}
    scans = [node for node in found if node.get("Alias") == "worklist_item"]
    assert [(node["Node Type"], node["Index Name"]) for node in scans] == [("Index Scan", "worklist_open")]
    if "after" in query:
        assert "due_at" in scans[0]["Index Cond"]


async def test_what_is_due_for_review_comes_from_its_index(long_list: Database) -> None:
    """A long list with nothing due costs nothing to look at."""
    found = await plan(long_list, sql.SQL(Queries("worklist").take_due), {"now": START, "limit": 500})

    assert "worklist_review" in {node.get("Index Name") for node in found}
    assert "Seq Scan" not in {node["Node Type"] for node in found}


async def test_the_first_twenty_come_from_the_index(long_list: Database) -> None:
    """To know whether a move touched the top of the list twenty-one entries are read."""
    top = "select i.due_at from worklist_item i where not i.closed order by i.due_at, i.study_uid offset 19 limit 1"
    found = await plan(long_list, sql.SQL(top), {})

    assert "Sort" not in {node["Node Type"] for node in found}
