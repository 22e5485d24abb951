"""The layer rule, enforced over the syntax trees of the package, and what files must agree on.

Rooms have ranks. A module imports from rooms of lower rank and from its own, never from another
room of its rank, and never back. `domain` is pure. Dagster stays at the rim.
"""

import ast
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from aicmo_dagster.domain.documents import parse_yaml
from aicmo_dagster.settings import CODE_LOCATION

PROJECT = Path(__file__).parent.parent
PACKAGE = "aicmo_dagster"

RANKS = {
    "": 0,  # the package itself, which is empty
    "errors": 0,
    "settings": 1,
    "domain": 1,
    "store": 2,
    "sources": 2,
    "mail": 2,
    "handoff": 2,
    "stages": 3,
    "api": 4,
    "simulation": 4,
    "defs": 4,
    "definitions": 5,
    "cli": 6,
}
ROOMS = ", ".join(filter(None, RANKS))
STAGES = ("harvesting", "deciding", "nurturing", "operating", "engaging", "leads")
"""The rooms of `stages`: each imports from those before it, and from what lies beside them."""
KNOWS_DAGSTER = (f"{PACKAGE}.defs", f"{PACKAGE}.definitions", f"{PACKAGE}.api.runs")
VAGUE = {"utils", "util", "helpers", "helper", "common", "base", "misc"}
OUTSIDE_WORLD = {
    *("os", "io", "pathlib", "glob", "shutil", "tempfile", "fileinput", "dotenv"),
    *("requests", "urllib", "http", "httpx", "socket", "ssl", "smtplib", "imaplib", "poplib"),
    *("ftplib", "mailbox", "sqlalchemy", "alembic", "sqlite3", "psycopg2", "subprocess", "signal"),
    *("multiprocessing", "threading", "asyncio", "platform", "psutil", "importlib"),
    *("time", "sched", "random", "secrets"),
}
"""Libraries that reach files, networks, processes, the environment, a clock or chance."""

ONLY_TEXT = "urllib.parse"
"""The part of such a library that does nothing but take text to pieces."""

CLOCKS = {
    "datetime.datetime.now",
    "datetime.datetime.utcnow",
    "datetime.datetime.today",
    "datetime.date.today",
    "pandas.Timestamp.now",
    "pandas.Timestamp.utcnow",
    "pandas.Timestamp.today",
    "time.time",
    "time.monotonic",
    "time.perf_counter",
    "uuid.uuid1",
    "uuid.uuid4",
}
"""What gives another answer each time; matched by full name, under whatever alias."""

FILES = {"open", "input", "print"}
"""Built-in functions that reach outside."""


def violations(module: str, source: str) -> list[str]:
    """Each way in which `source`, as the module of that dotted name, breaks the rule."""
    tree = ast.parse(source)
    found = [*_vague_names(module)]
    for line, target in _imports(tree):
        found += [f"{module}:{line}: {text}" for text in _import_faults(module, target)]
    if _within(module, f"{PACKAGE}.domain"):
        found += [f"{module}:{line}: {text}" for line, text in _impurities(tree)]
    if module != f"{PACKAGE}.settings":
        found += [f"{module}:{line}: {text}" for line, text in _environment_reads(tree)]
    return found


