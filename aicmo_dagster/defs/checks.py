"""Claims about the stages' outcomes, each for one campaign.

Not here: the shape of frames, which the store validates before it writes them.
"""

import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime

import dagster as dg

from aicmo_dagster.defs.partitions import campaign_partitions
from aicmo_dagster.defs.resources import Clock
from aicmo_dagster.stages import claims
from aicmo_dagster.stages.claims import Finding
from aicmo_dagster.stages.deciding import model_claims, routing_claims
from aicmo_dagster.stages.nurturing import mail_claims
from aicmo_dagster.stages.workspace import Workspace

Claim = Callable[[Workspace, str], Finding]
ClaimAt = Callable[[Workspace, str, datetime], Finding]


@dataclass(frozen=True)
class Claimed:
    """A claim about an asset.

    Args:
        asset: The asset.
        name: The check's name.
        description: What is claimed.
        blocking: Whether nothing may follow where it does not hold; else that is a warning.
        find: What is found of a campaign at an instant; None where there is nothing to look at.
    """

    asset: str
    name: str
    description: str | None
    blocking: bool
    find: Callable[[dg.DagsterInstance, Workspace, str, datetime], Finding | None]


def claim_of(stage: str, claim: Claim, *, blocking: bool) -> Claimed:
    """`claim` about `stage`; one that does not block only warns."""
    name, text = claim.__name__, claim.__doc__
    return Claimed(stage, name, text, blocking, lambda _, workspace, key, __: claim(workspace, key))


def claim_at(asset: str, claim: ClaimAt, *, blocking: bool = False) -> Claimed:
    """As `claim_of`, for a claim that depends on the time."""
    name, text = claim.__name__, claim.__doc__
    return Claimed(
        asset, name, text, blocking, lambda _, workspace, key, now: claim(workspace, key, now)
    )


@contextmanager
def _preview_accepted() -> Iterator[None]:
    """Without Dagster's word that partitions of checks are a preview, once for each check."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", dg.PreviewWarning)
        yield


@_preview_accepted()
def asset_check(claimed: Claimed) -> dg.AssetChecksDefinition:
    """The claim as an asset check, over the campaigns of a run."""

    @dg.asset_check(
        asset=claimed.asset,
        name=claimed.name,
        description=claimed.description,
        blocking=claimed.blocking,
        partitions_def=campaign_partitions,
    )
    def check(
        context: dg.AssetCheckExecutionContext,
        workspace: dg.ResourceParam[Workspace],
        clock: Clock,
    ) -> dg.AssetCheckResult:
        now = clock.now()
        found = {
            k: claimed.find(context.instance, workspace, k, now) for k in context.partition_keys
        }
        findings = {key: finding for key, finding in found.items() if finding is not None}
        return _result(findings, blocking=claimed.blocking)

    return check


def evaluate(
    stage: str, context: dg.OpExecutionContext, workspace: Workspace, key: str, now: datetime
) -> list[str]:
    """Logs every claim about a stage of one campaign; gives those that block and do not hold.

    For runs that many campaigns share, in which Dagster runs no checks.
    """
    held = []
    for claimed in CLAIMS:
        if claimed.asset != stage:
            continue
        finding = claimed.find(context.instance, workspace, key, now)
        if finding is None:
            continue
        # Dagster's signature names fewer kinds of events than it takes.
        context.log_event(_evaluation(claimed, key, finding))  # type: ignore[arg-type]
        if claimed.blocking and not finding.holds:
            held.append(f"{claimed.name}: {finding.text}")
    return held


def _evaluation(claimed: Claimed, key: str, finding: Finding) -> dg.AssetCheckEvaluation:
    result = _result({key: finding}, blocking=claimed.blocking)
    return dg.AssetCheckEvaluation(
        asset_key=dg.AssetKey(claimed.asset),
        check_name=claimed.name,
        passed=result.passed,
        metadata=result.metadata,
        severity=result.severity,
        description=result.description,
        blocking=claimed.blocking,
        partition=key,
    )


EARLIER_RUNS = 20
"""Materialisations that say what share of the leads usually qualifies."""


def qualified_share_is_usual(
    instance: dg.DagsterInstance, _: Workspace, key: str, __: datetime
) -> Finding | None:
    """`share_is_usual` against the campaign's earlier materialisations."""
    latest = _qualified_shares(instance, key)
    return claims.share_is_usual(latest[0], latest[1:]) if latest else None


def _qualified_shares(instance: dg.DagsterInstance, key: str) -> list[float]:
    """The share that qualified, latest first."""
    wanted = dg.AssetRecordsFilter(dg.AssetKey("qualified_leads"), asset_partitions=[key])
    records = instance.fetch_materializations(wanted, limit=EARLIER_RUNS + 1).records
    told = [r.asset_materialization.metadata for r in records if r.asset_materialization]
    return [float(str(m["qualified_share"].value)) for m in told if "qualified_share" in m]


def _result(findings: Mapping[str, Finding], *, blocking: bool) -> dg.AssetCheckResult:
    """The findings of all campaigns as one result; the figures of one that is alone."""
    failed = {key: finding.text for key, finding in findings.items() if not finding.holds}
    figures = next(iter(findings.values())).figures if len(findings) == 1 else {}
    return dg.AssetCheckResult(
        passed=not failed,
        severity=dg.AssetCheckSeverity.ERROR if blocking else dg.AssetCheckSeverity.WARN,
        description="; ".join(f"{key}: {text}" for key, text in failed.items()) or None,
        metadata={name: float(value) for name, value in figures.items()},
    )


CLAIMS = [
    claim_of("raw_leads", claims.few_records_are_rejected, blocking=False),
    claim_of("raw_leads", claims.most_leads_can_be_written_to, blocking=False),
    claim_of("scored_leads", claims.every_lead_is_scored, blocking=True),
    claim_of("qualified_leads", claims.some_leads_qualify, blocking=False),
    Claimed(
        "qualified_leads",
        "qualified_share_is_usual",
        claims.share_is_usual.__doc__,
        blocking=False,
        find=qualified_share_is_usual,
    ),
    claim_of("routed_leads", routing_claims.capacity_is_kept, blocking=True),
    claim_of("routed_leads", routing_claims.nobody_suppressed_is_routed, blocking=True),
    claim_of("routed_leads", routing_claims.each_routed_lead_has_one_sequence, blocking=True),
    claim_of("routed_leads", routing_claims.shares_are_fair, blocking=False),
    claim_of("nurture_sends", claims.no_send_is_in_doubt, blocking=False),
    claim_at("nurture_sends", mail_claims.nobody_suppressed_is_mailed, blocking=True),
    claim_at("nurture_sends", mail_claims.caps_are_kept),
    claim_at("nurture_sends", mail_claims.nothing_stays_unknown),
    claim_at("nurture_sends", mail_claims.bounces_and_complaints_are_few),
    claim_of("scored_leads", model_claims.something_is_known_of_most_leads, blocking=False),
    claim_at("score_model", model_claims.leads_are_like_those_learned_from),
    claim_at("score_model", model_claims.expected_wins_come_true),
]
"""By stage, in order; then those of scores and models."""

CHECKS = [asset_check(claimed) for claimed in CLAIMS]
