"""`aicmo hook`: the address that a provider is to call back."""

import click

from aicmo_dagster.domain.tokens import hook_key
from aicmo_dagster.settings import load_settings


@click.command()
@click.argument("provider", type=click.Choice(["dropcontact"]))
def hook(provider: str) -> None:
    """Print the address that PROVIDER is to call when a batch is ready; it holds a secret."""
    settings = load_settings()
    key = hook_key(settings.secret_key(), provider)
    click.echo(f"{settings.public_url}/hooks/{provider}?key={key}")
