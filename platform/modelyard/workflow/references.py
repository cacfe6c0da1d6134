"""From the names in a manifest (`./folder`, `registry://name@alias`) to a folder and its digest."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from modelyard import registry
from modelyard import yard as yards
from modelyard.errors import InvalidInputError, NotFoundError
from modelyard.records import ModelState
from modelyard.spec import ModelSpec

_REGISTRY = "registry://"
_HUB = "hf://"


@dataclass(frozen=True)
class ResolvedModel:
    """A model folder, the digest of its files, and how lineage names it (`name@3`, or the folder's path).

    `reference` resolves to the same again: a version, no alias. Of a registered version only: `registered`, as a status
    names it, and `dataset_digest`, of what it was trained on.
    """

    folder: Path
    digest: str
    label: str
    reference: str
    dataset_digest: str | None = None
    registered: ModelState | None = None


def resolve_model(reference: str, *, root: Path, yard: yards.Yard) -> ResolvedModel:
    """Find what a reference names; a registered version's bytes are verified.

    Raises NotFoundError, IntegrityError that names the damaged file, or InvalidInputError for a kind of name not built
    yet.
    """
    if reference.startswith(_REGISTRY):
        books = registry.open_registry(yard)
        found = books.resolve(reference)
        books.verify(found)
        version, folder = found
        label = f"{version.name}@{version.version}"
        registered = ModelState(name=version.name, version=version.version, digest=version.digest)
        return ResolvedModel(folder, version.digest, label, f"{_REGISTRY}{label}", version.dataset_digest, registered)
    if reference.startswith(_HUB):
        raise InvalidInputError(
            f"{reference}: reading from the Hugging Face hub is not built yet",
            hint="download the model's folder and name it by its path",
        )
    folder = (root / reference).resolve()
    if not (folder / "config.json").is_file():
        raise NotFoundError(f"{folder} is no model folder: it has no config.json", hint="name a Hugging Face folder")
    digest, _ = yards.digest_folder(folder)
    return ResolvedModel(folder, digest, str(folder), reference)  # with its slashes the label is no model's name


def resolve_once(resolved: dict[str, ResolvedModel], reference: str, *, root: Path, yard: yards.Yard) -> ResolvedModel:
    """As `resolve_model`, kept in `resolved`: hashed once, and an alias that moves meanwhile changes nothing."""
    if reference not in resolved:
        resolved[reference] = resolve_model(reference, root=root, yard=yard)
    return resolved[reference]


def tokenizer_folder(model: ModelSpec, *, root: Path, yard: yards.Yard) -> Path | None:
    """The folder of the tokenizer to use, None when one is to be trained: `tokenizer.from`, else the model's own."""
    if model.tokenizer and model.tokenizer.train:
        return None
    reference = model.tokenizer.from_ if model.tokenizer and model.tokenizer.from_ else model.from_
    if reference is None:
        return None
    if reference.startswith((_REGISTRY, _HUB)):
        return resolve_model(reference, root=root, yard=yard).folder
    folder = (root / reference).resolve()
    if not (folder / "tokenizer.json").is_file():
        raise NotFoundError(f"{folder} is no tokenizer folder: it has no tokenizer.json")
    return folder
