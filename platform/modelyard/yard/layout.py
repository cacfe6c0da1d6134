"""Where things lie in a yard. Paths only: what is in them belongs to the rooms that write them."""

from __future__ import annotations

import difflib
import json
import logging
import re
from dataclasses import dataclass
from pathlib import Path

from modelyard.errors import IntegrityError, InvalidInputError, NewerLayoutError, NotFoundError, StorageError
from modelyard.yard.publishing import durable_folder, publish, storage_errors
from modelyard.yard.reading import read_bytes

log = logging.getLogger(__name__)

SCHEMA = 1
MARKER = "yard.json"
NAME = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
RUN_ID = re.compile(r"[a-z0-9]([-.a-z0-9]{0,198}[a-z0-9])?")  # <namespace>.<name>-<8 of the training digest>


@dataclass(frozen=True)
class RunFolder:
    """A run's folder and the places in it."""

    run_id: str
    path: Path

    @property
    def manifest(self) -> Path:
        return self.path / "manifest.yaml"

    @property
    def resolved(self) -> Path:
        return self.path / "resolved.yaml"

    @property
    def status(self) -> Path:
        return self.path / "status.json"

    @property
    def events(self) -> Path:
        return self.path / "events.jsonl"

    @property
    def driver_log(self) -> Path:
        return self.path / "driver.log"

    @property
    def control(self) -> Path:
        """What the driver asks of its workers, polled by rank 0 each step."""
        return self.path / "control.json"

    @property
    def attempts(self) -> Path:
        """The claims on the run, numbered."""
        return self.path / "attempts"

    @property
    def train(self) -> Path:
        return self.path / "train"

    @property
    def metrics(self) -> Path:
        return self.train / "metrics.jsonl"

    @property
    def logs(self) -> Path:
        return self.train / "logs"

    @property
    def checkpoints(self) -> Path:
        return self.train / "checkpoints"

    @property
    def tensorboard(self) -> Path:
        return self.train / "tensorboard"

    @property
    def export(self) -> Path:
        return self.train / "export"

    @property
    def evaluate(self) -> Path:
        return self.path / "evaluate"

    @property
    def report(self) -> Path:
        return self.path / "report.html"

    def stages(self, name: str) -> Path:
        """The record of a finished stage."""
        return self.path / "stages" / f"{checked_name(name, 'stage')}.json"


@dataclass(frozen=True)
class Yard:
    """A yard that was opened: its root is absolute and of a layout that this Modelyard knows."""

    root: Path

    def run(self, run_id: str) -> RunFolder:
        """The folder of a run, whether it exists or not."""
        if not RUN_ID.fullmatch(run_id):
            raise InvalidInputError(f"{run_id!r} is not a run id", hint="`modelyard runs` lists them")
        run = RunFolder(run_id, self._inside(self.root / "runs" / run_id))
        for folder in (run.attempts, run.checkpoints, run.logs, run.export, run.evaluate, run.stages("train").parent):
            self._inside(folder)
        return run

    def dataset_folder(self, digest: str) -> Path:
        """The folder of a prepared dataset: `data/<first 16 hex>`."""
        return self._inside(self.root / "data" / short_digest(digest))

    def model_folder(self, name: str, version: int) -> Path:
        """The folder of a model version."""
        if version < 1:
            raise InvalidInputError(f"version {version} of {name!r}: versions count from 1")
        return self._inside(self.model(name) / str(version))

    def model(self, name: str) -> Path:
        """The folder of a model's versions, claims and aliases."""
        return self._inside(self.models / checked_name(name, "model"))

    @property
    def models(self) -> Path:
        return self.root / "models"

    def runs(self) -> list[RunFolder]:
        """All runs, by id; one that a symbolic link leads out of the yard is left out with a warning."""
        folder = self.root / "runs"
        with storage_errors("read", folder):
            entries = sorted(folder.iterdir()) if folder.is_dir() else []
        found = []
        for entry in entries:
            if RUN_ID.fullmatch(entry.name) and entry.is_dir():
                try:
                    found.append(self.run(entry.name))
                except StorageError as error:
                    log.warning("warning: %s", error)
        return found

    def find_run(self, run_or_job: str) -> RunFolder:
        """A run by its id, or the latest of a job's name; raises NotFoundError that names near ones."""
        if RUN_ID.fullmatch(run_or_job) and (self.root / "runs" / run_or_job).is_dir():
            return self.run(run_or_job)
        runs = self.runs()
        of_job = [run for run in runs if job_name(run.run_id) == run_or_job]
        if of_job:
            return max(of_job, key=_last_touched)
        known = sorted({run.run_id for run in runs} | {job_name(run.run_id) for run in runs})
        near = difflib.get_close_matches(run_or_job, known, n=3, cutoff=0.5)
        if near:
            hint = f"did you mean {' or '.join(near)}?"
        else:
            hint = "`modelyard runs` lists them" if runs else "this yard has no runs yet"
        raise NotFoundError(f"no run and no job {run_or_job!r} in {self.root}", hint=hint)

    def _inside(self, path: Path) -> Path:
        """Refuse a path that a symbolic link leads out of the yard."""
        if not path.resolve().is_relative_to(self.root):
            raise StorageError(
                f"{path} leads out of the yard {self.root} through a symbolic link",
                hint="replace the link by a folder (to keep a yard elsewhere, move the whole yard: --yard)",
            )
        return path


