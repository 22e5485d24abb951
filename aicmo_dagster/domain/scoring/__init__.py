"""Scores from 0 to 100, each exactly the sum of its contributions.

The expert's points: `scorecard.score`. The learned model, from leads with outcomes to a score:

- `history.ripened` makes the labels, `answers.ripened_answers` those of replies and handoffs;
  `history.History` holds what is learned from, `pooling.pooled` that of several campaigns.
- `learning.learn` guards against leaks, trains, measures and judges; `Learned.promoted` is the
  model to score with from now on, if any.
- `model_documents.to_document`, `from_document` and `version` write a model down and name it.
- `model.score` gives logit, probability and contributions; the frame holds a column for each of
  `Model.dimensions`, for which `training.with_points` adds the expert's points.
- `calibration.recalibrated` moves the intercept; `drift.drift` and
  `drift.observed_against_expected` watch a model that is in use.
"""
