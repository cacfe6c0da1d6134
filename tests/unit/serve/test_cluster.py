"""A replica on a cluster, without Ray: what it is told, what it proves, what it has answered before traffic comes."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from modelyard.errors import IntegrityError, InvalidInputError, ModelyardError, NotFoundError
from modelyard.registry import open_registry
from modelyard.serve.cluster import ClusterArguments, check, open_service, read_arguments, verified_plan
from modelyard.serve.service import Phase
from modelyard.spec import EngineSpec
from modelyard.yard import open_yard
from support.tiny_models import write_tiny_model

ZERO = "sha256:" + "0" * 64


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A yard with small@1, and the version's digest."""
    root = tmp_path_factory.mktemp("cluster")
    record = open_registry(open_yard(root / "yard")).register(
        "small", write_tiny_model(root / "made"), run_id="small-00000000", spec_digest=ZERO, training_digest=ZERO,
        dataset_digest=ZERO, code_version="test",
    )  # fmt: skip
    return root / "yard", record.digest


def arguments(digest: str, **more: Any) -> dict[str, Any]:
    return {"model": "registry://small@1", "digest": digest, "resources": {"cpu": "1500m", "gpu": 0}, **more}


def test_arguments_become_the_plan_of_a_replica(place: tuple[Path, str]) -> None:
    yard, digest = place
    read = read_arguments(
        arguments(digest, engine={"maxSequences": 3, "precision": "bf16"}), {"MODELYARD_SERVES": "small@1"}
    )
    plan = verified_plan(read, {"MODELYARD_YARD": str(yard)})
    assert (plan.folder, plan.served.name, plan.served.version) == (str(yard / "models/small/1"), "small", "small@1")
    assert (plan.max_sequences, plan.precision, plan.threads, plan.device) == (3, "bf16", 1, "cpu")


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({}, "not the arguments of a deployment"),
        (arguments(ZERO, speed=9), "speed"),
        (arguments(ZERO, engine={"maxSequences": "many"}), "maxSequences"),
    ],
)
def test_arguments_that_are_none_are_refused(values: dict[str, Any], words: str) -> None:
    with pytest.raises(InvalidInputError, match=words):
        read_arguments(values, {})


def test_a_version_for_which_the_pods_were_not_made_is_refused() -> None:
    with pytest.raises(InvalidInputError, match="serve small@2; small@1 gets a cluster of its own"):
        read_arguments(arguments(ZERO), {"MODELYARD_SERVES": "small@2"})


def test_what_is_not_what_was_pinned_is_not_loaded(place: tuple[Path, str], tmp_path: Path) -> None:
    yard, digest = place
    here = {"MODELYARD_YARD": str(yard)}
    pinned = ClusterArguments(model="registry://small@1", digest=digest)
    with pytest.raises(IntegrityError, match=f"the deployment pins {ZERO}"):
        verified_plan(pinned.model_copy(update={"digest": ZERO}), here)
    with pytest.raises(NotFoundError, match="no version 7"):
        verified_plan(pinned.model_copy(update={"model": "registry://small@7"}), here)
    with pytest.raises(InvalidInputError, match="MODELYARD_YARD is not set"):
        verified_plan(pinned, {})
    with pytest.raises(NotFoundError, match="no yard"):
        verified_plan(pinned, {"MODELYARD_YARD": str(tmp_path / "elsewhere")})


def test_a_flipped_bit_is_named(place: tuple[Path, str]) -> None:
    yard, digest = place
    weights = yard / "models/small/1/model.safetensors"
    standing, mode = weights.read_bytes(), weights.stat().st_mode
    weights.chmod(0o644)
    try:
        weights.write_bytes(standing[:-5] + bytes([standing[-5] ^ 1]) + standing[-4:])
        with pytest.raises(IntegrityError, match=r"model\.safetensors"):
            verified_plan(ClusterArguments(model="registry://small@1", digest=digest), {"MODELYARD_YARD": str(yard)})
    finally:
        weights.write_bytes(standing)
        weights.chmod(mode)


def test_a_service_that_opens_has_answered_once_and_a_broken_one_is_replaced(place: tuple[Path, str]) -> None:
    yard, digest = place
    pinned = ClusterArguments(model="registry://small@1", digest=digest, engine=EngineSpec(max_sequences=2))
    plan = replace(verified_plan(pinned, {"MODELYARD_YARD": str(yard)}), threads=1)

    async def scenario() -> None:
        service = await open_service(plan)
        assert service.phase is Phase.ready
        assert b'vllm:generation_tokens_total{model_name="small"} 1.0' in service.meters.render(is_alive=lambda _: True)
        check(service)
        service._break(RuntimeError("the device is gone"))
        with pytest.raises(ModelyardError, match="the device is gone"):
            check(service)
        await service.drain(0)

    asyncio.run(scenario())
