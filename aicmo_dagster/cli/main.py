"""The entry point: finding commands, and turning errors into exit codes. Not here: any command."""

import importlib
import logging
import sys

import click
from rich.console import Console

from aicmo_dagster.errors import AicmoError

COMMANDS = {
    "demo": ("aicmo_dagster.cli.demo", "demo"),
    "campaign": ("aicmo_dagster.cli.campaign", "campaign"),
    "run": ("aicmo_dagster.cli.run", "run"),
    "explain": ("aicmo_dagster.cli.leads", "explain"),
    "override": ("aicmo_dagster.cli.overrides", "override"),
    "overrides": ("aicmo_dagster.cli.overrides", "overrides"),
    "suppress": ("aicmo_dagster.cli.leads", "suppress"),
    "export": ("aicmo_dagster.cli.export", "export"),
    "simulate": ("aicmo_dagster.cli.simulate", "simulate"),
    "model": ("aicmo_dagster.cli.model", "model"),
    "erase": ("aicmo_dagster.cli.erase", "erase"),
    "handoff": ("aicmo_dagster.cli.handoff", "handoff"),
    "token": ("aicmo_dagster.cli.token", "token"),
    "unknown": ("aicmo_dagster.cli.unknown", "unknown"),
    "migrate-from": ("aicmo_dagster.cli.relocate", "migrate_from"),
    "restored": ("aicmo_dagster.cli.relocate", "restored"),
    "api": ("aicmo_dagster.cli.api", "api"),
    "dev": ("aicmo_dagster.cli.dev", "dev"),
    "hook": ("aicmo_dagster.cli.hook", "hook"),
    "doctor": ("aicmo_dagster.cli.doctor", "doctor"),
}
"""Command to its module and name; a module is imported when its command is used."""


class Commands(click.Group):
    """The commands of the table above."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """In the order of the table."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command, its module imported now."""
        if cmd_name not in COMMANDS:
            return None
        module, name = COMMANDS[cmd_name]
        command = getattr(importlib.import_module(module), name)
        assert isinstance(command, click.Command)
        return command


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--debug", is_flag=True, help="Show the traceback of an error.")
@click.version_option(package_name="aicmo-dagster")
def aicmo(debug: bool) -> None:
    """Run outbound campaigns from leads to replies, as a Dagster project."""
    if not debug:
        logging.disable(logging.CRITICAL)


def main() -> None:
    """Runs the command line; 0: done, 1: could not be done, 2: bad input."""
    sys.exit(invoke(sys.argv[1:]))


def invoke(arguments: list[str]) -> int:
    """Runs one command line and tells its exit code; errors are told on standard error."""
    debug = "--debug" in arguments
    try:
        # Click hands back an exit code where a command ends early, and nothing where it is done.
        return aicmo.main(arguments, prog_name="aicmo", standalone_mode=False) or 0
    except click.ClickException as error:
        error.show()
        return 2
    except click.Abort:
        return 130
    except AicmoError as error:
        if debug:
            raise
        Console(stderr=True).print(f"aicmo: {error}", markup=False, highlight=False, soft_wrap=True)
        return error.exit_code
    except Exception as error:  # the boundary to a person, who is not to meet a traceback
        if debug:
            raise
        text = (
            f"aicmo: {type(error).__name__}: an error of AICMO's own; 'aicmo --debug ...' shows it"
        )
        Console(stderr=True).print(text, markup=False, soft_wrap=True)
        return 1


if __name__ == "__main__":
    main()
