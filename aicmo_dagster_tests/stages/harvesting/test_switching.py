"""Threads take turns sooner while somebody needs it, and as before once nobody does."""

import sys

from aicmo_dagster.stages.harvesting.switching import SECONDS, quick_turns


def test_turns_are_quick_until_the_last_that_needs_it_has_ended() -> None:
    usual = sys.getswitchinterval()
    first, second = quick_turns(), quick_turns()
    with first:
        assert sys.getswitchinterval() <= SECONDS < usual
        second.__enter__()
    assert sys.getswitchinterval() <= SECONDS
    second.__exit__(None, None, None)
    assert sys.getswitchinterval() == usual


def test_turns_that_are_quicker_already_stay_so() -> None:
    usual = sys.getswitchinterval()
    sys.setswitchinterval(SECONDS / 2)
    quick = sys.getswitchinterval()
    try:
        with quick_turns():
            assert sys.getswitchinterval() == quick
        assert sys.getswitchinterval() == quick
    finally:
        sys.setswitchinterval(usual)
