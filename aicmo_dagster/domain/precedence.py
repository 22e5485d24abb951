"""Which source wins which field, where several know the same person.

Read a row of the table from left to right: the first kind of source that has a value gives it. The
kinds of one step are equals, of which the later record wins, and so it is within one kind; what a
campaign held before is its earliest record, and keeps the rank of the source that each field is of.

The user's own file comes first throughout: people know their customers' names, titles, telephone
numbers and what became of them, and a provider must not undo a correction made by hand. Where the
file says nothing, the provider that answered last is the fresher one, which decides for all that
changes with time: address, title, telephone, company, headcount, revenue, technologies. What a
search lists gives way to what its provider answers about the person, or each new search would undo
the answer. The rows below say why they differ.

Not here: telling who is the same person (`identity`), or merging (`merging`).
"""

import re
from collections.abc import Sequence

Steps = tuple[tuple[str, ...], ...]

_BY_DEFAULT: Steps = (("csv",), ("apollo", "dropcontact"), ("search",))
_BY_NAME: Steps = (("csv",), ("dropcontact",), ("apollo",), ("search",))
_BY_VOCABULARY: Steps = (("csv",), ("apollo",), ("search",), ("dropcontact",))
_BY_ORIGIN: Steps = (("csv",), ("search",), ("apollo",), ("dropcontact",))

PRECEDENCE: dict[str, Steps] = {
    # Dropcontact looks names up and mends them; Apollo repeats what profiles say.
    "first_name": _BY_NAME,
    "last_name": _BY_NAME,
    # Apollo's seniorities are ours, and its industries English; Dropcontact's may be a French code.
    "seniority": _BY_VOCABULARY,
    "industry": _BY_VOCABULARY,
    # Where a lead is from, and its id there, say the same however often others are asked about it.
    "source": _BY_ORIGIN,
    "source_detail": _BY_ORIGIN,
    "external_id": _BY_ORIGIN,
}
"""Field to its steps; `_BY_DEFAULT` holds for every other field, custom ones included."""

_NUMBER = re.compile(r"-[0-9]+$")


def kind_of(source: str) -> str:
    """The kind of a source: ``csv`` of ``csv-2``, ``search`` of ``apollo-1``.

    What was imported is the user's own file as well: ``csv`` of ``import-3``. A provider's answer,
    whose source has no number, is a kind already.
    """
    kind = _NUMBER.sub("", source)
    if kind == "import" and kind != source:
        return "csv"
    return "search" if kind != source and kind != "csv" else kind


def ranks(field: str, sources: Sequence[str]) -> list[int]:
    """The step of each of `sources` for `field`, 0 being the strongest; unknown kinds come last."""
    steps = PRECEDENCE.get(field, _BY_DEFAULT)
    places = {kind: place for place, kinds in enumerate(steps) for kind in kinds}
    return [places.get(kind_of(source), len(steps)) for source in sources]
