"""From an exception to the failure digest."""

from __future__ import annotations

import errno

import pytest

from modelyard.errors import BadDataError, StoppedError, StorageError, WorkerLostError
from modelyard.workflow.failures import as_modelyard_error, bounded, digest_of


def test_a_known_error_says_what_to_do() -> None:
    digest = digest_of(BadDataError("corpus/a.jsonl:7 is no JSON", hint="mend the line"), stage="prepare")
    assert (digest.failure_class, digest.message, digest.hint) == (
        "BadData",
        "corpus/a.jsonl:7 is no JSON",
        "mend the line",
    )
    assert digest.where.stage == "prepare"
    assert digest.evidence == ()


def test_a_training_error_brings_its_own_place_and_evidence() -> None:
    error = WorkerLostError("rank 1 was killed", rank=1, step=40, evidence=["signal 9"])
    digest = digest_of(error, stage="train", step=38)
    assert (digest.where.rank, digest.where.step, digest.evidence) == (1, 40, ("signal 9",))
    assert digest.retryable


def test_a_known_error_needs_no_traceback_of_what_told_of_it() -> None:
    error = BadDataError("the checkpoint was trained on other text")
    error.__cause__ = RuntimeError("a worker raised")
    assert digest_of(error, stage="train").evidence == ()
    lost = WorkerLostError("the group ended without a word")
    lost.__cause__ = RuntimeError("a worker raised")
    assert digest_of(lost, stage="train").evidence[-1] == "modelyard.errors.WorkerLostError: " + str(lost)


def test_an_unknown_error_is_internal_with_its_traceback() -> None:
    with pytest.raises(ZeroDivisionError) as caught:
        print(1 // 0)
    digest = digest_of(caught.value, stage="train")
    assert digest.failure_class == "Internal"
    assert "ZeroDivisionError" in digest.message
    assert any("1 // 0" in line for line in digest.evidence)


def test_evidence_is_at_most_20_lines_and_4_kib_and_the_last_ones() -> None:
    assert bounded([str(n) for n in range(50)]) == tuple(str(n) for n in range(30, 50))
    assert bounded(["a" * 3000, "b" * 3000]) == ("b" * 3000,)
    assert bounded(["é" * 4096]) == ()


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EROFS, errno.EIO, errno.EDQUOT, errno.EACCES])
def test_the_disks_errors_become_storage_errors(number: int) -> None:
    error = as_modelyard_error(OSError(number, "words", "/yard/x"))
    assert isinstance(error, StorageError)
    assert "/yard/x" in str(error)
    assert digest_of(error, stage="train").failure_class == "Storage"


def test_other_os_errors_stay_what_they_are() -> None:
    error = FileNotFoundError(errno.ENOENT, "gone")
    assert as_modelyard_error(error) is error


def test_secrets_do_not_reach_the_digest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MY_API_TOKEN", "s3cr3t-value-0123456789")
    error = StoppedError("could not reach https://user:hunter2secret@example.org with s3cr3t-value-0123456789")
    text = digest_of(error, stage="train").message
    assert "hunter2secret" not in text
    assert "s3cr3t-value" not in text
