"""Each rule by an example that it must find and one that it must not, and by properties."""

import json
from collections import defaultdict
from datetime import datetime, timedelta
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aicmo_dagster.domain.nurture.engagement import COLUMNS, Tuning, judge
from aicmo_dagster_tests.samples import NOON

BROWSER = "Mozilla/5.0 (Windows NT 10.0; Win64; x64; rv:140.0) Gecko/20100101 Firefox/140.0"
GMAIL = "Mozilla/5.0 (Windows NT 5.1; rv:11.0) Gecko Firefox/11.0 (via ggpht.com GoogleImageProxy)"
LATER = NOON + timedelta(days=1)
SENT = pd.DataFrame({"lead_id": ["ann"], "step": ["intro"], "sent_at": [NOON]})
TEXT = pd.ArrowDtype(pa.string())
BOTS = Path(__file__).parents[4] / "shared" / "data" / "bots" / "crawler-user-agents.json"


def event(seconds: float, **traits: Any) -> dict[str, Any]:
    """A click of Ann in step `intro`, so long after it was sent."""
    return {
        "lead_id": "ann",
        "kind": "click",
        "step": "intro",
        "happened_at": NOON + timedelta(seconds=seconds),
        "link": "a",
        "method": "GET",
        "agent": BROWSER,
        "client": "198.51.100.7",
    } | traits


def frame(events: list[dict[str, Any]]) -> pd.DataFrame:
    made = pd.DataFrame(events, columns=list(COLUMNS)).assign(id=range(len(events)))
    instants = pd.ArrowDtype(pa.timestamp("us", tz="UTC"))
    text = [name for name in COLUMNS if name not in ("id", "happened_at")]
    return made.astype(dict.fromkeys(text, TEXT) | {"happened_at": instants})


def judged(*events: dict[str, Any], now: datetime = LATER, **tuned: Any) -> list[str]:
    verdicts = judge(frame(list(events)), SENT, Tuning(**tuned), now)
    said = zip(verdicts["verdict"], verdicts["rule"], strict=True)
    return [v if r == "none applies" else f"{v}: {r}" for v, r in said]


def test_a_click_that_no_rule_applies_to_is_a_person_s() -> None:
    assert judged(event(600)) == ["human"]


@pytest.mark.parametrize(
    "traits",
    [
        {"method": "HEAD"},
        {"method": "PREFETCH"},
        {"agent": ""},
        {"agent": None},
        {"agent": "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)"},
        {"agent": "curl/8.5.0"},
        {"agent": GMAIL},
    ],
)
def test_whoever_says_that_it_is_no_person_is_a_machine(traits: dict[str, Any]) -> None:
    assert judged(event(600, **traits)) == ["machine: declared"]


@pytest.mark.skipif(not BOTS.exists(), reason="the reference data is not on this machine")
def test_every_agent_of_the_reference_list_is_a_machine_s() -> None:
    listed = json.loads(BOTS.read_text(encoding="utf-8"))
    agents = [agent for entry in listed for agent in entry["instances"]]

    found = judged(*(event(600 + 30 * n, agent=a) for n, a in enumerate(agents)))

    assert len(agents) > 1000
    assert found.count("machine: declared") / len(agents) > 0.99


def test_two_links_at_once_are_a_burst_and_its_first_click_is_part_of_it() -> None:
    burst = [event(43), event(44.9), event(46.8, link="b"), event(48.7, link="b")]

    assert judged(*burst) == ["machine: burst of links"] * 4


def test_the_same_link_again_at_once_is_no_burst() -> None:
    assert judged(event(600), event(600.2), event(600.4)) == ["human"] * 3


def test_two_links_one_after_the_other_are_no_burst() -> None:
    assert judged(event(600), event(602.1, link="b")) == ["human"] * 2


def test_two_links_of_two_sends_at_once_are_no_burst() -> None:
    assert judged(event(600), event(600, link="b", step="nudge")) == ["human"] * 2
    assert judged(event(600), event(600, link="b", lead_id="bob")) == ["human"] * 2


def clicks_from(*places: tuple[float, int]) -> list[dict[str, Any]]:
    return [event(at, client=f"198.51.100.{number}") for at, number in places]


def test_three_clients_within_half_a_minute_are_a_burst_with_all_around_it() -> None:
    burst = clicks_from((595, 1), (600, 1), (610, 2), (620, 1), (625, 3), (630, 3))

    assert judged(*burst) == ["machine: burst of clients"] * 6


def test_two_clients_or_three_in_a_longer_time_are_no_burst() -> None:
    assert judged(*clicks_from((600, 1), (601, 2), (602, 1), (603, 2))) == ["human"] * 4
    assert judged(*clicks_from((600, 1), (615, 2), (631, 3))) == ["human"] * 3


def test_opens_from_many_clients_are_no_burst() -> None:
    """Image proxies ask from many addresses."""
    opens = [event(600 + n, kind="open", link=None, client=f"198.51.100.{n}") for n in range(5)]

    assert judged(*opens) == ["human"] * 5


def test_a_look_at_the_unsubscribe_page_beside_a_click_gives_a_scanner_away() -> None:
    look = {"kind": "unsubscribe_view", "step": None, "link": None}

    assert judged(event(43), event(52, **look)) == ["machine: unsubscribe link"] * 2
    assert judged(event(43, **look), event(52)) == ["machine: unsubscribe link"] * 2
    assert judged(event(43), event(54, **look)) == ["human"] * 2
    assert judged(event(43), event(44, **look, lead_id="bob")) == ["human"] * 2


