"""Claims about the stages' outcomes, checked campaign by campaign.

Not here: the shape of frames, which the store validates before it writes them.
"""

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime

import dagster as dg

from aicmo_dagster.defs.partitions import campaign_partitions
from aicmo_dagster.defs.resources import Clock
from aicmo_dagster.stages import claims
from aicmo_dagster.stages.claims import Finding
from aicmo_dagster.stages.workspace import Workspace

Claim = Callable[[Workspace, str], Finding]
TimedClaim = Callable[[Workspace, str, datetime], Finding]


@contextmanager
def _preview_accepted() -> Iterator[None]:
    """Without Dagster's word that partitions of checks are a preview, once for each check."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", dg.PreviewWarning)
        yield


def check_of(stage: str, claim: Claim, *, blocking: bool) -> dg.AssetChecksDefinition:
    """`claim` as an asset check of `stage`; one that does not block only warns."""
    return _check(
        stage, claim, lambda workspace, key, now: claim(workspace, key), blocking=blocking
    )


def timed_check_of(stage: str, claim: TimedClaim, *, blocking: bool) -> dg.AssetChecksDefinition:
    """As `check_of`, for a claim about the time until now."""
    return _check(stage, claim, claim, blocking=blocking)


@_preview_accepted()
def _check(
    stage: str, named: Claim | TimedClaim, claim: TimedClaim, *, blocking: bool
) -> dg.AssetChecksDefinition:
    @dg.asset_check(
        asset=stage,
        name=named.__name__,
        description=named.__doc__,
        blocking=blocking,
        partitions_def=campaign_partitions,
    )
    def check(
        context: dg.AssetCheckExecutionContext,
        workspace: dg.ResourceParam[Workspace],
        clock: Clock,
    ) -> dg.AssetCheckResult:
        now = clock.now()
        findings = {key: claim(workspace, key, now) for key in context.partition_keys}
        failed = {key: finding.text for key, finding in findings.items() if not finding.holds}
        figures = findings[next(iter(findings))].figures if len(findings) == 1 else {}
        return dg.AssetCheckResult(
            passed=not failed,
            severity=dg.AssetCheckSeverity.ERROR if blocking else dg.AssetCheckSeverity.WARN,
            description="; ".join(f"{key}: {text}" for key, text in failed.items()) or None,
            metadata={name: float(value) for name, value in figures.items()},
        )

    return check


CHECKS = [
    check_of("raw_leads", claims.few_records_are_rejected, blocking=False),
    check_of("scored_leads", claims.every_lead_is_scored, blocking=True),
    check_of("qualified_leads", claims.some_leads_qualify, blocking=False),
    check_of("routed_leads", claims.capacity_is_kept, blocking=True),
    check_of("nurture_sends", claims.no_send_is_in_doubt, blocking=False),
    timed_check_of("nurture_sends", claims.nobody_suppressed_is_mailed, blocking=True),
    timed_check_of("nurture_sends", claims.caps_are_kept, blocking=False),
    timed_check_of("nurture_sends", claims.nothing_stays_unknown, blocking=False),
    timed_check_of("nurture_sends", claims.bounces_and_complaints_are_few, blocking=False),
]
"""Stage by stage, in order."""
