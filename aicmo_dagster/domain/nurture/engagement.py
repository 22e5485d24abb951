"""Human or machine: a verdict on each open and click, by ordered rules that look at its neighbours.

Pure and vectorised; the same events always get the same verdicts, and a later version of the rules
may be run over all history. A verdict is pending until the fold-back window has passed, since what
comes next may show that the first click of a burst was a scanner's too. Not here: what follows
from engagement (`graduation`), or where events are kept (`store.events`).
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from ipaddress import IPv4Network, IPv6Network, ip_address

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
from crawleruseragents import is_crawler

RULES_VERSION = 1
"""To be raised whenever a rule below changes what it finds."""

MACHINE, PROXY, SUSPECT, HUMAN, PENDING = "machine", "proxy", "suspect", "human", "pending"

COLUMNS = ("id", "lead_id", "kind", "step", "happened_at", "link", "method", "agent", "client")
"""What an event must say; `client` is an address, or later its network with a mark."""

_TEXT = pd.ArrowDtype(pa.string())
_PROXIES = ("GoogleImageProxy", "YahooMailProxy", "ggpht.com")
_BARE = "Mozilla/5.0"
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

Mask = npt.NDArray[np.bool_]
Network = IPv4Network | IPv6Network


@dataclass(frozen=True)
class Tuning:
    """What an operator may tune.

    Args:
        fold_back: How long a verdict waits for what comes after.
        links_within: Two different links of a send within this are a burst.
        clients_within: Three different clients of a send within this are a burst.
        look_within: A look at the unsubscribe page this near to a click gives a scanner away.
        instant: A click this soon after its send was handed over is suspect.
        scanner_networks: Networks that only scanners click from; opens from there may be people's.
    """

    fold_back: timedelta = timedelta(minutes=5)
    links_within: timedelta = timedelta(seconds=2)
    clients_within: timedelta = timedelta(seconds=30)
    look_within: timedelta = timedelta(seconds=10)
    instant: timedelta = timedelta(seconds=10)
    scanner_networks: tuple[Network, ...] = field(default=())


def judge(events: pd.DataFrame, sent: pd.DataFrame, tuning: Tuning, now: datetime) -> pd.DataFrame:
    """A verdict on each event; the first rule that applies gives it.

    Args:
        events: One row an event of one campaign, with `COLUMNS`.
        sent: When each send was handed over: lead_id, step, sent_at.
        tuning: The windows.
        now: Events younger than the fold-back window are pending.

    Returns:
        A row an event, in the order given: id, lead_id, kind, step, happened_at, `verdict`, which
        is machine, proxy, suspect, human or pending, and the `rule` that says so.
    """
    frame = events.reset_index(drop=True)
    rules: tuple[tuple[str, str, Callable[[], Mask]], ...] = (
        (MACHINE, "declared", lambda: _declared(frame)),
        (MACHINE, "burst of links", lambda: _burst_of_links(frame, tuning.links_within)),
        (MACHINE, "burst of clients", lambda: _burst_of_clients(frame, tuning.clients_within)),
        (MACHINE, "unsubscribe link", lambda: _near_a_look(frame, tuning.look_within)),
        (MACHINE, "scanner network", lambda: _from_networks(frame, tuning.scanner_networks)),
        (PROXY, "image proxy", lambda: _proxied(frame)),
        (SUSPECT, "instant", lambda: _instant(frame, sent, tuning.instant)),
    )
    verdict = np.full(len(frame), HUMAN, dtype=object)
    rule = np.full(len(frame), "none applies", dtype=object)
    for name, because, found in reversed(rules):
        mask = found()
        verdict[mask], rule[mask] = name, because
    young = _times(frame["happened_at"]) > _microseconds(now - tuning.fold_back - _EPOCH)
    verdict[young], rule[young] = PENDING, "fold-back window"
    kept = frame[["id", "lead_id", "kind", "step", "happened_at"]]
    return kept.assign(verdict=pd.Series(verdict, dtype=_TEXT), rule=pd.Series(rule, dtype=_TEXT))


def _declared(frame: pd.DataFrame) -> Mask:
    """Says itself that it is no person: by method, by no User-Agent, or by that of a known bot."""
    agents = frame["agent"].fillna("")
    bots = [agent for agent in agents.unique() if not agent.strip() or is_crawler(agent)]
    told = (frame["method"].fillna("GET") != "GET") | agents.isin(bots)
    # Image proxies are in the list of bots, but what they fetch a person may look at.
    return _mask(told) & ~_proxied(frame)


def _burst_of_links(frame: pd.DataFrame, within: timedelta) -> Mask:
    """Part of a run of clicks of one send, none later than `within` after the last, on two links.

    The whole run counts, its first click included.
    """
    clicks = frame["kind"] == "click"
    order, send, time = _sorted(frame, _mask(clicks))
    link = _codes(frame["link"])[order]
    begins = np.ones(len(order), dtype=bool)
    begins[1:] = (np.diff(send) != 0) | (np.diff(time) > _microseconds(within))
    run = np.cumsum(begins)
    links = pd.Series(link).groupby(run).transform("nunique").to_numpy()
    return _unsorted(order, links >= 2, len(frame))


def _burst_of_clients(frame: pd.DataFrame, within: timedelta) -> Mask:
    """In a time of `within` in which three different clients click in one send.

    For each change of client, the last time that a third one was seen is carried forward: no pair
    of events is compared, so that a flood costs no more than a sort.
    """
    known = (frame["kind"] == "click") & frame["client"].notna()
    order, send, time = _sorted(frame, _mask(known))
    if not len(order):
        return np.zeros(len(frame), dtype=bool)
    client = _codes(frame["client"])[order]
    changes = np.ones(len(order), dtype=bool)
    changes[1:] = (np.diff(send) != 0) | (np.diff(client) != 0)
    first = np.flatnonzero(changes)
    last = np.append(first[1:], len(order)) - 1
    third = _third_client(send[first], client[first])
    span = _microseconds(within)
    place = _places(send, time, span)
    runs = np.flatnonzero(third >= 0)
    since, until = place[last[third[runs]]], place[first[runs]]
    near = until - since <= span
    edges = np.zeros(len(order) + 1, dtype=np.int64)
    np.add.at(edges, np.searchsorted(place, until[near] - span, "left"), 1)
    np.add.at(edges, np.searchsorted(place, since[near] + span, "right"), -1)
    return _unsorted(order, np.cumsum(edges[:-1]) > 0, len(frame))


def _places(send: npt.NDArray, time: npt.NDArray, span: int) -> npt.NDArray[np.int64]:
    """Sorted events on one line: apart as in time up to `span`, and sends farther apart than it."""
    gaps = np.minimum(np.diff(time, prepend=time[0]), 2 * span + 1)
    gaps[1:][np.diff(send) != 0] = 2 * span + 1
    return np.cumsum(gaps)


def _third_client(send: npt.NDArray[np.int64], client: npt.NDArray[np.int64]) -> npt.NDArray:
    """For each run, the latest run before with neither its client nor the one in between; or -1."""
    index = np.arange(len(send))
    third = pd.Series(np.nan, index=index)
    same_send = np.zeros(len(send), dtype=bool)
    same_send[2:] = send[2:] == send[:-2]
    other = np.zeros(len(send), dtype=bool)
    other[2:] = same_send[2:] & (client[2:] != client[:-2])
    third[other] = index[other] - 2
    # Where two clients alternate, the third is that of the run before.
    third[~same_send] = -1
    return third.ffill().to_numpy(dtype=np.int64)


def _near_a_look(frame: pd.DataFrame, within: timedelta) -> Mask:
    """A click and a look at the unsubscribe page by one lead's clients, near each other."""
    clicks, looks = frame["kind"] == "click", frame["kind"] == "unsubscribe_view"
    found = np.zeros(len(frame), dtype=bool)
    if not (clicks.any() and looks.any()):
        return found
    timed = pd.DataFrame(
        {
            "lead": _codes(frame["lead_id"]),
            "time": _times(frame["happened_at"]),
            "at": np.arange(len(frame)),
        }
    ).sort_values("time", kind="stable")
    for own, other in ((clicks, looks), (looks, clicks)):
        theirs = timed[_mask(other)[timed["at"]]]
        matched = pd.merge_asof(
            timed[_mask(own)[timed["at"]]],
            theirs.assign(seen=theirs["time"]).drop(columns="at"),
            on="time",
            by="lead",
            direction="nearest",
            tolerance=_microseconds(within),
        )
        found[matched.loc[matched["seen"].notna(), "at"]] = True
    return found


