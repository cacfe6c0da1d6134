"""From the text of an installed Python to a model that answers over HTTP: what `make quickstart` runs.

    python examples/quickstart.py

Four steps, each a command that one can run alone: collect a corpus, `modelyard run`, `modelyard serve`, one question.
What stands already is found, not made again: a second call trains nothing and starts no server.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx

from modelyard.errors import ModelyardError
from modelyard.records import EvaluationRecord, StatusDocument
from modelyard.yard import RunFolder, Yard, open_yard, read_record, read_stage, replace

PYTHON = sys.executable
MANIFEST, DEPLOYMENT = "examples/quickstart.yaml", "examples/quickstart-deployment.yaml"
QUESTION = {"prompt": "Return the", "max_tokens": 48, "temperature": 0.7, "top_p": 0.95, "seed": 7}
BETTER_THAN_UNIGRAM = 0.15  # the least by which a model that learnt something beats counting tokens
SERVER_START_SECONDS = 180


def main() -> int:
    began = time.monotonic()
    print("1/4 corpus: the docstrings of Python's standard library")
    call(PYTHON, "examples/collect_corpus.py")
    print(f"2/4 modelyard run -f {MANIFEST}")
    status, folder, yard, trained = train()
    evaluation = evaluation_of(folder, yard)
    standing = answer_of(folder, status)
    if standing:
        print("3/4 modelyard serve: not started, this version has answered before")
        print(f"4/4 its answer: {said(standing)}")
    else:
        standing = serve_and_ask(folder)
    anew = "" if trained else ": everything stood already, nothing was trained, no server was started"
    print(f"\ndone in {time.monotonic() - began:.0f} s{anew}\n")
    return tell(status, folder, evaluation, standing)


def call(*command: str) -> None:
    """Run a command to its end. Ctrl-C reaches it too: it saves what it has, and we leave with its exit code."""
    sys.stdout.flush()
    process = subprocess.Popen(command)
    while process.returncode is None:
        try:
            process.wait()
        except KeyboardInterrupt:
            continue
    if process.returncode:
        sys.exit(process.returncode if process.returncode > 0 else 128 - process.returncode)


def train() -> tuple[StatusDocument, RunFolder, Yard, bool]:
    """Run the job, which shows its own progress; also tell whether it trained or found everything standing."""
    status_file = Path("build/quickstart-status.json")
    yard = open_yard(Path(os.environ.get("MODELYARD_YARD", "yard")))
    before = {run.run_id: stage_times(run) for run in yard.runs()}
    call(PYTHON, "-m", "modelyard", "run", "-f", MANIFEST, "--status-out", str(status_file))
    status = read_record(status_file, StatusDocument)
    folder = yard.run(str(status.run_id))
    return status, folder, yard, before.get(folder.run_id) != stage_times(folder)


def stage_times(folder: RunFolder) -> list[str]:
    """When each finished stage was completed."""
    return [
        record.completed
        for name in ("prepare", "train", "evaluate", "register")
        if (record := read_stage(folder, name))
    ]


def evaluation_of(folder: RunFolder, yard: Yard) -> EvaluationRecord:
    """The record of the evaluate stage."""
    stage = read_stage(folder, "evaluate")
    assert stage is not None
    return read_record(
        yard.root / next(made.path for made in stage.outputs if made.name == "evaluation"), EvaluationRecord
    )


def serve_and_ask(folder: RunFolder) -> dict[str, Any]:
    """Start the server, stream one completion from it, stop it, and keep the answer beside the run."""
    with server(folder.path / "serve.log") as ready:
        print(f"    answering at {ready['url']}")
        print("4/4 POST /v1/completions, streamed")
        answer = {"model": ready["version"], "prompt": QUESTION["prompt"], "text": ask(ready), "question": QUESTION}
        print("    stopping the server")
    replace(folder.path / "answer.json", (json.dumps(answer, indent=1) + "\n").encode())
    return answer


@contextmanager
def server(log: Path) -> Iterator[dict[str, Any]]:
    """`modelyard serve` as a process of its own: yields what it says when it is ready, stops it in the end."""
    command = [PYTHON, "-m", "modelyard", "serve", "-f", DEPLOYMENT, "--set", "spec.api.port=0", "-o", "json"]
    print(f"3/4 modelyard serve -f {DEPLOYMENT}")
    with log.open("w") as errors:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors, text=True)
    try:
        yield first_words(process, log)
    finally:
        process.send_signal(signal.SIGINT)
        try:
            process.communicate(timeout=60)
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()


def first_words(process: subprocess.Popen[str], log: Path) -> dict[str, Any]:
    """The server's first line, which says that it is ready and where."""
    assert process.stdout is not None
    deadline = threading.Timer(SERVER_START_SECONDS, process.kill)
    deadline.start()
    line = process.stdout.readline()
    deadline.cancel()
    if not line:
        sys.exit(f"error: the server did not start; its words are in {log}:\n" + log.read_text()[-2000:])
    return dict(json.loads(line))


