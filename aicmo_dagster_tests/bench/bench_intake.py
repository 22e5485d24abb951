"""A CSV of a million rows harvested into SQLite: CPU for each row as there are more, and memory.

The file is like an export of a CRM: 23 columns that a campaign maps and four that it does not, six
rows in a hundred of people told of before, in other spellings, and two without a usable address.
"""

import tempfile
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from aicmo_dagster.stages.harvesting.harvest import harvest
from aicmo_dagster_tests.bench.measure import Cost, Measured, cost, peak_memory
from aicmo_dagster_tests.workspaces import apply, open_test_workspace

SIZES = (10_000, 100_000, 1_000_000)
NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
MOST_MEMORY = 2048.0
MOST_GROWTH = 1.15
STEPS = {"first": "first harvest", "again": "the same rows once more"}
ROUNDS = 2
"""Of all sizes by turns, since what a row costs varies over minutes by more than the bound."""

COLUMNS = {
    "external_id": "Record ID",
    "email": "Email",
    "first_name": "First Name",
    "last_name": "Last Name",
    "title": "Job Title",
    "department": "Department",
    "phone": "Phone",
    "linkedin_url": "LinkedIn",
    "company": "Account",
    "domain": "Website",
    "industry": "Industry",
    "employees": "Headcount",
    "annual_revenue": "Revenue",
    "technologies": "Tech Stack",
    "founded_year": "Founded",
    "country": "Country",
    "region": "State",
    "city": "City",
    "timezone": "Time Zone",
    "visits": "Visits",
    "last_engaged_at": "Last Activity",
    "source_detail": "Lead Source",
    "arrived": "Created",
}
CUSTOM = ("Owner", "Campaign Tag", "Newsletter", "Notes")

_FIRST = ("Ada", "Bo", "Chloé", "David", "Eva", "Finn", "Grete", "Håkon", "Ivy", "Jonas", "Kari")
_LAST = ("Lind", "Berg", "Moe", "Ström", "Olsen", "Vik", "Dahl", "Holm", "Næss", "Lund", "Aas")
_TITLES = (
    *("VP Sales", "Head of Revenue Operations", "Sales Manager", "CEO", "Account Executive"),
    *("Marketing Director", "Founder", "Senior Data Engineer", "Chief Revenue Officer", "Intern"),
)
_DEPARTMENTS = ("Sales", "Marketing", "Operations", "Engineering", "")
_INDUSTRIES = ("Software", "shipbuilding", "Retail", "Financial Services", "Energy", "")
_EMPLOYEES = ("51-200", "340", "1,200", "11-50", "", "10,001+", "75", "about 500")
_REVENUES = ("$5M", "5,000,000", "1.2bn", "", "61000000", "250k")
_TECHNOLOGIES = ("HubSpot; Google Analytics", "salesforce", "", "SAP, Jira, Slack", "HubSpot")
_COUNTRIES = ("Norway", "NO", "norge", "Sweden", "Deutschland", "US", "United Kingdom", "", "DK")
_PLACES = (("Vestland", "Bergen"), ("", "Oslo"), ("Skåne", "Malmö"), ("Bayern", "München"))
_ZONES = ("Europe/Oslo", "europe/stockholm", "", "Europe/Berlin")
_DETAILS = ("Fair 2025", "Website", "Referral", "Webinar")


def run(scratch: Path) -> Iterator[Measured]:
    """The bounds of a first harvest, and what the same rows cost once more."""
    rounds = [{size: _cost_of(scratch, size).value for size in SIZES} for _ in range(ROUNDS)]
    most = SIZES[-1]
    for step, what in STEPS.items():
        peak = max(costs[most][step]["peak"] for costs in rounds)
        yield Measured(f"{what}, peak memory", f"{most:,} rows", peak, "MiB", bound=MOST_MEMORY)
    for step, what in STEPS.items():
        spent = {
            size: min(costs[size][step]["cpu"] for costs in rounds) / size * 1e6 for size in SIZES
        }
        for size in SIZES[:-1]:
            against = f"{size:,} rows"
            yield Measured(
                f"{what}, CPU a row",
                f"{most:,} rows",
                spent[most],
                "µs",
                reference=spent[size],
                against=against,
                bound=MOST_GROWTH,
            )


