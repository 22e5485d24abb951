import pytest

from aicmo_dagster_tests.domain.documented import ROUTES, Mistake, assert_refused, example, problems

REFUSED: dict[str, Mistake] = {
    "a misspelt key of a route": (
        (*ROUTES, 0, "wieght"),
        1,
        "routing.sequences[0].wieght",
        "'weight'",
    ),
    "a truth for a number": ((*ROUTES, 0, "capacity"), True, "routing.sequences[0].capacity", ""),
    "an unknown strategy": (("routing", "strategy"), "random", "routing.strategy", "weighted"),
    "no route": (ROUTES, [], "routing.sequences", ""),
    "a weight of nothing": ((*ROUTES, 0, "weight"), 0, "routing.sequences[0].weight", "1"),
}


@pytest.mark.parametrize("mistake", REFUSED.values(), ids=REFUSED)
def test_a_mistake_is_refused_with_its_path_and_what_is_allowed(mistake: Mistake) -> None:
    assert_refused(mistake)


def test_more_routes_than_a_machine_word_can_tell_apart_are_refused() -> None:
    document = example()
    steps = document["sequences"]["practitioners"]
    document["sequences"] = {f"s{number}": steps for number in range(61)}
    document["routing"]["sequences"] = [{"sequence": f"s{number}"} for number in range(61)]
    (told,) = problems(document)

    assert (told.path, told.expected) == ("routing.sequences", "at most 60 items, not 61")
