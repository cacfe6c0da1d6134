"""Modelyard: one manifest from raw text to a trained, evaluated, traceable, answering model.

The verbs of the command line, in Python:

    import modelyard

    status = modelyard.run("examples/quickstart.yaml")
    model = modelyard.load("registry://quickstart@candidate")
    model.generate("The function returns")[0].text
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from modelyard.infer import Model
    from modelyard.records import StatusDocument
    from modelyard.spec import EvaluationJob, TrainingJob

__version__ = "0.1.0"
__all__ = ["__version__", "load", "run"]


def run(
    job: TrainingJob | EvaluationJob | str | Path,
    *,
    root: str | Path = ".",
    yard: str | Path | None = None,
    overrides: Sequence[str] = (),
    fresh: bool = False,
    verify: bool = False,
    quiet: bool = False,
) -> StatusDocument:
    """Run one job to its end, as `modelyard run -f` does, and return its status document.

    `job` is a manifest's path or a spec object. `root` is where relative paths start; the yard is `root/yard` unless
    named; `overrides` are `--set`'s (for a path only). Raises what the command line tells: ManifestError,
    GateFailedError, StoppedError, BadDataError, …
    """
    from modelyard import workflow
    from modelyard.errors import UsageError
    from modelyard.spec import check
    from modelyard.spec import load as load_manifests
    from modelyard.workflow.lines import PlainLines
    from modelyard.yard import open_yard

    if isinstance(job, str | Path):
        manifests = load_manifests([job], overrides=overrides)
        if len(manifests) != 1:
            raise UsageError(f"{job} holds {len(manifests)} documents; name a file with one, or pass the object")
        manifest = manifests[0]
    else:
        check(job)
        manifest = job
    root = Path(root).resolve()
    return workflow.run(
        manifest,
        root=root,
        yard=open_yard(Path(yard) if yard else root / "yard"),
        options=workflow.RunOptions(fresh=fresh, verify=verify),
        listener=(lambda news: None) if quiet else PlainLines(),
    )


def load(reference: str | Path, *, root: str | Path = ".", yard: str | Path | None = None) -> Model:
    """Open a model to ask it: `registry://name@alias-or-version` (its bytes are verified first), or a folder.

    `name@alias-or-version` alone will do. Raises NotFoundError, IntegrityError (a file is not as registered).
    """
    from modelyard.infer import open_model
    from modelyard.registry import SCHEME, names_folder
    from modelyard.workflow.references import resolve_model
    from modelyard.yard import Yard, open_yard

    root = Path(root).resolve()
    place = Path(yard) if yard else root / "yard"
    if isinstance(reference, Path) or names_folder(reference, root=root):
        return open_model(resolve_model(str(reference), root=root, yard=Yard(place)).folder)  # no yard need be there
    name = SCHEME + reference.removeprefix(SCHEME)
    return open_model(resolve_model(name, root=root, yard=open_yard(place, create=False)).folder)
