"""Everything that knows Dagster, one file a concept. Not here: what a stage does (`stages`)."""
