import pytest

from aicmo_dagster.domain.campaigns import read_campaign
from aicmo_dagster_tests.domain.documented import Mistake, assert_refused, changed

REFUSED: dict[str, Mistake] = {
    "a header that would smuggle another": (
        ("nurture", "sender", "name"),
        "Ida\r\nBcc: x@y.example",
        "nurture.sender.name",
        "one line",
    ),
    "a postal address of spaces": (
        ("nurture", "sender", "postal_address"),
        "  ",
        "nurture.sender.postal_address",
        "the law demands it",
    ),
    "a window that closes before it opens": (
        ("nurture", "window", "hours"),
        "17:00-09:00",
        "nurture.window",
        "hours that open before they close",
    ),
    "a window at an hour that is none": (
        ("nurture", "window", "hours"),
        "09:00-25:00",
        "nurture.window.hours",
        "",
    ),
    "a window in other digits": (
        ("nurture", "window", "hours"),
        "0٩:00-17:00",
        "nurture.window.hours",
        "",
    ),
    "a window on no day": (("nurture", "window", "days"), [], "nurture.window.days", ""),
    "a day that is none": (
        ("nurture", "window", "days"),
        ["Mon"],
        "nurture.window.days[0]",
        "'mon'",
    ),
}


@pytest.mark.parametrize("mistake", REFUSED.values(), ids=REFUSED)
def test_a_mistake_is_refused_with_its_path_and_what_is_allowed(mistake: Mistake) -> None:
    assert_refused(mistake)


def test_the_domain_of_a_sender_is_ascii_since_message_ids_carry_it() -> None:
    campaign = read_campaign(changed(("nurture", "sender", "address"), "ida@bücher.example"), "x")

    assert campaign.nurture.sender.address == "ida@xn--bcher-kva.example"
