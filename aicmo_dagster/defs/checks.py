"""Claims about the stages' outcomes, each for one campaign.

Not here: the shape of frames, which the store validates before it writes them.
"""

import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime

import dagster as dg

from aicmo_dagster.defs.partitions import campaign_partitions
from aicmo_dagster.defs.resources import Clock
from aicmo_dagster.stages import claims, mail_claims, model_claims, routing_claims
from aicmo_dagster.stages.claims import Finding
from aicmo_dagster.stages.workspace import Workspace

Claim = Callable[[Workspace, str], Finding]
ClaimAt = Callable[[Workspace, str, datetime], Finding]


@contextmanager
def _preview_accepted() -> Iterator[None]:
    """Without Dagster's word that partitions of checks are a preview, once for each check."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", dg.PreviewWarning)
        yield


def check_of(stage: str, claim: Claim, *, blocking: bool) -> dg.AssetChecksDefinition:
    """`claim` as an asset check of `stage`; one that does not block only warns."""
    return _check(stage, claim, lambda workspace, key, _: claim(workspace, key), blocking=blocking)


def check_at(asset: str, claim: ClaimAt, *, blocking: bool = False) -> dg.AssetChecksDefinition:
    """As `check_of`, for a claim that depends on the time."""
    return _check(asset, claim, claim, blocking=blocking)


@_preview_accepted()
def _check(
    asset: str, named: Claim | ClaimAt, claim: ClaimAt, *, blocking: bool
) -> dg.AssetChecksDefinition:
    @dg.asset_check(
        asset=asset,
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
        return _result(findings, blocking=blocking)

    return check


EARLIER_RUNS = 20
"""Materialisations that say what share of the leads usually qualifies."""


@_preview_accepted()
def qualified_share_check() -> dg.AssetChecksDefinition:
    """`share_is_usual` against the campaign's earlier materialisations."""

    @dg.asset_check(
        asset="qualified_leads",
        name="qualified_share_is_usual",
        description=claims.share_is_usual.__doc__,
        partitions_def=campaign_partitions,
    )
    def check(context: dg.AssetCheckExecutionContext) -> dg.AssetCheckResult:
        shares = {key: _qualified_shares(context.instance, key) for key in context.partition_keys}
        findings = {
            key: claims.share_is_usual(latest[0], latest[1:])
            for key, latest in shares.items()
            if latest
        }
        return _result(findings, blocking=False)

    return check


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


CHECKS = [
    check_of("raw_leads", claims.few_records_are_rejected, blocking=False),
    check_of("raw_leads", claims.most_leads_can_be_written_to, blocking=False),
    check_of("scored_leads", claims.every_lead_is_scored, blocking=True),
    check_of("qualified_leads", claims.some_leads_qualify, blocking=False),
    qualified_share_check(),
    check_of("routed_leads", routing_claims.capacity_is_kept, blocking=True),
    check_of("routed_leads", routing_claims.nobody_suppressed_is_routed, blocking=True),
    check_of("routed_leads", routing_claims.each_routed_lead_has_one_sequence, blocking=True),
    check_of("routed_leads", routing_claims.shares_are_fair, blocking=False),
    check_of("nurture_sends", claims.no_send_is_in_doubt, blocking=False),
    check_at("nurture_sends", mail_claims.nobody_suppressed_is_mailed, blocking=True),
    check_at("nurture_sends", mail_claims.caps_are_kept),
    check_at("nurture_sends", mail_claims.nothing_stays_unknown),
    check_at("nurture_sends", mail_claims.bounces_and_complaints_are_few),
    check_of("scored_leads", model_claims.something_is_known_of_most_leads, blocking=False),
    check_at("score_model", model_claims.leads_are_like_those_learned_from),
    check_at("score_model", model_claims.expected_wins_come_true),
]
"""By stage, in order; then those of scores and models."""
