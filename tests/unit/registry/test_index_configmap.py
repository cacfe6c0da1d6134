"""The index in a ConfigMap: numbers taken once, nothing lost between two writers, a killed registration finished."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from modelyard.errors import ConflictError, IntegrityError, NewerLayoutError, NotFoundError
from modelyard.kube import AbsentError, UnreachableError
from modelyard.records import AliasChange, IndexedAlias, IndexedVersion, IndexRecord, VersionRecord
from modelyard.registry import Registry
from modelyard.registry.index import FileIndex
from modelyard.registry.index_configmap import ConfigMapIndex
from modelyard.registry.indexing import MAX_BYTES, fitted
from modelyard.yard import open_yard
from support.configmaps import MemoryConfigMaps

ZERO = "sha256:" + "0" * 64
NAME = "modelyard-model-quickstart"


@pytest.fixture
def maps() -> MemoryConfigMaps:
    made = MemoryConfigMaps()
    made.put(NAME)
    return made


@pytest.fixture
def model(tmp_path: Path) -> Path:
    folder = tmp_path / "export"
    folder.mkdir()
    (folder / "config.json").write_text("{}")
    (folder / "model.safetensors").write_bytes(bytes(range(256)) * 50)
    return folder


def registry_of(yard: Path, maps: MemoryConfigMaps, patience_seconds: float = 5.0) -> Registry:
    opened = open_yard(yard)
    return Registry(opened, ConfigMapIndex(FileIndex(opened), maps, patience_seconds))


@pytest.fixture
def registry(tmp_path: Path, maps: MemoryConfigMaps) -> Registry:
    return registry_of(tmp_path / "yard", maps)


def register(registry: Registry, model: Path, run_id: str = "ns.job-0123abcd", **others: Any) -> VersionRecord:
    return registry.register(
        "quickstart", model, run_id=run_id, spec_digest=ZERO, training_digest=ZERO, dataset_digest=ZERO,
        code_version="0.1.0", **others,
    )  # fmt: skip


def index_in(maps: MemoryConfigMaps) -> IndexRecord:
    return IndexRecord.from_json(maps.items[NAME].data["index.json"], origin=NAME)


def numbers(maps: MemoryConfigMaps) -> list[int]:
    return [one.version for one in index_in(maps).versions]


def test_a_registration_is_listed_with_what_the_operator_reads(
    registry: Registry, maps: MemoryConfigMaps, model: Path
) -> None:
    record = register(registry, model, verdict="Passed")
    registry.set_alias("quickstart", "stable", 1, by="run r", reason="register")
    index = index_in(maps)
    (listed,) = index.versions
    assert listed.to_dict().items() >= {
        "version": 1, "digest": record.digest, "runId": record.run_id, "verdict": "Passed", "created": record.created,
    }.items()  # fmt: skip
    assert index.claims == ()
    stable = index.aliases["stable"]
    assert (stable.version, stable.revision, stable.history[0].by) == (1, 1, "run r")
    assert registry.resolve("registry://quickstart@stable").record == record


def test_the_same_registration_again_is_the_same_version(
    registry: Registry, maps: MemoryConfigMaps, model: Path
) -> None:
    assert register(registry, model) == register(registry, model)
    assert numbers(maps) == [1]
    assert register(registry, model, run_id="ns.job-99999999").version == 2
    assert numbers(maps) == [1, 2]


def test_a_damaged_version_does_not_keep_the_others_out_of_a_new_index(
    registry: Registry, maps: MemoryConfigMaps, model: Path
) -> None:
    for number in (1, 2):
        register(registry, model, run_id=f"ns.job-0000000{number}")
    damaged = registry.yard.model_folder("quickstart", 1) / "version.json"
    damaged.chmod(0o644)
    damaged.write_text("[" * 100_000)
    maps.patch(NAME, {"index.json": ""})
    assert register(registry, model, run_id="ns.job-00000003").version == 3
    assert numbers(maps) == [2, 3]
    assert registry.set_alias("quickstart", "stable", 2, by="test").version == 2


def test_two_yards_of_a_namespace_never_share_a_number(tmp_path: Path, maps: MemoryConfigMaps, model: Path) -> None:
    one, other = registry_of(tmp_path / "one", maps), registry_of(tmp_path / "other", maps)
    assert register(one, model, run_id="ns.a-00000001").version == 1
    assert register(other, model, run_id="ns.b-00000002").version == 2
    assert register(one, model, run_id="ns.c-00000003").version == 3
    one.set_alias("quickstart", "stable", 3, by="test")
    assert [record.version for record in other.versions("quickstart")] == [2]
    with pytest.raises(NotFoundError, match="no version 3"):
        other.resolve("quickstart@stable")


def test_registrations_and_moves_at_once_lose_nothing(tmp_path: Path, maps: MemoryConfigMaps, model: Path) -> None:
    yard, racers = tmp_path / "yard", 8
    together = threading.Barrier(racers)

    def work(number: int) -> int:
        books = registry_of(yard, maps, patience_seconds=60.0)
        together.wait(30)
        version = register(books, model, run_id=f"ns.job-{number:08x}").version
        books.set_alias("quickstart", "shared", version, by=f"racer {number}")
        books.set_alias("quickstart", f"own-{number}", version, by=f"racer {number}")
        return version

    with ThreadPoolExecutor(racers) as pool:
        versions = list(pool.map(work, range(racers)))
    assert sorted(versions) == numbers(maps) == list(range(1, racers + 1))
    index = index_in(maps)
    assert index.claims == ()
    assert {name: alias.version for name, alias in index.aliases.items() if name.startswith("own")} == {
        f"own-{number}": version for number, version in enumerate(versions)
    }
    shared = index.aliases["shared"]
    assert shared.revision == racers
    assert shared.version == shared.history[-1].version


class Killed(BaseException):
    """The process ends here."""


def fail_at(maps: MemoryConfigMaps, where: str, call: int, error: Callable[[], BaseException]) -> None:
    """Raise before or after the n-th call (from 1), once."""
    counter = itertools.count(1)

    def fault(verb: str) -> None:
        if next(counter) == call:
            raise error()

    setattr(maps, where, fault)


@pytest.mark.parametrize("where", ["before", "after"])
@pytest.mark.parametrize("call", range(1, 13))
def test_a_registration_killed_at_any_call_is_finished_by_doing_it_again(
    tmp_path: Path, maps: MemoryConfigMaps, model: Path, where: str, call: int
) -> None:
    def attempt() -> VersionRecord:
        books = registry_of(tmp_path / "yard", maps)
        record = register(books, model, verdict="Passed")
        books.set_alias("quickstart", "candidate", record.version, by="run", reason="register")
        return record

    fail_at(maps, where, call, Killed)
    calls = len(maps.calls)
    try:
        attempt()
    except Killed:
        pass
    else:
        assert len(maps.calls) - calls < call  # that late nothing was left to kill
    setattr(maps, where, lambda verb: None)
    record = attempt()
    index = index_in(maps)
    assert (record.version, numbers(maps), index.claims) == (1, [1], ())
    assert (index.aliases["candidate"].version, index.aliases["candidate"].revision) == (1, 1)
    registry_of(tmp_path / "yard", maps).verify(record)


@pytest.mark.parametrize("where", ["before", "after"])
@pytest.mark.parametrize("call", range(1, 9))
def test_an_answer_that_is_lost_changes_nothing(
    tmp_path: Path, maps: MemoryConfigMaps, model: Path, where: str, call: int
) -> None:
    fail_at(maps, where, call, lambda: UnreachableError("timed out"))
    books = registry_of(tmp_path / "yard", maps)
    record = register(books, model)
    moved = books.set_alias("quickstart", "candidate", 1, by="run")
    index = index_in(maps)
    assert (record.version, numbers(maps), index.claims) == (1, [1], ())
    assert index.aliases["candidate"].revision == moved.revision == 1


def test_a_claim_that_never_finished_keeps_its_number(registry: Registry, maps: MemoryConfigMaps, model: Path) -> None:
    fail_at(maps, "after", 3, Killed)  # claims are looked at, then the claim is made: get, get, patch
    with pytest.raises(Killed):
        register(registry, model, run_id="ns.dead-00000000")
    maps.after = lambda verb: None
    assert [claim.run_id for claim in index_in(maps).claims] == ["ns.dead-00000000"]
    assert register(registry, model).version == 2
    assert registry.resolve("quickstart").record.version == 2
    assert register(registry, model, run_id="ns.dead-00000000").version == 1
    assert numbers(maps) == [1, 2]


def test_a_yard_that_comes_to_a_cluster_is_taken_in(tmp_path: Path, maps: MemoryConfigMaps, model: Path) -> None:
    """Likewise after the ConfigMap was lost and made anew: the versions are back, aliases moved since are not."""
    yard = open_yard(tmp_path / "yard")
    at_home = Registry(yard, FileIndex(yard))
    for number in (1, 2):
        register(at_home, model, run_id=f"job-{number:08x}")
    at_home.set_alias("quickstart", "stable", 1, by="me", reason="at home")
    books = registry_of(tmp_path / "yard", maps)
    assert books.resolve("quickstart@stable").record.version == 1
    assert register(books, model).version == 3
    index = index_in(maps)
    assert numbers(maps) == [1, 2, 3]
    assert (index.aliases["stable"].version, index.aliases["stable"].history[0].reason) == (1, "at home")
    books.remove_alias("quickstart", "stable", by="me")
    assert books.aliases("quickstart") == {}
    assert register(books, model, run_id="job-00000002").version == 2


def test_an_alias_that_someone_else_moved_is_not_overrun(
    registry: Registry, maps: MemoryConfigMaps, model: Path
) -> None:
    for number in (1, 2):
        register(registry, model, run_id=f"ns.job-{number:08x}")
    registry.set_alias("quickstart", "stable", 1, by="one")
    with pytest.raises(ConflictError, match="revision 1 now"):
        registry.set_alias("quickstart", "stable", 2, by="other", expected_revision=0)
    assert registry.set_alias("quickstart", "stable", 2, by="one", expected_revision=1).revision == 2


def test_an_aliass_history_is_bounded_and_its_revision_goes_on(
    registry: Registry, maps: MemoryConfigMaps, model: Path
) -> None:
    for number in (1, 2):
        register(registry, model, run_id=f"ns.job-{number:08x}")
    for number in range(30):
        registry.set_alias("quickstart", "stable", 1 + number % 2, by="x" * 1000, reason=f"{number} " + "y" * 1000)
    stable = index_in(maps).aliases["stable"]
    assert (stable.revision, len(stable.history)) == (30, 10)
    assert [change.reason.split()[0] for change in stable.history] == [str(number) for number in range(20, 30)]
    assert max(len(change.by + change.reason) for change in stable.history) <= 512


def test_a_large_index_keeps_the_newest_and_those_that_are_named() -> None:
    change = AliasChange(version=1, time="t", by="b" * 256, reason="r" * 256)
    index = IndexRecord(
        name="quickstart",
        versions=tuple(
            IndexedVersion(version=n, digest=ZERO, run_id="r" * 100, created="t", findings=ZERO)
            for n in range(1, 20_000)
        ),
        aliases={
            f"alias-{n}": IndexedAlias(version=n + 1, revision=10, history=(change,) * 10) for n in range(100)
        },
    )  # fmt: skip
    text = fitted(index)
    assert len(text.encode()) <= MAX_BYTES
    kept = IndexRecord.from_json(text, origin="test")
    assert kept.versions[-1].version == 19_999
    assert {alias.version for alias in kept.aliases.values()} <= {one.version for one in kept.versions}
    assert len(kept.aliases) == 100


def test_what_a_newer_release_added_is_kept(registry: Registry, maps: MemoryConfigMaps, model: Path) -> None:
    register(registry, model)
    text = maps.items[NAME].data["index.json"]
    maps.put(NAME, {"index.json": text.replace('"name"', '"channel": "nightly",\n "name"').replace(
        '"version": 1', '"signature": "s",\n "version": 1'
    )})  # fmt: skip
    register(registry, model, run_id="ns.job-99999999")
    index = index_in(maps).to_dict()
    assert (index["channel"], index["versions"][0]["signature"]) == ("nightly", "s")


@pytest.mark.parametrize(
    ("text", "error", "words"),
    [
        ("{torn", IntegrityError, "ConfigMap modelyard-model-quickstart: index.json is damaged"),
        ('{"schema": 2, "name": "quickstart"}', NewerLayoutError, "has schema 2"),
        ('{"schema": 1, "name": "other"}', IntegrityError, "holds the index of 'other'"),
        ('{"schema": 1, "name": "quickstart", "versions": 3}', IntegrityError, "versions"),
    ],
)
def test_a_damaged_index_is_named_and_left_alone(
    registry: Registry, maps: MemoryConfigMaps, model: Path, text: str, error: type[Exception], words: str
) -> None:
    maps.put(NAME, {"index.json": text})
    with pytest.raises(error, match=words):
        register(registry, model)
    assert maps.items[NAME].data["index.json"] == text


def test_a_missing_index_is_said_in_words(tmp_path: Path, model: Path) -> None:
    books = registry_of(tmp_path / "yard", MemoryConfigMaps())
    with pytest.raises(AbsentError) as caught:
        register(books, model)
    assert caught.value.retryable
    assert books.aliases("quickstart") == {}


def test_a_server_that_stays_away_is_told_after_a_while(tmp_path: Path, maps: MemoryConfigMaps, model: Path) -> None:
    def away(verb: str) -> None:
        raise UnreachableError("no answer")

    maps.before = away
    with pytest.raises(UnreachableError):
        register(registry_of(tmp_path / "yard", maps, patience_seconds=0.2), model)


def test_a_number_that_was_taken_in_the_yard_meanwhile_is_an_error_not_a_mixture(
    tmp_path: Path, registry: Registry, maps: MemoryConfigMaps, model: Path
) -> None:
    """Somebody registers in the same yard outside the cluster, between the claim and the record."""
    other = tmp_path / "other"
    other.mkdir()
    (other / "config.json").write_text("[]")
    at_home = Registry(registry.yard, FileIndex(registry.yard))
    counter = itertools.count(1)

    def meanwhile(verb: str) -> None:
        if next(counter) == 3:
            register(at_home, other, run_id="job-aaaaaaaa")

    maps.after = meanwhile
    with pytest.raises(IntegrityError, match="another registration stands"):
        register(registry, model)


def test_a_version_is_named_by_number_without_asking_the_server(
    registry: Registry, maps: MemoryConfigMaps, model: Path
) -> None:
    register(registry, model)
    asked = len(maps.calls)
    assert registry.resolve("quickstart@1").label == "quickstart@1"
    assert registry.resolve("quickstart").label == "quickstart@1"
    assert len(maps.calls) == asked
