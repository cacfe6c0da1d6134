"""The verbs of `modelyard`, and the one place where an error becomes words and an exit code.

Verb modules import nothing heavy at their top: `modelyard --help` must answer in half a second.
"""

from __future__ import annotations

import sys
import tempfile
import traceback
from typing import Any

import typer
from typer.core import TyperCommand, TyperGroup

from modelyard.cli import (
    alias,
    explain,
    generate,
    init,
    logs,
    models,
    report,
    run,
    runs,
    schema,
    serve,
    status,
    trace,
    validate,
)
from modelyard.errors import ModelyardError, UsageError


class ManifestCommand(TyperCommand):
    """A verb that takes manifests with -f, and says so where `job.yaml` stands alone."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Refuse a manifest's name where only options stand."""
        if not any(arg.startswith(("-f", "--file")) for arg in args):
            bare = next((arg for arg in args if arg.endswith((".yaml", ".yml", ".json")) and arg[0] != "-"), None)
            if bare:
                raise UsageError(f"{self.name} takes manifests with -f", hint=f"modelyard {self.name} -f {bare}")
        return super().parse_args(ctx, args)


class _Verbs(TyperGroup):
    """The verbs; a Ctrl-C that none of them heard is told, where typer would exit without a word."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            _tell("interrupted", "")
            raise typer.Exit(130) from None


app = typer.Typer(
    name="modelyard",
    cls=_Verbs,
    help="One manifest from raw text to a trained, evaluated, traceable, answering language model.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)

# In the order in which a new user meets them.
app.command("init")(init.init)
app.command("validate", cls=ManifestCommand)(validate.validate)
app.command("run", cls=ManifestCommand)(run.run)
app.command("status")(status.status)
app.command("logs")(logs.logs)
app.command("runs")(runs.runs)
app.command("report")(report.report)
app.command("models")(models.models)
app.command("serve", cls=ManifestCommand)(serve.serve)
app.command("generate")(generate.generate)
app.command("trace")(trace.trace)
app.command("alias")(alias.alias)
app.command("explain")(explain.explain)
app.command("schema")(schema.schema)


def _print_version(wanted: bool) -> None:
    if wanted:
        from modelyard import __version__

        typer.echo(f"modelyard {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: bool = typer.Option(False, "--version", callback=_print_version, is_eager=True, help="Print the version."),
) -> None:
    pass


def main() -> None:
    """The console script: run a verb; a ModelyardError ends in its message, its hint and its exit code."""
    try:
        app()
    except ModelyardError as error:
        _tell(str(error), error.hint)
        sys.exit(error.exit_code)
    except BrokenPipeError:  # `modelyard runs | head`
        sys.stderr.close()
        sys.exit(1)
    except Exception as error:
        with tempfile.NamedTemporaryFile("w", prefix="modelyard-error-", suffix=".log", delete=False) as log:
            traceback.print_exc(file=log)
        _tell(f"internal error: {type(error).__name__}: {error}", f"this is a bug; its traceback is in {log.name}")
        sys.exit(1)


def _tell(message: str, hint: str) -> None:
    for number, line in enumerate(message.splitlines() or [""]):
        typer.echo(f"error: {line}" if number == 0 else f"       {line}", err=True)
    if hint:
        typer.echo(f"hint:  {hint}", err=True)
