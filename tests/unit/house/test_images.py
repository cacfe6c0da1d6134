"""The Dockerfiles, as far as that goes without Docker: what they install, as whom they run, what they carry along.

`benchmarks/image_steps.py` goes through their install steps for real, in a fresh virtual environment.
"""

from __future__ import annotations

import re
import tomllib
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from modelyard_operator.plan.templates import USER_ID
from support.dockerfiles import arguments, install_steps, stages

ROOT = Path(__file__).parents[3]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
IMAGES = {"platform": ROOT / "platform" / "Dockerfile", "operator": ROOT / "operators" / "Dockerfile"}
PINNED = ["--constraint", "constraints.txt"]


def test_each_installs_one_extra_of_the_project_at_pinned_versions() -> None:
    assert install_steps(IMAGES["operator"]) == [[*PINNED, ".[operator]"]]
    torch = [*PINNED, "--extra-index-url", "${TORCH_INDEX}", "${TORCH}"]
    assert install_steps(IMAGES["platform"]) == [torch, [*PINNED, ".[platform]"]]
    assert {"platform", "operator"} <= PROJECT["optional-dependencies"].keys()


def test_torch_is_the_one_of_the_project_also_in_the_cpu_variant() -> None:
    text = IMAGES["platform"].read_text()
    (wished,) = [name for name in PROJECT["optional-dependencies"]["platform"] if name.startswith("torch==")]
    assert arguments(text)["TORCH"] == wished
    assert f"--build-arg TORCH={wished}+cpu" in text
    assert arguments(text)["BASE"].startswith("nvidia/cuda:")


@pytest.mark.parametrize("image", IMAGES.values(), ids=IMAGES)
def test_what_is_copied_is_there_and_nothing_else_is(image: Path) -> None:
    copied = [
        source
        for stage in stages(image.read_text())
        for text in stage.of("COPY")
        if not text.startswith("--from")
        for source in text.split()[:-1]
    ]
    assert copied
    assert all((ROOT / source).exists() for source in copied)
    ignored = (image.parent / "Dockerfile.dockerignore").read_text().splitlines()
    assert ignored[1] == "*"
    assert {line[1:] for line in ignored if line.startswith("!")} == set(copied)
    needed = {PROJECT["readme"], *PROJECT["license-files"], "pyproject.toml", "constraints.txt"}
    assert needed <= set(copied)


@pytest.mark.parametrize("image", IMAGES.values(), ids=IMAGES)
def test_bases_are_pinned_and_nothing_comes_from_elsewhere(image: Path) -> None:
    text = image.read_text()
    parts = stages(text)
    names = {stage.name for stage in parts}
    for stage in parts:
        assert stage.base == "${BASE}" or stage.base in names
        assert not stage.of("ADD")
        assert not re.search(r"\b(curl|git)\b|wget http", " ".join(stage.of("RUN")))
    tag = arguments(text)["BASE"].rpartition(":")[2]
    assert re.match(r"\d+\.\d+", tag)
    assert not re.search(r"TOKEN|PASSWORD|SECRET", " ".join(arguments(text)))


@pytest.mark.parametrize("image", IMAGES.values(), ids=IMAGES)
def test_it_runs_as_nobody_in_particular_on_a_read_only_root(image: Path) -> None:
    final = stages(image.read_text())[-1]
    (user,) = final.of("USER")
    number, _, group = user.partition(":")
    assert int(number) > 0
    assert int(group) > 0
    assert final.environment["HOME"] == "/tmp"
    assert final.environment["PYTHONDONTWRITEBYTECODE"] == "1"
    assert final.environment["PATH"].startswith("/opt/modelyard/bin:")


def test_the_platforms_user_is_the_one_that_the_operators_pods_run_as() -> None:
    assert stages(IMAGES["platform"].read_text())[-1].of("USER") == [f"{USER_ID}:{USER_ID}"]


def test_entry_points_are_commands_of_the_project() -> None:
    for name, command in (("platform", "modelyard"), ("operator", "modelyard-operator")):
        assert stages(IMAGES[name].read_text())[-1].of("ENTRYPOINT") == [f'["{command}"]']
        assert command in PROJECT["scripts"]


def test_the_platform_has_what_kuberay_calls() -> None:
    """Its probes are wget in bash, its start commands bash."""
    base = stages(IMAGES["platform"].read_text())[0]
    assert re.search(r"apt-get install .*\bbash\b.*\bwget\b", " ".join(base.of("RUN")))


def test_the_operator_image_holds_neither_torch_nor_ray() -> None:
    """By the metadata of what is installed here: all that its requirements draw in."""
    wished = [*PROJECT["dependencies"], *PROJECT["optional-dependencies"]["operator"]]
    held = closure(wished)
    assert {"kubernetes", "pydantic"} <= held
    assert not held & {"torch", "ray", "deepspeed", "transformers", "numpy", "pyarrow"}


def closure(requirements: list[str]) -> set[str]:
    """Names of packages that requirements draw in, theirs included."""
    found: set[str] = set()
    waiting = [Requirement(text) for text in requirements]
    while waiting:
        wanted = waiting.pop()
        name = canonicalize_name(wanted.name)
        if name in found:
            continue
        found.add(name)
        for text in metadata.requires(name) or []:
            below = Requirement(text)
            if below.marker is None or any(
                below.marker.evaluate({"extra": extra}) for extra in (wanted.extras or {""})
            ):
                waiting.append(Requirement(text.split(";")[0]))
    return found