def _imports(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """(line, dotted name) of every import at any depth; a relative one starts with a dot."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            origin = "." * node.level + (node.module or "")
            yield from ((node.lineno, f"{origin}.{alias.name}") for alias in node.names)
    yield from _rooms_reached(tree)


def _rooms_reached(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """(line, dotted name) of every room that is an attribute of the package in an expression."""
    names = _aliases(tree)
    for node in _expressions(tree):
        parent, _, room = _dotted(node, names).rpartition(".")
        if parent == PACKAGE and room in RANKS:
            yield node.lineno, f"{PACKAGE}.{room}"


def _import_faults(module: str, target: str) -> Iterator[str]:
    """What is wrong with `module` importing `target`."""
    library = target.split(".")[0]
    if target.startswith("."):
        yield "relative import; imports are absolute"
    elif library == PACKAGE:
        yield from _rank_faults(module, target)
    elif library.startswith("dagster") and not any(_within(module, room) for room in KNOWS_DAGSTER):
        yield f"imports {library}; only defs, definitions and api.runs know Dagster"
    elif _within(module, f"{PACKAGE}.domain") and _reaches_outside(target):
        yield f"imports {library}; domain is pure"


def _reaches_outside(target: str) -> bool:
    return target.split(".")[0] in OUTSIDE_WORLD and not _within(target, ONLY_TEXT)


def _rank_faults(module: str, target: str) -> Iterator[str]:
    """What is wrong with a module of ours importing another."""
    own, other = _room(module), _room(target)
    if other not in RANKS:
        yield f"imports {target}, which is in no room; rooms are {ROOMS}"
    elif own not in RANKS:
        yield f"is in no room, so it imports nothing of ours; rooms are {ROOMS}"
    elif own != other and RANKS[other] >= RANKS[own]:
        direction = "sideways" if RANKS[other] == RANKS[own] else "back"
        yield f"imports {other} from {own}: {direction}"
    elif own == other == "stages" and _stage(target) > _stage(module):
        yield f"imports {target}: back, from a room of stages that comes before it"


def _stage(module: str) -> int:
    """The rank of a module of ours among the rooms of `stages`."""
    room = (*module.split("."), "", "")[2]
    return STAGES.index(room) + 1 if room in STAGES else 0


def _impurities(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """(line, fault) wherever a clock, chance or a file is reached, whatever the imports."""
    names = _aliases(tree)
    for node in _expressions(tree):
        if _dotted(node, names) in CLOCKS:
            yield node.lineno, f"reads {_dotted(node, names)}; time and chance are arguments"
        if isinstance(node, ast.Call):
            called = _dotted(node.func, names)
            if called in FILES:
                yield node.lineno, f"calls {called}(); domain is pure"
            if called == "numpy.random.default_rng" and not (node.args or node.keywords):
                yield node.lineno, "draws without a seed; time and chance are arguments"


def _environment_reads(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """(line, fault) wherever a variable is read; handing the environment on whole is no read."""
    names = _aliases(tree)
    for node in _expressions(tree):
        match node:
            case (
                ast.Subscript(value=owner, ctx=ast.Load()) | ast.Attribute(value=owner, attr="get")
            ):
                read = _dotted(owner, names) == "os.environ"
            case _:
                read = _dotted(node, names) == "os.getenv"
        if read:
            yield node.lineno, "reads the environment; settings is its one reader"


def _expressions(tree: ast.AST) -> Iterator[ast.expr]:
    return (node for node in ast.walk(tree) if isinstance(node, ast.expr))


def _aliases(tree: ast.AST) -> dict[str, str]:
    """Local name to the full name that it was imported as."""
    names = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                first = alias.name.split(".")[0]
                names[alias.asname or first] = alias.name if alias.asname else first
        elif isinstance(node, ast.ImportFrom):
            for alias in node.names:
                names[alias.asname or alias.name] = f"{node.module}.{alias.name}"
    return names


def _dotted(node: ast.AST, names: dict[str, str]) -> str:
    """The full dotted name that an expression spells, or nothing."""
    if isinstance(node, ast.Name):
        return names.get(node.id, node.id)
    if isinstance(node, ast.Attribute):
        owner = _dotted(node.value, names)
        return f"{owner}.{node.attr}" if owner else ""
    return ""


def _vague_names(module: str) -> Iterator[str]:
    for part in module.split("."):
        if part in VAGUE:
            yield f"{module}: {part!r} says nothing; name it after what lives there"


def _room(name: str) -> str:
    return name.partition(".")[2].partition(".")[0]


def _within(module: str, room: str) -> bool:
    return module == room or module.startswith(f"{room}.")


def _module_name(path: Path) -> str:
    parts = path.relative_to(PROJECT).with_suffix("").parts
    return ".".join(part for part in parts if part != "__init__")


SOURCES = sorted((PROJECT / PACKAGE).rglob("*.py"))


@pytest.mark.parametrize("path", SOURCES, ids=_module_name)
def test_a_module_keeps_the_layer_rule(path: Path) -> None:
    assert violations(_module_name(path), path.read_text(encoding="utf-8")) == []


def test_every_folder_and_module_at_the_top_is_a_room() -> None:
    assert {_room(_module_name(path)) for path in SOURCES} <= set(RANKS)


PLANTED = {
    "domain to store": ("domain.intake", "from aicmo_dagster.store import frames", "back"),
    "domain to settings": ("domain.intake", "import aicmo_dagster.settings", "sideways"),
    "settings to domain": ("settings", "from aicmo_dagster import domain", "sideways"),
    "errors to settings": ("errors", "from aicmo_dagster.settings import Settings", "back"),
    "store to mail": ("store.ledger", "from aicmo_dagster.mail import delivery", "sideways"),
    "store to stages": ("store.ledger", "from aicmo_dagster.stages import route", "back"),
    "a stage to a later one": (
        "stages.deciding.route",
        "from aicmo_dagster.stages.nurturing import planning",
        "back",
    ),
    "beside the stages": (
        "stages.report",
        "from aicmo_dagster.stages.harvesting.search import search",
        "back",
    ),
    "stages to defs": ("stages.route", "from aicmo_dagster.defs import assets", "back"),
    "mail to defs": ("mail.delivery", "from aicmo_dagster.defs.jobs import nurture_job", "back"),
    "api to defs": ("api.leads", "import aicmo_dagster.defs.jobs as jobs", "sideways"),
    "defs to definitions": ("defs.jobs", "from aicmo_dagster.definitions import defs", "back"),
    "definitions to cli": ("definitions", "from aicmo_dagster.cli.main import main", "back"),
    "inside a function": ("store.ledger", "def f():\n    import aicmo_dagster.cli.main", "back"),
    "for types only": (
        "domain.intake",
        "from typing import TYPE_CHECKING as T\nif T:\n    from aicmo_dagster.store import x",
        "back",
    ),
    "an unknown room": ("cli.main", "from aicmo_dagster.extras import x", "in no room"),
    "from an unknown room": ("extras.x", "import aicmo_dagster.errors", "in no room"),
    "the package itself": ("", "from aicmo_dagster.errors import AicmoError", "sideways"),
    "by way of the package": (
        "domain.intake",
        "import aicmo_dagster as ours\nours.store.frames.read_frame()",
        "back",
    ),
    "a relative import": ("store.ledger", "from . import frames", "relative"),
    "a relative import upwards": ("store.ledger", "from ..domain import schemas", "relative"),
    "Dagster in store": ("store.ledger", "import dagster as dg", "Dagster"),
    "a Dagster library": ("domain.schemas", "from dagster_pandera import x", "Dagster"),
    "Dagster elsewhere in api": ("api.leads", "from dagster import DagsterInstance", "Dagster"),
    "Dagster beside api.runs": ("api.runs_page", "import dagster", "Dagster"),
    "a file": ("domain.intake", "from pathlib import Path", "pure"),
    "a network": ("domain.intake", "import urllib.request", "pure"),
    "a network by its package": ("domain.intake", "from urllib import request", "pure"),
    "a database": ("domain.intake", "from sqlalchemy import select", "pure"),
    "chance": ("domain.routing", "import random", "pure"),
    "chance without a seed": (
        "domain.routing",
        "import numpy as np\nnp.random.default_rng()",
        "without a seed",
    ),
    "a built-in": ("domain.intake", "def f(p):\n    return open(p)", "pure"),
    "a clock": ("domain.nurture.timing", "import datetime\ndatetime.datetime.now()", "reads"),
    "a clock by alias": (
        "domain.nurture.timing",
        "from datetime import datetime as instant, UTC\ninstant.now(UTC)",
        "reads",
    ),
    "a clock not called": (
        "domain.campaigns",
        "import datetime as dt\nfield(default_factory=dt.datetime.utcnow)",
        "reads",
    ),
    "today": ("domain.campaigns", "from datetime import date\ndate.today()", "reads"),
    "pandas's clock": ("domain.intake", "import pandas as pd\npd.Timestamp.now()", "reads"),
    "time.time": ("domain.intake", "from time import time\ntime()", "imports time"),
    "a random id": ("domain.intake", "import uuid\nuuid.uuid4()", "reads"),
    "a variable": ("mail.delivery", "import os\nos.environ['AICMO_HOME']", "environment"),
    "a variable by get": ("cli.main", "from os import environ\nenviron.get('X')", "environment"),
    "a variable by getenv": ("cli.main", "import os\nos.getenv('X')", "environment"),
    "a vague module": ("store.utils", "", "says nothing"),
    "a vague folder": ("mail.common.smtp", "", "says nothing"),
}


@pytest.mark.parametrize(("place", "source", "said"), PLANTED.values(), ids=PLANTED)
def test_a_planted_violation_is_caught(place: str, source: str, said: str) -> None:
    found = violations(f"{PACKAGE}.{place}".rstrip("."), source)

    assert found
    assert said in found[0]


ALLOWED = {
    "domain to errors": ("domain.intake", "from aicmo_dagster.errors import BadInput"),
    "its own room": ("store.ledger", "from aicmo_dagster.store.tables import sends"),
    "downwards": ("cli.main", "from aicmo_dagster.definitions import defs"),
    "where the package lies": ("cli.dev", "import aicmo_dagster\naicmo_dagster.__file__"),
    "Dagster in defs": ("defs.assets", "import dagster as dg"),
    "Dagster in api.runs": ("api.runs", "from dagster_graphql import DagsterGraphQLClient"),
    "a seeded draw": ("domain.routing", "import numpy as np\nnp.random.default_rng(seed)"),
    "an argument called now": ("domain.nurture.timing", "def f(now):\n    return now.date()"),
    "an address taken to pieces": ("domain.templates", "from urllib.parse import urlsplit"),
    "a file in store": ("store.database", "from pathlib import Path\nPath('x').open()"),
    "the settings": ("settings", "import os\nos.environ.get('AICMO_HOME')"),
    "a child's environment": ("cli.dev", "import os\n{**os.environ, 'DAGSTER_HOME': 'x'}"),
}


@pytest.mark.parametrize(("place", "source"), ALLOWED.values(), ids=ALLOWED)
def test_what_the_rule_allows_is_not_reported(place: str, source: str) -> None:
    assert violations(f"{PACKAGE}.{place}", source) == []


def test_every_file_calls_the_code_location_by_one_name() -> None:
    """Dagster keeps the on/off state of schedules and sensors under this name."""
    tool = tomllib.loads((PROJECT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]
    workspace = parse_yaml((PROJECT / "workspace.yaml").read_text(encoding="utf-8"), "workspace")
    (loaded,) = workspace["load_from"]
    dg_project = tool["dg"]["project"]

    assert {
        loaded["python_module"]["location_name"],
        tool["dagster"]["code_location_name"],
        dg_project["code_location_name"],
    } == {CODE_LOCATION}
    assert {
        loaded["python_module"]["module_name"],
        tool["dagster"]["module_name"],
        dg_project["code_location_target_module"],
    } == {f"{PACKAGE}.definitions"}


def test_the_package_carries_the_configuration_of_the_project() -> None:
    name = "dagster.yaml"
    assert (PROJECT / PACKAGE / name).read_bytes() == (PROJECT / name).read_bytes()
