"""Dagster's own folder, made and configured. Not here: Dagster."""

from pathlib import Path

import aicmo_dagster
from aicmo_dagster.settings import Settings


def prepare_dagster_home(settings: Settings) -> None:
    """Dagster's folder holds the project's dagster.yaml, unless the user put one there."""
    settings.dagster_home.mkdir(parents=True, exist_ok=True)
    configuration = settings.dagster_home / "dagster.yaml"
    ours = Path(aicmo_dagster.__file__).parent / "dagster.yaml"
    if configuration.is_symlink() and configuration.resolve() != ours.resolve():
        configuration.unlink()
    if not configuration.exists():
        configuration.symlink_to(ours.resolve())