def _from_networks(frame: pd.DataFrame, networks: tuple[Network, ...]) -> Mask:
    """Clicks, not opens, from networks that nobody browses from."""
    if not networks:
        return np.zeros(len(frame), dtype=bool)
    clients = frame["client"].dropna().unique()
    theirs = [client for client in clients if _within(client, networks)]
    return _mask((frame["kind"] == "click") & frame["client"].isin(theirs))


def _within(client: str, networks: tuple[Network, ...]) -> bool:
    known = ip_address(client.partition("#")[0].partition("/")[0])
    return any(known in network for network in networks)


def _proxied(frame: pd.DataFrame) -> Mask:
    """Opens by an image proxy: the message was delivered, and no more is known."""
    agents = frame["agent"].fillna("")
    proxies = [a for a in agents.unique() if a == _BARE or any(name in a for name in _PROXIES)]
    return _mask((frame["kind"] == "open") & agents.isin(proxies))


def _instant(frame: pd.DataFrame, sent: pd.DataFrame, within: timedelta) -> Mask:
    """Sooner after its send was handed over than people are."""
    handed_over = sent.dropna(subset="sent_at").assign(at=lambda rows: _times(rows["sent_at"]))
    at = frame[["lead_id", "step"]].merge(
        handed_over[["lead_id", "step", "at"]], on=["lead_id", "step"], how="left"
    )["at"]
    elapsed = _times(frame["happened_at"]) - at
    return _mask((elapsed < _microseconds(within)) & (frame["kind"] != "unsubscribe_view"))


