from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from aicmo_dagster.domain.documents import validate
from aicmo_dagster.domain.nurture.experiments import (
    Arm,
    Look,
    difference,
    fingerprint,
    harm_chance,
    look,
    share_chance,
)
from aicmo_dagster.domain.sections.sequences import Step
from aicmo_dagster.errors import BadInput

HILLSTROM = Path(__file__).parents[4] / "shared" / "data" / "hillstrom" / "hillstrom.csv"


def step(*weights: int, **test: Any) -> Step:
    variants = [
        {"id": f"v{n}", "body": f"Hi {n}", "weight": weight}
        for n, weight in enumerate(weights or (1, 1))
    ]
    return validate(Step, {"id": "a", "variants": variants, "test": {"leads": 1000} | test}, "x")


def exposures(*arms: tuple[int, int, int]) -> pd.DataFrame:
    """Arms of (delivered, successes, lost), well mixed in time."""
    parts = []
    for number, (delivered, successes, lost) in enumerate(arms):
        order = (np.arange(delivered) + 0.5) / max(delivered, 1)
        rank = np.random.default_rng(number).permutation(delivered)
        parts.append(
            pd.DataFrame(
                {
                    "order": order,
                    "variant": f"v{number}",
                    "success": rank < successes,
                    "lost": rank >= delivered - lost,
                }
            )
        )
    return pd.concat(parts).sort_values(["order", "variant"], ignore_index=True)


def taken(arms: list[tuple[int, int, int]], *weights: int, before: int = 0, **test: Any) -> Look:
    found = look(exposures(*arms), step(*weights, **test), looks_before=before)
    assert found is not None
    return found


def test_a_test_needs_two_variants() -> None:
    document = {"id": "a", "variants": [{"id": "b", "body": "x"}], "test": {"leads": 1000}}
    with pytest.raises(BadInput, match="'variants'"):
        validate(Step, document, "x")


def test_no_look_is_taken_before_every_variant_has_its_leads() -> None:
    assert look(exposures((500, 9, 0), (99, 9, 0)), step()) is None
    assert taken([(500, 9, 0), (100, 9, 0)]).number == 1


def test_a_look_is_taken_once() -> None:
    assert look(exposures((199, 9, 0), (199, 9, 0)), step(), looks_before=1) is None
    assert taken([(200, 9, 0), (200, 9, 0)], before=1).number == 2


def test_a_look_finds_the_same_whenever_it_is_taken() -> None:
    """Leads that came later are not of this look."""
    full = exposures((500, 40, 0), (500, 60, 0))
    early = full.groupby("variant").head(230)
    late = full.groupby("variant").head(290)

    first, second = look(early, step()), look(late, step())
    assert first is not None
    assert second is not None
    assert first.arms == second.arms
    assert [arm.delivered for arm in first.arms] == [200, 200]


def test_the_shares_of_unequal_weights_are_looked_at_in_proportion() -> None:
    found = taken([(300, 9, 0), (100, 9, 0)], 3, 1)
    assert (found.number, [arm.delivered for arm in found.arms]) == (2, [300, 100])
    assert found.verdict != "shares are off"


def test_a_clear_difference_is_decided_early_and_a_small_one_never() -> None:
    clear = taken([(200, 20, 0), (200, 70, 0)])
    assert (clear.number, clear.verdict, clear.winner) == (2, "decided", "v1")
    small = taken([(500, 50, 0), (500, 58, 0)])
    assert (small.number, small.verdict, small.winner) == (5, "no difference", None)
    halfway = taken([(300, 30, 0), (300, 48, 0)])
    assert abs(halfway.comparisons[0].z) > 1.96
    assert halfway.verdict == "running"


def test_the_first_wins_if_it_beats_all_the_others() -> None:
    assert taken([(500, 100, 0), (500, 40, 0)]).winner == "v0"
    assert taken([(400, 80, 0), (400, 20, 0), (400, 76, 0)], 1, 1, 1, leads=1200).winner is None