def test_a_scanner_s_network_counts_for_clicks_and_not_for_opens() -> None:
    """On an open it may be an image proxy for a person."""
    networks = {"scanner_networks": (ip_network("198.51.100.0/24"), ip_network("2001:db8::/32"))}

    assert judged(event(600), **networks) == ["machine: scanner network"]
    assert judged(event(600, kind="open"), **networks) == ["human"]
    assert judged(event(600, client="2001:db8::1"), **networks) == ["machine: scanner network"]
    assert judged(event(600, client="198.51.100.0/24#0a1b2c"), **networks) == [
        "machine: scanner network"
    ]
    assert (
        judged(event(600, client="203.0.113.1"), event(600, client=None), **networks)
        == ["human"] * 2
    )


def test_an_instant_click_is_suspect_and_not_a_machine_s() -> None:
    assert judged(event(9), event(700)) == ["suspect: instant", "human"]
    assert judged(event(9, step="nudge")) == ["human"]


def test_an_open_by_an_image_proxy_tells_of_delivery_only() -> None:
    for agent in (GMAIL, "YahooMailProxy; https://help.yahoo.com", "Mozilla/5.0"):
        assert judged(event(600, kind="open", agent=agent)) == ["proxy: image proxy"]


def test_a_verdict_is_pending_until_the_fold_back_window_is_over() -> None:
    now = NOON + timedelta(minutes=15)

    assert judged(event(600), event(601), now=now) == ["human", "pending: fold-back window"]
    assert judged(event(601), now=now + timedelta(seconds=1)) == ["human"]


def test_a_click_is_folded_back_when_the_rest_of_its_burst_is_known() -> None:
    now = NOON + timedelta(minutes=15)

    assert judged(event(600), now=now) == ["human"]
    assert judged(event(600), event(601, link="b"), now=now)[0] == "machine: burst of links"


def test_what_the_rules_make_of_the_reference_log_of_a_scanner() -> None:
    """Five links or more within a second, most often from 20 s to 5 min after the send."""
    clusters = [event(43 + n / 10, link=str(n)) for n in range(8)]

    assert set(judged(*clusters)) == {"machine: burst of links"}


def test_nothing_to_judge_gives_no_verdict() -> None:
    assert judged() == []


EVENTS = st.lists(
    st.fixed_dictionaries(
        {
            "seconds": st.integers(0, 90).map(lambda n: 600 + n * 1.0),
            "lead_id": st.sampled_from(["ann", "bob"]),
            "kind": st.sampled_from(["click", "click", "open", "unsubscribe_view"]),
            "step": st.sampled_from(["intro", "nudge"]),
            "link": st.sampled_from(["a", "b"]),
            "client": st.sampled_from([None, "192.0.2.1", "192.0.2.2", "192.0.2.3", "192.0.2.4"]),
        }
    ),
    max_size=12,
)


def plainly(events: list[dict[str, Any]]) -> list[str]:
    """The burst rules by comparing all with all, as a reader would."""
    sends: dict[tuple[str, str], list[dict[str, Any]]] = defaultdict(list)
    for each in events:
        if each["kind"] == "click":
            sends[each["lead_id"], each["step"]].append(each)
    return [_plain_verdict(each, events, sends) for each in events]


def _plain_verdict(one: dict[str, Any], events: list[dict[str, Any]], sends: Any) -> str:
    own = sends[one["lead_id"], one["step"]] if one["kind"] == "click" else []
    run, grown = [one], True
    while grown:
        near = [o for o in own if any(abs(o["seconds"] - r["seconds"]) <= 2 for r in run)]
        grown, run = len(near) > len(run), near or run
    if len({each["link"] for each in run}) > 1:
        return "burst of links"
    for start in {o["seconds"] for o in own}:
        window = [o for o in own if start <= o["seconds"] <= start + 30 and o["client"]]
        if (
            one["client"]
            and any(o is one for o in window)
            and len({o["client"] for o in window}) > 2
        ):
            return "burst of clients"
    others = {"click": "unsubscribe_view", "unsubscribe_view": "click", "open": None}
    for other in events:
        same = other["lead_id"] == one["lead_id"] and other["kind"] == others[one["kind"]]
        if same and abs(other["seconds"] - one["seconds"]) <= 10:
            return "unsubscribe link"
    return "none applies"


@settings(max_examples=100, deadline=None)
@given(EVENTS)
def test_the_vectorised_rules_say_what_the_plain_ones_say(events: list[dict[str, Any]]) -> None:
    made = [event(**each) for each in events]

    verdicts = judge(frame(made), SENT.iloc[:0], Tuning(), LATER)

    assert list(verdicts["rule"]) == plainly(events)


@settings(max_examples=50, deadline=None)
@given(EVENTS, st.randoms(use_true_random=False))
def test_the_order_of_events_does_not_matter(events: list[dict[str, Any]], chance: Any) -> None:
    made = [event(**each) for each in events]
    shuffled = list(range(len(made)))
    chance.shuffle(shuffled)

    straight = judge(frame(made), SENT, Tuning(), LATER)["rule"]
    mixed = judge(frame([made[i] for i in shuffled]), SENT, Tuning(), LATER)["rule"]

    assert list(mixed) == [straight[i] for i in shuffled]
