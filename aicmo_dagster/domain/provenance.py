"""Where a lead's fields come from: the source of each value, kept as short as it can be.

Every record has one source, and every field of a lead that of the record that it was taken from. A
lead names a source of its own (`source`), and only those fields whose source is another (`origins`,
a JSON object), which is none at all where one source told of it. Not here: which record wins a
field (`precedence`), or taking it (`merging`).
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow

from aicmo_dagster.domain.identity import Codes
from aicmo_dagster.domain.precedence import ranks

SEPARATOR = ";"

Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Origins:
    """The source of each field of some records.

    Args:
        names: The sources.
        main: The source of each record, as its place in `names`.
        others: Field to its source in each record, where that may be another.
    """

    names: list[str]
    main: Codes
    others: dict[str, Codes]

    def of(self, field: str) -> Codes:
        """The source of the field in each record."""
        return self.others.get(field, self.main)

    def strength(self, field: str) -> Codes | None:
        """How strong each record's value of the field is; None if all are equals."""
        steps = np.array(ranks(field, self.names), np.int64)
        return None if len(set(steps.tolist())) <= 1 else -steps[self.of(field)]


def origins_of(sources: pyarrow.Array, stored: pyarrow.Array, given: pyarrow.Array) -> Origins:
    """The origins of leads so far, and of the records after them.

    Args:
        sources: The source of each lead so far.
        stored: The `origins` of each.
        given: The source of each record.
    """
    main = pyarrow.concat_arrays([sources, given]).dictionary_encode()
    kept = stored.dictionary_encode()
    objects = [json.loads(text) for text in kept.dictionary.to_pylist()]
    named = {source for each in objects for source in each.values()}
    names = main.dictionary.to_pylist()
    names += sorted(named.difference(names))
    places = {name: place for place, name in enumerate(names)}
    codes = main.indices.to_numpy().astype(np.int64)
    others = {}
    for field in sorted({field for each in objects for field in each}):
        of_object = np.array([places.get(each.get(field, ""), -1) for each in objects], np.int64)
        stated = of_object[kept.indices.to_numpy()]
        others[field] = codes.copy()
        others[field][: len(stated)] = np.where(stated >= 0, stated, codes[: len(stated)])
    return Origins(names, codes, others)


class Patterns:
    """Something about each of many leads that takes few values, made up step by step."""

    def __init__(self, count: int) -> None:
        self._codes: Codes = np.zeros(count, np.int64)
        self._values: list[tuple[tuple[str, str], ...]] = [()]

    def add(self, key: str, names: Sequence[str], chosen: Codes) -> None:
        """Where `chosen` is a place in `names` and not negative, the value has that under `key`."""
        if not len(chosen) or chosen.max() < 0:
            return
        width = len(names) + 1
        self._codes, pairs = pd.factorize(self._codes * width + chosen + 1)
        earlier, values = self._values, []
        for pair in pairs.tolist():
            before, place = divmod(pair, width)
            values.append(earlier[before] + (((key, names[place - 1]),) if place else ()))
        self._values = values

    def as_objects(self) -> pyarrow.Array:
        """Each value as a JSON object."""
        texts = [json.dumps(dict(value), ensure_ascii=False) for value in self._values]
        return pyarrow.array(texts, pyarrow.string()).take(pyarrow.array(self._codes))

    def as_lists(self) -> pyarrow.Array:
        """The keys of each value, in the order they were added."""
        texts = [SEPARATOR.join(key for key, _ in value) for value in self._values]
        return pyarrow.array(texts, pyarrow.string()).take(pyarrow.array(self._codes))
