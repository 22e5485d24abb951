"""The partitions: one a campaign, added when the campaign is applied. Never a lead or a date."""

import dagster as dg

campaign_partitions = dg.DynamicPartitionsDefinition(name="campaigns")


def register_campaign(instance: dg.DagsterInstance, key: str) -> None:
    """The campaign `key` is a partition; nothing changes if it was one already."""
    instance.add_dynamic_partitions(str(campaign_partitions.name), [key])