def open_yard(path: Path, *, create: bool = True) -> Yard:
    """Open a yard, making it first when `create`. A symbolic link to a whole yard is followed.

    Raises NotFoundError without one, NewerLayoutError, IntegrityError (not a yard), StorageError (full, read-only).
    """
    root = path.expanduser().resolve()
    marker = root / MARKER
    text = read_bytes(marker)
    if text is None:
        if not create:
            raise NotFoundError(f"no yard at {root}", hint="`modelyard run` makes one; --yard names another")
        _refuse_foreign(root)
        durable_folder(root)
        publish(marker, (json.dumps({"schema": SCHEMA}) + "\n").encode())
    else:
        _check_schema(marker, text)
    return Yard(root)


def job_name(run_id: str) -> str:
    """The job's name in a run id `<name>-<8 hex>` (on a cluster `<namespace>.<name>-<8 hex>`)."""
    return run_id.rsplit("-", 1)[0].rsplit(".", 1)[-1]


def short_digest(digest: str) -> str:
    """The first 16 hex digits of a digest: what folders are named by."""
    short = digest.removeprefix("sha256:")[:16]
    if not re.fullmatch(r"[0-9a-f]{16}", short):
        raise InvalidInputError(f"{digest!r} is not a digest (sha256:<64 hex>)")
    return short


def checked_name(name: str, what: str) -> str:
    """A name that is a label and so never a path; raises InvalidInputError that says the rule."""
    if not NAME.fullmatch(name):
        raise InvalidInputError(
            f"{name!r} is no name for {'an' if what[0] in 'aeiou' else 'a'} {what}",
            hint="lower-case letters, digits and inner dashes, at most 63: [a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?",
        )
    return name


def _check_schema(marker: Path, text: bytes) -> None:
    try:
        schema = json.loads(text)["schema"]
    except (ValueError, KeyError, TypeError) as error:
        raise IntegrityError(
            f"{marker} is damaged: it does not describe a yard",
            hint=f'a yard of layout {SCHEMA} has {{"schema": {SCHEMA}}} there',
        ) from error
    if not isinstance(schema, int) or schema > SCHEMA:
        raise NewerLayoutError(
            f"the yard {marker.parent} has layout {schema}; this Modelyard knows up to {SCHEMA}",
            hint="use the Modelyard that wrote it or a newer one, or another yard (--yard)",
        )


def _refuse_foreign(root: Path) -> None:
    with storage_errors("read", root):
        names = {entry.name for entry in root.iterdir()} if root.is_dir() else set()
    # The marker and a temporary name: another process makes the same yard at this moment.
    names = {name for name in names if not name.startswith(".")}
    if not names <= {MARKER, "data", "models", "runs", "lost+found"}:
        raise InvalidInputError(
            f"{root} is a folder of something else ({', '.join(sorted(names)[:3])} …), not a yard",
            hint="name an empty or new folder with --yard",
        )


def _last_touched(run: RunFolder) -> tuple[float, str]:
    newest = run.status if run.status.exists() else run.path
    return newest.stat().st_mtime, run.run_id
