"""What people decided by hand, in words. Not here: obeying it (`qualification`, `routing`)."""

import pandas as pd
import pyarrow

TEXT = pd.ArrowDtype(pyarrow.string())


def in_words(overrides: pd.DataFrame) -> pd.Series:
    """Each override in words: ``override to go through 'executives' by Ida on 2026-03-04: why``.

    Args:
        overrides: action, reason, decided_by, decided_at and expires_at (missing: for good).
    """
    day = overrides["decided_at"].dt.strftime("%Y-%m-%d").astype(TEXT)
    until = overrides["expires_at"].dt.strftime(", until %Y-%m-%d %H:%M UTC").astype(TEXT)
    action = overrides["action"]
    goes = action.mask(action.str.startswith("route:"), "go through '" + action.str[6:] + "'")
    what = "override to " + goes + " by " + overrides["decided_by"]
    return what + " on " + day + until.fillna("") + ": " + overrides["reason"]
