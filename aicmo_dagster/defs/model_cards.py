"""A model's card as metadata: figures, tables and pictures. Not here: what a card holds."""

from collections.abc import Sequence

import dagster as dg
import pandas as pd

from aicmo_dagster.defs.metadata import table
from aicmo_dagster.defs.pictures import bars, calibration_plot
from aicmo_dagster.domain.scoring.cards import Card
from aicmo_dagster.domain.scoring.drift import Drift
from aicmo_dagster.domain.scoring.evaluation import Evaluation, Figure
from aicmo_dagster.domain.scoring.learning import Learned
from aicmo_dagster.domain.scoring.scorecard import VERSION
from aicmo_dagster.stages.deciding.train import Training

MOST_BARS = 20

MEASURES = {
    "auc": "AUC, all leads together",
    "auc_within": "AUC within cohorts",
    "lift": "Lift of the best tenth, all together",
    "lift_within": "Lift of the best tenth within cohorts",
    "brier": "Brier score",
    "ece": "Calibration error, 15 bins",
    "ece_within": "Calibration error within cohorts",
}


def card_metadata(training: Training, drifted: Sequence[Drift]) -> dict[str, dg.MetadataValue]:
    """The metadata of one training: what came of it, and the card of the best model trained.

    Args:
        training: What training came to.
        drifted: How far columns have moved since the model in charge learned.
    """
    metadata: dict[str, dg.MetadataValue] = {
        "summary": dg.MetadataValue.text(training.summary),
        "in_charge": dg.MetadataValue.text(training.in_charge or VERSION),
        "leads": dg.MetadataValue.int(training.leads),
        "wins": dg.MetadataValue.int(training.wins),
        "losses": dg.MetadataValue.int(training.losses),
    }
    if drifted:
        metadata["drift"] = table(pd.DataFrame([vars(each) for each in drifted]).round(4))
    if training.learned:
        metadata |= _learned(training.learned)
    if training.card and training.version:
        metadata["model"] = dg.MetadataValue.text(training.version)
        metadata |= _card(training.card)
    return metadata


def _learned(learned: Learned) -> dict[str, dg.MetadataValue]:
    metadata: dict[str, dg.MetadataValue] = {}
    if learned.findings:
        rows = [{**vars(each), "what_to_do": each.remedy} for each in learned.findings]
        metadata["suspected_leaks"] = table(pd.DataFrame(rows))
    if learned.left_out:
        metadata["not_learned_from"] = table(pd.DataFrame({"column": learned.left_out}))
    if learned.best:
        evaluation = learned.best.evaluation
        metadata["figures"] = table(_figures(evaluation))
        metadata["auc_within"] = dg.MetadataValue.float(evaluation.auc_within.value)
        metadata["lift_within"] = dg.MetadataValue.float(evaluation.lift_within.value)
        rivals = {
            "kind": [candidate.model.kind for candidate in learned.candidates],
            "auc_within": [
                _interval(candidate.evaluation.auc_within) for candidate in learned.candidates
            ],
        }
        metadata["candidates"] = table(pd.DataFrame(rivals))
    return metadata


def _card(card: Card) -> dict[str, dg.MetadataValue]:
    strongest = {each.name: round(each.mean, 3) for each in card.influences[:MOST_BARS]}
    columns = ["name", "family", "mean", "description"]
    described = pd.DataFrame([vars(each) for each in card.influences])[columns]
    return {
        "calibration": calibration_plot(
            "Expected and observed share won", [(b.expected, b.observed) for b in card.calibration]
        ),
        "calibration_bins": table(pd.DataFrame([vars(b) for b in card.calibration]).round(4)),
        "influence": bars("Mean absolute contribution, in logits", strongest),
        "influences": table(described.round({"mean": 4})),
    }


def _figures(evaluation: Evaluation) -> pd.DataFrame:
    figures = {told: getattr(evaluation, name) for name, told in MEASURES.items()}
    rows = [
        {"measure": told, "value": f"{each.value:.3f}", "95 % interval": _range(each)}
        for told, each in figures.items()
        if each is not None
    ]
    counts = {"leads measured on": evaluation.leads, "of them won": evaluation.won}
    rows += [
        {"measure": told, "value": str(count), "95 % interval": ""}
        for told, count in counts.items()
    ]
    return pd.DataFrame(rows)


def _interval(figure: Figure) -> str:
    return f"{figure.value:.3f} ({_range(figure)})"


def _range(figure: Figure) -> str:
    return f"{figure.low:.3f} to {figure.high:.3f}"
