from aicmo_dagster.domain.schemas import STAGES
from aicmo_dagster.store.database import Database
from aicmo_dagster.store.frames import read_page, replace_frame
from aicmo_dagster.store.lead_lists import Narrowed, lead_rows, list_leads
from aicmo_dagster_tests.samples import lead_id, raw_leads, routed_leads


def test_leads_are_narrowed_by_the_stage_they_reached(database: Database) -> None:
    with database.write() as connection:
        replace_frame(connection, "raw_leads", "c", raw_leads(3))
        replace_frame(connection, "raw_leads", "d", raw_leads(1))
        replace_frame(connection, "routed_leads", "c", routed_leads(2))

        def found(**wanted: object) -> list[str]:
            rows = list_leads(connection, "c", Narrowed(**wanted), 9)  # type: ignore[arg-type]
            return [row["lead_id"] for row in rows]

        ids = [lead_id(number) for number in (1, 2, 3)]
        by_stage = {stage: found(stage=stage) for stage in STAGES}
        assert by_stage["raw_leads"] == found() == ids
        assert by_stage["routed_leads"] == found(sequence="everyone") == ids[:2]
        assert by_stage["scored_leads"] == by_stage["nurture_sends"] == []
        assert found(decision="qualified", band="A", least_score=1.0, most_score=2.0) == []
        rest = list_leads(connection, "c", Narrowed(), 1, ids[0])
        assert [(row["lead_id"], row["sequence"], row["qualified"]) for row in rest] == [
            (ids[1], "everyone", False)
        ]
        assert set(lead_rows(connection, "c", ids[0])) == {"raw_leads", "routed_leads"}


def test_a_stage_is_read_in_pages(database: Database) -> None:
    with database.write() as connection:
        replace_frame(connection, "raw_leads", "c", raw_leads(5))
        seen, after, pages = [], None, 0
        while pages == 0 or after is not None:
            frame, after = read_page(connection, "raw_leads", "c", 2, after)
            seen += list(frame["lead_id"])
            pages += 1

        assert (seen, pages) == ([lead_id(number) for number in range(1, 6)], 3)
        assert read_page(connection, "nurture_sends", "c", 2, ["a", "b"])[1] is None
