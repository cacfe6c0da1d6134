"""`modelyard serve` before it starts anything: which manifest, which folder, what a program reads."""

from __future__ import annotations

import contextlib
import json
import os
import signal
from pathlib import Path

import pytest

from modelyard.cli import serve as verb
from modelyard.cli.output import Format
from modelyard.errors import InvalidInputError, NotFoundError
from modelyard.serve.service import Served

DEPLOYMENT = """\
apiVersion: modelyard.dev/v1alpha1
kind: ModelDeployment
metadata: {name: tiny}
spec: {model: ./model}
"""


def write(folder: Path, text: str) -> list[str]:
    (folder / "deployment.yaml").write_text(text)
    return [str(folder / "deployment.yaml")]


def test_two_deployments_are_one_too_many(tmp_path: Path) -> None:
    files = write(tmp_path, DEPLOYMENT + "---\n" + DEPLOYMENT.replace("name: tiny", "name: other"))
    with pytest.raises(InvalidInputError, match=r"exactly one ModelDeployment.*tiny, ModelDeployment other"):
        verb._one_deployment(files, [])


def test_overrides_reach_the_manifest(tmp_path: Path) -> None:
    deployment = verb._one_deployment(write(tmp_path, DEPLOYMENT), ["spec.api.port=0"])
    assert deployment.spec.api.port == 0


def test_a_folder_is_served_under_the_deployments_name_and_its_digest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    deployment = verb._one_deployment(write(tmp_path, DEPLOYMENT), [])
    with pytest.raises(NotFoundError, match=r"has no config\.json"):
        verb._verified(deployment, None)
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "config.json").write_text("{}")
    folder, served = verb._verified(deployment, None)
    assert folder == tmp_path / "model"
    assert served.name == "tiny"
    assert served.version.startswith("tiny@")
    (tmp_path / "model" / "config.json").write_text("{ }")
    assert verb._verified(deployment, None)[1].version != served.version


def test_programs_read_the_ready_event_and_nothing_else(capsys: pytest.CaptureFixture[str]) -> None:
    say = verb._Sayer(Format.json)
    say("starting Ray")
    say.ready("http://127.0.0.1:8000", Served("tiny", "tiny@3"), 1.0)
    told = capsys.readouterr()
    assert json.loads(told.out) == {
        "event": "ready",
        "url": "http://127.0.0.1:8000",
        "model": "tiny",
        "version": "tiny@3",
    }
    assert told.err == "starting Ray\n"


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_signals_end_in_their_exit_codes_and_handlers_come_back(number: signal.Signals, code: int) -> None:
    before = signal.getsignal(number)
    # Ray's start suppresses every Exception
    with pytest.raises(verb._Stopped) as stopped, verb._stopping_signals(), contextlib.suppress(Exception):
        os.kill(os.getpid(), number)
    assert stopped.value.exit_code == code
    assert signal.getsignal(number) is before
