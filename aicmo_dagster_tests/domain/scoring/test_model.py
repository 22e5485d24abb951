from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aicmo_dagster.domain.scoring.binning import CategoryBins, NumberBins
from aicmo_dagster.domain.scoring.dimensions import Dimension
from aicmo_dagster.domain.scoring.model import POINTS, Model, Table, logit_of, score
from aicmo_dagster.domain.scoring.model_documents import from_document, to_document, version
from aicmo_dagster.errors import BadInput
from aicmo_dagster_tests.domain.scoring.histories import texts

LOGITS = st.floats(-1e6, 1e6, allow_nan=False)
EDGES = st.lists(st.floats(-1e9, 1e9), max_size=8, unique=True)
NAMES = st.lists(st.text(max_size=5), max_size=8, unique=True)


@st.composite
def tables(draw: st.DrawFn, name: str) -> Table:
    bins: NumberBins | CategoryBins
    if draw(st.booleans()):
        bins = NumberBins(tuple(sorted(draw(EDGES))))
    else:
        bins = CategoryBins(tuple(sorted(draw(NAMES))))
    parts = draw(st.lists(LOGITS, min_size=bins.count, max_size=bins.count))
    return Table(Dimension(name, "fit", "", ""), bins, tuple(parts), (1,) * bins.count)


@st.composite
def models(draw: st.DrawFn) -> Model:
    count = draw(st.integers(1, 12))
    return Model(
        kind="anchored",
        tables=tuple(draw(tables(f"d{number}")) for number in range(count)),
        base=draw(LOGITS),
        base_rate=draw(st.floats(0.001, 0.999)),
        shift=draw(LOGITS),
        score_edges=(0.0,),
        score_leads=(1, 1),
        window={"leads": 2},
        data_hash="0",
        metrics={"auc": draw(LOGITS)},
        provenance={"code": draw(st.text())},
    )


@st.composite
def frames(draw: st.DrawFn, model: Model) -> pd.DataFrame:
    rows = draw(st.integers(0, 6))
    columns = {}
    for table in model.tables:
        numbers = st.one_of(st.just(np.nan), st.floats())
        names = st.one_of(st.none(), st.sampled_from(["", *getattr(table.bins, "values", ())]))
        cell = names if table.kind == "category" else numbers
        cells = draw(st.lists(cell, min_size=rows, max_size=rows))
        as_column = texts if table.kind == "category" else pd.Series
        columns[table.dimension.name] = as_column(cells, **_float(table))
    return pd.DataFrame(columns)


def _float(table: Table) -> dict[str, type]:
    return {} if table.kind == "category" else {"dtype": np.float64}


@given(st.data())
@settings(max_examples=60, deadline=None)
def test_base_and_contributions_sum_to_the_logit_of_every_lead(data: st.DataObject) -> None:
    model = data.draw(models())
    scores = score(model, data.draw(frames(model)))
    total = np.array([float(np.sum(row)) for row in scores.contributions])
    # The parts are of up to 1e6 here, whose last bit is worth 1e-10; those of a logit are below 50.
    tolerance = 1e-9 * max(1.0, np.abs(scores.contributions).max(initial=1.0) / 50)
    assert np.abs(scores.base + total - scores.logit).max(initial=0.0) <= tolerance
    assert ((scores.probability >= 0) & (scores.probability <= 1)).all()


@given(st.data())
@settings(max_examples=40, deadline=None)
def test_a_stored_model_scores_each_lead_to_the_bit_alone_or_among_others(
    data: st.DataObject,
) -> None:
    model = data.draw(models())
    frame = data.draw(frames(model))
    stored = from_document(to_document(model))
    assert stored == model
    assert version(stored) == version(model)
    together = score(model, frame)
    for row in range(len(frame)):
        alone = score(stored, frame.iloc[[row]])
        assert alone.logit.tobytes() == together.logit[[row]].tobytes()
        assert alone.probability.tobytes() == together.probability[[row]].tobytes()
        assert alone.contributions.tobytes() == together.contributions[[row]].tobytes()


def _model() -> Model:
    visits = Dimension("visits", "engagement", "Visits.", "visits", 1)
    channel = Dimension("channel", "custom", "Channel.", "category")
    return Model(
        kind="additive",
        tables=(
            Table(visits, NumberBins((1.0,)), (-0.5, 1.0, 0.25), (4, 2, 0)),
            Table(channel, CategoryBins(("ads",)), (0.1, -0.1, 0.5), (3, 3, 0)),
        ),
        base=-1.0,
        base_rate=0.25,
        shift=0.125,
        score_edges=(),
        score_leads=(6,),
        window={},
        data_hash="",
        metrics={},
        provenance={},
    )


def test_each_dimension_gives_what_its_table_says() -> None:
    frame = pd.DataFrame({"visits": [0.0, 3.0, np.nan], "channel": texts(["ads", None, "fair"])})
    scores = score(_model(), frame)
    assert scores.contributions.tolist() == [[-0.5, 0.1], [1.0, 0.5], [0.25, -0.1]]
    assert scores.base.tolist() == [-0.875] * 3
    assert scores.names == ("visits", "channel")


def test_a_lead_of_which_nothing_is_known_has_the_base_rate() -> None:
    frame = pd.DataFrame({"visits": [np.nan, 1.0], "channel": texts([None, None])})
    scores = score(_model(), frame)
    assert scores.nothing_known.tolist() == [True, False]
    assert scores.contributions[0].tolist() == [0.0, 0.0]
    assert scores.logit[0] == pytest.approx(logit_of(0.25) + 0.125)


def test_of_a_lead_that_has_nothing_but_its_points_nothing_is_known() -> None:
    points = Table(POINTS, NumberBins((1.0,)), (-2.0, 2.0, 0.0), (3, 3, 0))
    model = replace(_model(), tables=(*_model().tables, points))
    frame = pd.DataFrame({"visits": [np.nan], "channel": texts([None]), "points": [0.0]})
    scores = score(model, frame)
    assert scores.nothing_known.tolist() == [True]
    assert scores.contributions.tolist() == [[0.0, 0.0, 0.0]]
    assert scores.logit[0] == pytest.approx(logit_of(0.25) + 0.125)


def test_an_absent_column_counts_as_missing_and_is_named() -> None:
    scores = score(_model(), pd.DataFrame({"visits": [0.0], "more": [1.0]}))
    assert scores.absent == ("channel",)
    assert scores.contributions.tolist() == [[-0.5, 0.5]]


def test_text_where_numbers_were_learned_is_refused_by_name() -> None:
    with pytest.raises(BadInput, match="visits"):
        score(_model(), pd.DataFrame({"visits": texts(["many"])}))


def test_the_same_content_has_the_same_version_and_another_another() -> None:
    changed = from_document(to_document(_model()).replace('"shift":0.125', '"shift":0.25'))
    assert version(_model()) == version(from_document(to_document(_model())))
    assert version(changed) != version(_model())
    assert len(version(changed)) == 16


@pytest.mark.parametrize(
    "document",
    ["", "[]", "{}", '{"format":2}', to_document(_model()).replace("[4,2,0]", "[4,2]")],
)
def test_what_is_no_model_document_is_refused(document: str) -> None:
    with pytest.raises(BadInput, match="model document"):
        from_document(document)
