from collections import Counter
from typing import Any

import pytest

from aicmo_dagster.domain.documents import validate
from aicmo_dagster.domain.nurture.variants import PLACES, Standing, by_weight, draw, place, salt_of
from aicmo_dagster.domain.sections.sequences import Step
from aicmo_dagster_tests.samples import lead_id


def step(*weights: int) -> Step:
    variants = [{"id": f"v{n}", "body": "Hi", "weight": weight} for n, weight in enumerate(weights)]
    return validate(Step, {"id": "a", "variants": variants}, "x")


@pytest.mark.parametrize("weights", [(1,), (1, 1), (3, 1), (1, 2, 7), (1, 1, 1), (1000, 1)])
def test_variants_are_drawn_by_weight(weights: tuple[int, ...]) -> None:
    weighted = step(*weights)
    drawn = Counter(by_weight(weighted.variants, position) for position in range(PLACES))

    assert sum(drawn.values()) == PLACES
    for number, weight in enumerate(weights):
        assert abs(drawn[f"v{number}"] - PLACES * weight / sum(weights)) < 1


def test_a_step_without_variants_draws_none() -> None:
    assert draw(step(), "s", lead_id(1)) is None


def test_a_lead_draws_the_same_each_time() -> None:
    drawn = [draw(step(1, 1, 1), "s", lead_id(n)) for n in range(100)]

    assert drawn == [draw(step(1, 1, 1), "s", lead_id(n)) for n in range(100)]


def test_the_places_of_two_salts_have_nothing_to_do_with_each_other() -> None:
    both: Any = Counter(
        (place(salt_of("c", "s", "a"), lead_id(n)) // 5000, place("c|s|b", lead_id(n)) // 5000)
        for n in range(8000)
    )

    assert set(both) == {(0, 0), (0, 1), (1, 0), (1, 1)}
    assert all(1850 < count < 2150 for count in both.values())


def test_who_would_draw_what_was_stopped_is_shared_out_among_the_others() -> None:
    standing = Standing(stopped=frozenset({"v0"}))
    before = {n: draw(step(2, 1, 1), "s", lead_id(n)) for n in range(8000)}
    then = {n: draw(step(2, 1, 1), "s", lead_id(n), standing) for n in range(8000)}

    assert all(then[n] == before[n] for n in before if before[n] != "v0")
    moved = Counter(then[n] for n in before if before[n] == "v0")
    assert set(moved) == {"v1", "v2"}
    assert abs(moved["v1"] - moved["v2"]) < 300


def test_where_all_were_stopped_the_draw_stands() -> None:
    everything = Standing(stopped=frozenset({"v0", "v1"}))

    assert draw(step(1, 1), "s", lead_id(1), everything) in {"v0", "v1"}
