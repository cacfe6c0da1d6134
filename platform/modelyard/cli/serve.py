"""`modelyard serve -f deployment.yaml`: a verified model version behind an OpenAI-shaped endpoint, until Ctrl-C."""

from __future__ import annotations

import contextlib
import json
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Annotated

import typer

from modelyard.cli.output import Format, OutputOption, YardOption

if TYPE_CHECKING:
    from modelyard.serve.service import Served
    from modelyard.spec import ModelDeployment


def serve(
    *,
    file: Annotated[list[str], typer.Option("-f", "--file", help="A manifest of one ModelDeployment; - is stdin.")],
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", help="Override a field: spec.api.port=8001.", metavar="PATH=VALUE"),
    ] = None,
    yard: YardOption = None,
    output: OutputOption = Format.table,
) -> None:
    """Serve a ModelDeployment on this machine: /v1/completions, /v1/chat/completions, /v1/models, /health, /metrics.

    Ctrl-C (or SIGTERM) lets answers in flight finish, refuses new ones, and leaves no process. Exit codes: 130 and
    143 after such a stop, 1 when serving failed, 2 when the manifest is wrong or the port is in use.
    """
    from modelyard.spec import local_notes

    began = time.monotonic()
    say = _Sayer(output)
    try:
        with _stopping_signals():
            deployment = _one_deployment(file, set_ or ())
            for note in local_notes(deployment):
                say(note)
            folder, served = _verified(deployment, yard)
            _serve(deployment, folder, served, say, began)
    except _Stopped as stopped:
        say("stopped; no process is left")
        raise typer.Exit(stopped.exit_code) from None


def _serve(deployment: ModelDeployment, folder: Path, served: Served, say: _Sayer, began: float) -> None:
    from modelyard.serve import on_ray

    serving = on_ray.start(deployment, folder, served, progress=say)
    try:
        say.ready(serving.url, served, time.monotonic() - began)
        serving.wait()
    finally:
        say("stopping: answers in flight may finish")
        serving.stop()


def _one_deployment(files: list[str], overrides: list[str] | tuple[str, ...]) -> ModelDeployment:
    from modelyard.errors import InvalidInputError
    from modelyard.spec import ModelDeployment, load

    manifests = load(files, overrides=overrides)
    deployments = [manifest for manifest in manifests if isinstance(manifest, ModelDeployment)]
    if len(deployments) != 1 or len(manifests) != 1:
        kinds = ", ".join(f"{manifest.kind} {manifest.metadata.name}" for manifest in manifests) or "nothing"
        raise InvalidInputError(f"serve takes exactly one ModelDeployment; {files[0]} has {kinds}")
    return deployments[0]


def _verified(deployment: ModelDeployment, yard: str | None) -> tuple[Path, Served]:
    """The model's folder, its files proved by the version's digests, and what it is called.

    A plain folder has no record to prove it by: its version is the beginning of its digest.
    """
    from modelyard.cli.places import storage_root, the_yard
    from modelyard.errors import NotFoundError
    from modelyard.registry import SCHEME, open_registry
    from modelyard.serve.service import Served
    from modelyard.yard import digest_folder

    reference = deployment.spec.model
    if reference.startswith(SCHEME):
        registry = open_registry(the_yard(yard))
        version = registry.resolve(reference)
        registry.verify(version)
        return version.folder, Served(version.record.name, version.label)
    folder = (storage_root() / reference).resolve()
    if not (folder / "config.json").is_file():
        raise NotFoundError(f"{folder} is no model folder: it has no config.json", hint="name a Hugging Face folder")
    digest, _ = digest_folder(folder)
    name = deployment.metadata.name
    return folder, Served(name, f"{name}@{digest.removeprefix('sha256:')[:12]}")


class _Sayer:
    """Words for people; programs get the ready event alone on stdout, the words go to stderr."""

    def __init__(self, output: Format) -> None:
        self._for_programs = output is not Format.table

    def __call__(self, words: str) -> None:
        typer.echo(words, err=self._for_programs)

    def ready(self, url: str, served: Served, seconds: float) -> None:
        if self._for_programs:
            event = {"event": "ready", "url": url, "model": served.name, "version": served.version}
            typer.echo(json.dumps(event))
            return
        body = json.dumps({"model": served.name, "prompt": "The", "max_tokens": 32})
        self(f"ready after {seconds:.1f} s: {served.version} at {url}/v1")
        self(f"try: curl {url}/v1/completions -H 'content-type: application/json' -d '{body}'")
        self("Ctrl-C stops it")


class _Stopped(BaseException):
    """A signal asked to stop. No Exception: Ray's start catches those, wherever in it the signal falls, and goes on."""

    def __init__(self, exit_code: int) -> None:
        super().__init__("stopped")
        self.exit_code = exit_code


@contextlib.contextmanager
def _stopping_signals() -> Iterator[None]:
    """Ctrl-C and SIGTERM end the block as _Stopped; a second one while it stops cuts the drain short."""

    def stop(number: int, frame: FrameType | None) -> None:
        raise _Stopped(128 + number)

    before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
