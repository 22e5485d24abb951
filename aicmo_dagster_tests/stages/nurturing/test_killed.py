"""Workers killed in the middle of sending: nobody is written to twice, and nobody is forgotten.

The long version, with 30 kills, is the benchmark `mail_killed`.
"""

from pathlib import Path

import pytest

from aicmo_dagster_tests.bench.killing import send_despite_kills

pytestmark = pytest.mark.long


@pytest.mark.parametrize("workers", [1, 4])
def test_killed_workers_send_to_each_lead_once_and_lose_none(
    tmp_path: Path, database_url: str, workers: int
) -> None:
    after = send_despite_kills(
        tmp_path, database_url, leads=120, kills=3, workers=workers, connections=2, seed=workers
    )
    assert after.kills == 3
    assert after.duplicates == 0
    assert after.lost == 0
    assert after.unproven == 0
    assert after.states.get("unknown", 0) <= after.kills * after.connections
    assert set(after.states) <= {"accepted", "unknown"}
