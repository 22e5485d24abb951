"""The partitions: one a campaign, added when the campaign is applied. Never a lead or a date."""

from collections.abc import Iterable

import dagster as dg

from aicmo_dagster.settings import CAMPAIGN_PARTITIONS

campaign_partitions = dg.DynamicPartitionsDefinition(name=CAMPAIGN_PARTITIONS)


def register_campaign(instance: dg.DagsterInstance, key: str) -> None:
    """The campaign `key` is a partition, scored by the scorecard until a model is trained.

    Nothing changes if it was one already.
    """
    name = str(campaign_partitions.name)
    if instance.has_dynamic_partition(name, key):
        return
    instance.add_dynamic_partitions(name, [key])
    # Else the web UI warns at every first run that what scores was never materialised.
    instance.report_runless_asset_event(
        dg.AssetMaterialization(
            "score_model",
            partition=key,
            metadata={"summary": "scorecard: nothing learned yet", "in_charge": "scorecard"},
        )
    )


def add_partitions(instance: dg.DagsterInstance, keys: Iterable[str]) -> None:
    """The campaigns `keys`, whose past another instance has seen, are partitions of this one."""
    instance.add_dynamic_partitions(str(campaign_partitions.name), list(keys))
