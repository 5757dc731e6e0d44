"""`contatto version`."""

import typer

from contatto import __version__


def version_command() -> None:
    """Print the version."""
    typer.echo(__version__)