def _sorted(frame: pd.DataFrame, chosen: Mask) -> tuple[npt.NDArray, npt.NDArray, npt.NDArray]:
    """Positions of the chosen rows by send and time, and both in that order."""
    send = _codes(frame["lead_id"]) * (frame["step"].nunique() + 2) + _codes(frame["step"])
    time, at = _times(frame["happened_at"]), np.flatnonzero(chosen)
    order = at[np.lexsort((time[at], send[at]))]
    return order, send[order], time[order]


def _unsorted(order: npt.NDArray, found: Mask, length: int) -> Mask:
    whole = np.zeros(length, dtype=bool)
    whole[order] = found
    return whole


def _codes(column: pd.Series) -> npt.NDArray[np.int64]:
    """Each value as a number; a missing one is the number after the last."""
    codes, values = pd.factorize(column)
    return np.where(codes < 0, len(values), codes).astype(np.int64)


def _times(instants: pd.Series) -> npt.NDArray[np.int64]:
    """Microseconds since 1970; by way of Arrow, since pandas would make an object of each."""
    found = pa.array(instants, type=pa.timestamp("us", tz="UTC"))
    return found.cast(pa.int64()).to_numpy()


def _microseconds(span: timedelta) -> int:
    return span // timedelta(microseconds=1)


def _mask(found: pd.Series) -> Mask:
    return found.fillna(False).to_numpy(dtype=bool)
