"""Options that do not go together: whoever gives one that would be left unread is told, instead of an answer to another question."""

from __future__ import annotations

import typer


def unread(context: typer.Context, beside: str, *names: str) -> None:
    """Raises BadParameter (exit code 2) where one of the parameters `names` was given. beside: what leaves them unread."""
    given = [one for one in context.command.params if one.name in names and _given(context, one.name)]
    if given:
        words = ", ".join(one.opts[0] if one.param_type_name == "option" else (one.name or "").upper() for one in given)
        raise typer.BadParameter(f"{words} would not be read {beside}: leave {'it' if len(given) == 1 else 'them'} out")


def _given(context: typer.Context, name: str) -> bool:
    source = context.get_parameter_source(name)
    return source is not None and source.name != "DEFAULT"
