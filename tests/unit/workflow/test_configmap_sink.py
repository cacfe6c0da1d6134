"""The sink that writes the status to a ConfigMap: it never holds a run up, never ends it, and has the last word."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest

from modelyard.errors import BadDataError, InvalidInputError, StoppedError
from modelyard.kube import AbsentError, ForbiddenError, UnreachableError
from modelyard.records import Progress, StatusDocument
from modelyard.workflow import ConfigMapSink, StopRequest
from support.configmaps import MemoryConfigMaps

NAME = "q-1-status"
TRAINING = StatusDocument(kind="TrainingJob", name="q", run_id="ns.q-01234567", phase="Training", attempts=1)
ENDED = TRAINING.model_copy(update={"phase": "Succeeded"})


def at_step(step: int) -> StatusDocument:
    return TRAINING.model_copy(update={"progress": Progress(stage="train", step=step)})


@pytest.fixture
def maps() -> MemoryConfigMaps:
    made = MemoryConfigMaps()
    made.put(NAME)
    return made


@pytest.fixture
def said() -> list[str]:
    return []


@pytest.fixture
def stop() -> StopRequest:
    return StopRequest()


@pytest.fixture
def make(maps: MemoryConfigMaps, stop: StopRequest, said: list[str]) -> Callable[..., ConfigMapSink]:
    return lambda seconds=30.0: ConfigMapSink(NAME, maps, stop=stop, told=said.append, last_word_seconds=seconds)


Make = Callable[..., ConfigMapSink]


def standing(maps: MemoryConfigMaps) -> StatusDocument | None:
    text = maps.items[NAME].data.get("status.json")
    return StatusDocument.from_json(text, origin=NAME) if text else None


def writes(maps: MemoryConfigMaps) -> int:
    return maps.calls.count(("patch", NAME))


def test_a_transition_is_written_at_once_and_a_flood_of_progress_is_not(maps: MemoryConfigMaps, make: Make) -> None:
    written = threading.Event()
    maps.after = lambda verb: written.set() if verb == "patch" else None
    with make() as sink:
        sink(TRAINING)
        assert written.wait(10)
        for step in range(1000):
            sink(at_step(step))
    assert standing(maps) == at_step(999)
    assert writes(maps) == 2  # the transition, and the last word


def test_what_comes_in_while_a_write_is_under_way_is_not_lost(maps: MemoryConfigMaps, make: Make) -> None:
    under_way, go_on = threading.Event(), threading.Event()

    def slow(verb: str) -> None:
        if verb == "patch" and not under_way.is_set():
            under_way.set()
            assert go_on.wait(10)

    maps.after = slow
    with make() as sink:
        sink(TRAINING)
        assert under_way.wait(10)
        sink(ENDED)
        go_on.set()
    assert standing(maps) == ENDED


def test_the_last_word_waits_for_a_server_that_is_away(maps: MemoryConfigMaps, make: Make, said: list[str]) -> None:
    away = [UnreachableError("no answer"), UnreachableError("still none", retry_after_seconds=0.1)]

    def fault(verb: str) -> None:
        if away:
            raise away.pop(0)

    maps.before = fault
    with make() as sink:
        sink(ENDED)
    assert standing(maps) == ENDED
    assert said == ["the status could not be told, the run goes on: no answer"]


def test_a_write_that_was_lost_on_its_way_back_is_made_again(maps: MemoryConfigMaps, make: Make) -> None:
    lost = [UnreachableError("timed out")]

    def fault(verb: str) -> None:
        if verb == "patch" and lost:
            raise lost.pop()

    maps.after = fault
    with make() as sink:
        sink(ENDED)
    assert standing(maps) == ENDED


@pytest.mark.parametrize(
    "error",
    [AbsentError("it does not exist", hint="make it"), ForbiddenError("not allowed"), ValueError("a fault of ours")],
    ids=["absent", "forbidden", "unexpected"],
)
def test_what_will_not_be_is_told_once_and_the_run_goes_on(
    maps: MemoryConfigMaps, make: Make, said: list[str], error: Exception
) -> None:
    def fault(verb: str) -> None:
        raise error

    maps.before = fault
    with make(1.5) as sink:
        sink(TRAINING)
        sink(ENDED)
    assert len(said) == 2
    assert str(error) in said[0]
    assert said[1].endswith("it stands in the run's status.json")


def test_a_listener_that_is_gone_is_no_fault(maps: MemoryConfigMaps, stop: StopRequest) -> None:
    def gone(text: str) -> None:
        raise BrokenPipeError

    def fault(verb: str) -> None:
        raise ForbiddenError("no")

    maps.before = fault
    with ConfigMapSink(NAME, maps, stop=stop, told=gone, last_word_seconds=0.1) as sink:
        sink(ENDED)


@pytest.mark.parametrize("with_a_write", [True, False])
def test_a_wish_to_stop_is_heard(maps: MemoryConfigMaps, make: Make, stop: StopRequest, with_a_write: bool) -> None:
    maps.put(NAME, {"control": "stop\n"})
    with make() as sink:
        if with_a_write:
            sink(TRAINING)
        stop.wait(10)
    assert (stop.asked, stop.exit_code) == (True, 143)


def test_other_words_in_control_are_no_wish(maps: MemoryConfigMaps, make: Make, stop: StopRequest) -> None:
    maps.put(NAME, {"control": "go on"})
    with make() as sink:
        sink(ENDED)
    assert not stop.asked


@pytest.mark.parametrize(
    ("document", "error", "phase", "failure"),
    [
        (None, InvalidInputError("no field foo"), "Failed", "InvalidManifest"),
        (TRAINING, OSError(28, "No space left on device"), "Failed", "Storage"),
        (TRAINING, StoppedError("stopped as asked"), "Suspended", "Interrupted"),
        (TRAINING, RuntimeError("a bug"), "Failed", "Internal"),
        (ENDED, BadDataError("told already"), "Succeeded", None),
        (TRAINING, KeyboardInterrupt(), "Training", None),
    ],
)
def test_an_end_that_no_document_told_is_told(
    maps: MemoryConfigMaps, make: Make, document: StatusDocument | None, error: BaseException, phase: str, failure: str
) -> None:
    def run() -> None:
        with make() as sink:
            if document:
                sink(document)
            raise error

    with pytest.raises(type(error)):
        run()
    last = standing(maps)
    assert last is not None
    assert (last.phase, last.last_failure and last.last_failure.failure_class) == (phase, failure)


def test_whose_status_it_will_be_is_told_before_the_run_is_held(maps: MemoryConfigMaps, make: Make) -> None:
    with make() as sink:
        sink.begin("TrainingJob", "q", "ns.q-01234567")
    assert standing(maps) == StatusDocument(kind="TrainingJob", name="q", run_id="ns.q-01234567")
