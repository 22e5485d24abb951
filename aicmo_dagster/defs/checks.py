"""Claims about the stages' outcomes, at least one a stage and campaign.

Not here: the shape of frames, which the store validates before it writes them.
"""

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import dagster as dg

from aicmo_dagster.defs.partitions import campaign_partitions
from aicmo_dagster.stages import claims
from aicmo_dagster.stages.claims import Finding
from aicmo_dagster.stages.workspace import Workspace

Claim = Callable[[Workspace, str], Finding]


@contextmanager
def _preview_accepted() -> Iterator[None]:
    """Without Dagster's word that partitions of checks are a preview, once for each check."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", dg.PreviewWarning)
        yield


@_preview_accepted()
def check_of(stage: str, claim: Claim, *, blocking: bool) -> dg.AssetChecksDefinition:
    """`claim` as an asset check of `stage`; one that does not block only warns."""

    @dg.asset_check(
        asset=stage,
        name=claim.__name__,
        description=claim.__doc__,
        blocking=blocking,
        partitions_def=campaign_partitions,
    )
    def check(
        context: dg.AssetCheckExecutionContext, workspace: dg.ResourceParam[Workspace]
    ) -> dg.AssetCheckResult:
        findings = {key: claim(workspace, key) for key in context.partition_keys}
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
    check_of("raw_leads", claims.most_leads_can_be_written_to, blocking=False),
    check_of("scored_leads", claims.every_lead_is_scored, blocking=True),
    check_of("qualified_leads", claims.some_leads_qualify, blocking=False),
    check_of("routed_leads", claims.capacity_is_kept, blocking=True),
    check_of("nurture_sends", claims.no_send_is_in_doubt, blocking=False),
]
"""At least one a stage, in order."""