def test_of_several_that_beat_the_first_the_best_wins() -> None:
    arms = [(400, 20, 0), (400, 70, 0), (400, 90, 0)]
    assert taken(arms, 1, 1, 1, leads=1200).winner == "v2"


def test_shares_that_are_off_block_the_verdict() -> None:
    found = taken([(700, 35, 0), (500, 150, 0)])
    assert found.share_chance < 0.001
    assert (found.verdict, found.winner) == ("shares are off", None)


def test_a_variant_that_does_harm_is_stopped_at_any_look() -> None:
    found = taken([(100, 5, 0), (100, 9, 12)])
    assert found.stopped == {"v1"}
    assert (found.verdict, found.winner) == ("decided", "v0")
    three = taken([(120, 5, 0), (120, 9, 0), (120, 9, 15)], 1, 1, 1)
    assert (three.stopped, three.verdict) == ({"v2"}, "running")


def test_the_first_may_do_harm_as_well() -> None:
    assert taken([(100, 9, 12), (100, 5, 0)]).winner == "v1"


def test_a_stopped_variant_holds_up_no_later_look() -> None:
    full = exposures((500, 50, 0), (500, 50, 0), (80, 5, 9))
    found = look(full, step(1, 1, 1, leads=1500), looks_before=1, stopped=frozenset({"v2"}))
    assert found is not None
    assert (found.number, found.verdict, found.stopped) == (5, "no difference", {"v2"})


def test_nobody_responding_decides_nothing() -> None:
    assert taken([(500, 0, 0), (500, 0, 0)]).verdict == "no difference"


def test_a_test_that_may_be_looked_at_any_time_has_no_last_look() -> None:
    always = {"mode": "always_valid", "leads": 100}
    assert look(exposures((49, 9, 0), (49, 9, 0)), step(**always)) is None
    assert taken([(5000, 400, 0), (5000, 410, 0)], **always).verdict == "running"
    found = taken([(5000, 100, 0), (5000, 250, 0)], before=7, **always)
    assert (found.number, found.verdict, found.winner) == (8, "decided", "v1")
    assert taken([(50, 0, 0), (50, 0, 0)], **always).verdict == "running"


def test_the_fingerprint_changes_with_what_is_compared() -> None:
    plain = fingerprint(step(), {})
    assert plain == fingerprint(step(), {"other.md.j2": "text"})
    assert plain != fingerprint(step(), {"Hi 1": "another text"})
    assert plain != fingerprint(step(2, 1), {})
    assert plain != fingerprint(step(metric="click"), {})


@pytest.mark.skipif(not HILLSTROM.exists(), reason="the data set is not there")
def test_the_analysis_finds_what_is_known_of_hillstrom_s_mails() -> None:
    frame = pd.read_csv(HILLSTROM)
    arms = {
        (segment, metric): Arm(segment, len(part), int(part[metric].sum()))
        for segment, part in frame.groupby("segment")
        for metric in ("visit", "conversion")
    }
    known = {
        ("Mens E-Mail", "visit"): (7.66, 6.99, 8.32),
        ("Mens E-Mail", "conversion"): (0.681, 0.500, 0.861),
        ("Womens E-Mail", "visit"): (4.52, 3.89, 5.16),
        ("Womens E-Mail", "conversion"): (0.311, 0.150, 0.472),
    }
    for (segment, metric), figures in known.items():
        found = difference(arms[segment, metric], arms["No E-Mail", metric])
        within = 0.006 if metric == "visit" else 0.0006  # the figures were rounded
        assert [100 * value for value in found] == pytest.approx(figures, abs=within)
    counts = {segment: arms[segment, "visit"].delivered for segment, _ in arms}
    assert round(share_chance(counts, dict.fromkeys(counts, 1)), 2) == 0.90


def test_harm_is_judged_against_the_others_together() -> None:
    others = [Arm("a", 1000, 0, 2), Arm("b", 1000, 0, 1)]

    assert harm_chance(Arm("c", 1000, 0, 2), others) > 0.2
    assert harm_chance(Arm("c", 1000, 0, 12), others) < 0.001
