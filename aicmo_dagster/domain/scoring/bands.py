"""The rank band of a score among the leads that arrived together. Not here: who did (`cohorts`)."""

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow

from aicmo_dagster.domain.schemas import BANDS
from aicmo_dagster.domain.scoring.columns import Numbers

REACHES = (0.10, 0.25, 0.50, 1.0)
"""The share of a cohort at which each band ends, best first."""


def bands(scores: Numbers, cohorts: npt.NDArray[np.int64]) -> pd.arrays.ArrowExtensionArray:
    """A band for each score: A for the top tenth of its cohort, B, C, and D for the lower half.

    Leads of equal score have the same band, that of the last of them: a band never holds more than
    its share, and where all scores are equal all are D. In a cohort of under ten nobody is A.
    """
    frame = pd.DataFrame({"score": np.round(scores, 9), "cohort": cohorts})
    ranked = frame.groupby("cohort")["score"]
    place = ranked.rank(method="max", ascending=False) / ranked.transform("size")
    # The place of the tenth of a hundred is 0.1 but for the last bit.
    codes = np.searchsorted(np.array(REACHES) + 1e-9, place.to_numpy(np.float64))
    letters = pyarrow.array(BANDS).take(pyarrow.array(codes))
    return pd.arrays.ArrowExtensionArray(letters)