def ask(ready: dict[str, Any]) -> str:
    """Stream one completion and print it as it comes."""
    body = {"model": ready["model"], "stream": True, **QUESTION}
    print(f"    {QUESTION['prompt']}", end="", flush=True)
    pieces = []
    with httpx.stream("POST", f"{ready['url'].rstrip('/')}/v1/completions", json=body, timeout=60) as response:
        if response.is_error:
            sys.exit(f"\nerror: the server said {response.status_code}: {response.read().decode()}")
        for line in response.iter_lines():
            if line.startswith("data: ") and line != "data: [DONE]":
                pieces += [choice["text"] for choice in json.loads(line.removeprefix("data: "))["choices"]]
                print(pieces[-1].replace("\n", "\n    ") if pieces else "", end="", flush=True)
    print()
    return "".join(pieces)


def answer_of(folder: RunFolder, status: StatusDocument) -> dict[str, Any] | None:
    """What this very version answered before, when it did."""
    try:
        answer = dict(json.loads((folder.path / "answer.json").read_text()))
    except (OSError, ValueError):
        return None
    name = f"{status.model.name}@{status.model.version}" if status.model else ""
    return answer if answer.get("model") == name and answer.get("question") == QUESTION else None


def said(answer: dict[str, Any]) -> str:
    """Prompt and continuation on one line."""
    return " ".join(f"{answer['prompt']}{answer['text']}".split())


def tell(status: StatusDocument, folder: RunFolder, evaluation: EvaluationRecord, answer: dict[str, Any]) -> int:
    """The last words; 1 when the model did not learn enough."""
    (suite,) = evaluation.suites
    bits = next(metric for metric in suite.metrics if metric.metric == "bits_per_byte")
    unigram, xz = suite.references["unigram_bits_per_byte"], suite.references.get("xz_bits_per_byte")
    gain = 1 - bits.value / unigram
    command = os.path.relpath(Path(PYTHON).parent / "modelyard")
    print(
        f"learnt     {bits.value:.3f} bits per byte of the validation text, {bits.low:.3f} to {bits.high:.3f} at 95 %"
    )
    print(f"           {unigram:.3f} a unigram model of the same tokens: beaten by {gain:.1%}")
    if xz is not None:
        print(
            f"           {xz:.3f} xz -9 of the validation text"
            + (": not beaten by a model this small" if bits.value > xz else "")
        )
    print(f"says       {said(answer)}")
    print(f"run        {os.path.relpath(folder.path)}")
    print(f"report     {os.path.relpath(folder.report)}")
    print(f"try next   {command} generate {answer['model']} -p 'Raise an error if' -n 3")
    print(f"           {command} trace {answer['model']}")
    print(f"           {command} serve -f {DEPLOYMENT}")
    if gain < BETTER_THAN_UNIGRAM:
        print(f"error: the model must beat the unigram model by {BETTER_THAN_UNIGRAM:.0%}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]  # a text stream
    try:
        sys.exit(main())
    except ModelyardError as error:
        sys.exit(f"error: {error}")
    except KeyboardInterrupt:
        sys.exit(130)
