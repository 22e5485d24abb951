"""How a step ends in which a campaign failed."""

from pathlib import Path

import dagster as dg
import pytest

from aicmo_dagster.defs.in_turn import RETRIES_TAG, Work, failure_of, run_campaigns
from aicmo_dagster.errors import AicmoError, Transient
from aicmo_dagster_tests.workspaces import open_test_workspace


def ended(failures: dict[str, Exception]) -> tuple[Exception, str]:
    """What a step that may be tried again twice ends with, and the log of its run."""
    found = []

    @dg.op
    def fail(context: dg.OpExecutionContext) -> None:
        found.append(failure_of(failures, context))

    @dg.job
    def failing() -> None:
        fail()

    with dg.DagsterInstance.ephemeral() as instance:
        result = failing.execute_in_process(instance=instance, tags={RETRIES_TAG: "2"})
        told = [entry.user_message for entry in instance.all_logs(result.run_id)]
    return found[0], "\n".join(told)


def test_a_step_that_is_tried_again_says_why() -> None:
    ending, told = ended({"spring": Transient("no answer")})

    assert isinstance(ending, dg.RetryRequested)
    assert "spring: no answer" in told


def test_what_cannot_pass_by_itself_ends_the_step_at_once() -> None:
    ending, _ = ended({"spring": Transient("no answer"), "late": AicmoError("no such key")})

    assert isinstance(ending, dg.Failure)
    assert ending.description == "spring: no answer\nlate: no such key"


def test_a_run_that_was_cancelled_does_nothing_even_if_it_is_begun(
    tmp_path: Path, database_url: str
) -> None:
    workspace = open_test_workspace(tmp_path, database_url)

    @dg.op
    def mail(context: dg.OpExecutionContext) -> None:
        context.instance.report_run_canceled(context.run)
        with pytest.raises(dg.Failure, match="was cancelled"):
            run_campaigns(Work("nurture_sends", pytest.fail), ["spring"], workspace, context)

    @dg.job
    def mailing() -> None:
        mail()

    with dg.DagsterInstance.ephemeral() as instance:
        assert mailing.execute_in_process(instance=instance).success
    workspace.database.close()
