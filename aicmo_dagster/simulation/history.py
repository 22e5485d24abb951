"""Rates of recipients estimated from what happened in a campaign, to rehearse the next by.

Not here: the rates themselves (`behaviour`).
"""

from aicmo_dagster.errors import AicmoError
from aicmo_dagster.simulation.behaviour import Behaviour, with_rates
from aicmo_dagster.stages.workspace import Workspace
from aicmo_dagster.store.timelines import Tally, tally

ENOUGH = 50
"""Messages that a history must hold to say anything."""

WEIGHT = 200
"""Messages that a default counts for beside those of the history, so that few change little."""


def behaviour_from_history(
    workspace: Workspace, key: str, defaults: Behaviour
) -> tuple[Behaviour, Tally]:
    """`defaults` moved towards what recipients of the campaign did, and what that rests on.

    Each rate is (events + WEIGHT * default) / (messages + WEIGHT): the mean of a beta distribution
    that began at the default. Opens and clicks count where a person is taken to have done them; a
    campaign that none of were told of keeps their defaults, since its mail may not have asked.

    Raises:
        AicmoError: If the campaign has sent fewer than ENOUGH messages.
    """
    with workspace.database.read() as connection:
        told = tally(connection, key)
    if told.messages < ENOUGH:
        raise AicmoError(
            f"campaign {key!r} has sent {told.messages} messages; {ENOUGH} are needed to estimate "
            "rates. Leave --from-history out to take the defaults"
        )
    counts = {
        "replies": told.answers,
        "away": told.absences,
        "unsubscribes": told.unsubscribed,
        "complains": told.complained,
    }
    rates = {name: _moved(count, told.messages, name, defaults) for name, count in counts.items()}
    rates["dead"] = _moved(told.dead, told.leads, "dead", defaults)
    if told.answers:
        rates["stops"] = _moved(told.objections, told.answers, "stops", defaults)
    if told.opens:
        rates["opens"] = _moved(told.opens, told.messages, "opens", defaults)
    if told.clicks:
        rates["clicks"] = _moved(told.clicks, told.messages, "clicks", defaults)
    return with_rates(defaults, rates), told


def _moved(count: int, out_of: int, name: str, defaults: Behaviour) -> float:
    default = float(getattr(defaults, name))
    return round((count + WEIGHT * default) / (out_of + WEIGHT), 6)