def _cost_of(scratch: Path, size: int) -> Cost:
    with tempfile.TemporaryDirectory(dir=scratch) as name:
        folder = Path(name)
        (folder / "bench").mkdir()
        write_csv(folder / "bench" / "leads.csv", size)
        return cost(harvest_twice, folder)


def harvest_twice(folder: Path) -> dict[str, dict[str, float]]:
    """CPU seconds, and peak MiB up to then, of a harvest of `folder` and of another one."""
    workspace = open_test_workspace(folder, f"sqlite:///{folder / 'aicmo.db'}")
    # Countries, zones and the like are read once a process, however many rows there are.
    apply(workspace, "warm", 100)
    harvest(workspace, "warm", NOW)
    source = {"type": "csv", "path": "leads.csv", "columns": COLUMNS}
    apply(workspace, "bench", None, sources=[source])
    measured = {}
    for step in ("first", "again"):
        begun = time.process_time()
        harvest(workspace, "bench", NOW)
        measured[step] = {"cpu": time.process_time() - begun, "peak": peak_memory()}
    workspace.database.close()
    return measured


def write_csv(path: Path, size: int) -> None:
    """A CSV of `size` rows, the same for the same size."""
    firms = size // 6 + 1
    draws = np.random.default_rng(7).integers(0, 1 << 30, size=(size, 4)).tolist()
    with path.open("w", encoding="utf-8", newline="") as file:
        file.write(",".join([*COLUMNS.values(), *CUSTOM]) + "\n")
        file.writelines(_row(n, firms, *draw) for n, draw in enumerate(draws))


def _row(n: int, firms: int, a: int, b: int, c: int, d: int) -> str:
    repeats = n and a % 100 < 6
    who = b % n if repeats else n
    first, last = _FIRST[who % 11], _LAST[who // 11 % 11]
    firm = who * 7919 % firms
    # Not .example: names for special use are looked at one by one, and nobody has them.
    domain = f"firm{firm}.aicmo-bench.com"
    address = f"{_ascii(first)}.{_ascii(last)}{who}@{domain}"
    if repeats:
        address = (address.upper(), f" {address} ", address)[c % 3]
    elif a % 100 < 8:
        address = ("", "n/a", f"{first} at {domain}", f"{who}@")[c % 4]
    region, city = _PLACES[firm % 4]
    cells = (
        f"{'' if c % 3 else 100_000_000 + who}",
        *(address, first, last, _TITLES[a % 10], _DEPARTMENTS[d % 5]),
        f"+47 {10_000_000 + who * 83 % 89_999_999}" if d % 4 else "",
        f"https://www.linkedin.com/in/{_ascii(first)}-{_ascii(last)}-{who}" if c % 2 else "",
        f'"Firm {firm}, Ltd"' if firm % 5 == 0 else f"Firm {firm} AS",
        f"https://www.{domain}/" if d % 3 else "",
        *(_INDUSTRIES[firm % 6], f'"{_EMPLOYEES[firm % 8]}"', f'"{_REVENUES[firm % 6]}"'),
        *(f'"{_TECHNOLOGIES[firm % 5]}"', f"{1950 + firm % 70}", _COUNTRIES[(firm + a) % 9]),
        *(region, city, _ZONES[firm % 4], f"{d % 40}"),
        f"2026-0{1 + a % 2}-{1 + b % 28:02}T{c % 24:02}:00:00",
        *(_DETAILS[d % 4], f"2025-{1 + a % 12:02}-{1 + c % 28:02}"),
        *(f"rep{firm % 50}", f"tag {a % 20}", "yes" if b % 2 else "no"),
        f"called {d % 9} times, score {c % 1000}" if a % 3 == 0 else "",
    )
    return (
        ",".join(cell if '"' in cell or "," not in cell else f'"{cell}"' for cell in cells) + "\n"
    )


def _ascii(name: str) -> str:
    return name.lower().translate(str.maketrans("éåöæø", "eaoao"))
