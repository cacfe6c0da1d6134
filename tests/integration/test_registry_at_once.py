"""Eight processes register and move aliases in one registry at once: no number twice, no update lost."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest

from modelyard.registry import Registry, open_registry
from modelyard.yard import open_yard
from support.racers import race, register

RACERS = 8


@pytest.fixture
def registry(tmp_path: Path) -> Registry:
    return open_registry(open_yard(tmp_path / "yard"))


def _model(folder: Path, content: str) -> Path:
    folder.mkdir()
    (folder / "config.json").write_text(content)
    (folder / "model.safetensors").write_text(content * 1000)
    return folder


def test_different_registrations_at_once_get_different_numbers(registry: Registry, tmp_path: Path) -> None:
    models = [_model(tmp_path / f"model-{number}", str(number)) for number in range(RACERS)]
    numbers = race("register", registry.yard.root, [[str(model), f"job-{n:08x}"] for n, model in enumerate(models)])
    assert sorted(numbers) == list(range(1, RACERS + 1))
    for number, model in zip(numbers, models, strict=True):
        version = registry.resolve(f"quickstart@{number}")
        registry.verify(version)
        assert (version.folder / "config.json").read_text() == (model / "config.json").read_text()


def test_the_same_registration_at_once_is_one_version(registry: Registry, tmp_path: Path) -> None:
    model = _model(tmp_path / "model", "x")
    assert race("register", registry.yard.root, [[str(model), "job-0123abcd"]] * RACERS) == [1] * RACERS
    assert [record.version for record in registry.versions("quickstart")] == [1]
    registry.verify(registry.resolve("quickstart"))


def test_alias_moves_at_once_lose_no_update(registry: Registry, tmp_path: Path) -> None:
    for number in (1, 2):
        register(registry, str(_model(tmp_path / f"model-{number}", str(number))), f"job-{number:08x}")
    times = 10
    told = race("move", registry.yard.root, [[str(who), str(times)] for who in range(RACERS)])
    assert told == [list(range(1, times + 1))] * RACERS
    shared = registry.alias("quickstart", "shared")
    assert shared is not None
    assert shared.revision == len(shared.history)
    assert shared.version == shared.history[-1].version
    assert len({change.reason for change in shared.history}) == len(shared.history)
    turns = [change.version for change in shared.history]
    assert all(one != other for one, other in itertools.pairwise(turns))


def test_of_moves_that_expect_the_same_revision_one_wins(registry: Registry, tmp_path: Path) -> None:
    for number in (1, 2):
        register(registry, str(_model(tmp_path / f"model-{number}", str(number))), f"job-{number:08x}")
    told = race("swap", registry.yard.root, [[str(who), str(1 + who % 2)] for who in range(RACERS)])
    assert sorted(told) == ["ConflictError"] * (RACERS - 1) + ["moved"]
    contested = registry.alias("quickstart", "contested")
    assert contested is not None
    assert len(contested.history) == 1
