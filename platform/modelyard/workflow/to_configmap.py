"""The status document's other home: a ConfigMap, from which the operator folds it into the job's status.

A thread of its own writes: the API server may be slow or away without holding up or ending a run. Every answer also
carries `control`, where the operator asks the driver to stop.
"""

from __future__ import annotations

import contextlib
import logging
import random
import threading
import time
from collections.abc import Callable, Iterator

from modelyard.errors import ModelyardError, StoppedError
from modelyard.kube import ConfigMap, ConfigMaps, PodAccount, UnreachableError
from modelyard.records import StatusDocument
from modelyard.workflow.failures import as_modelyard_error, digest_of
from modelyard.workflow.posting import PostState, fitted, is_transition, next_step
from modelyard.workflow.stop import StopRequest

STATUS_KEY = "status.json"
CONTROL_KEY = "control"
STOP = "stop"
STOPPED_EXIT_CODE = 143  # as for SIGTERM: someone else than the user wished it, and it goes on later
LAST_WORD_SECONDS = 300.0  # a control plane's upgrade takes minutes; the end of a run of days is worth the wait
_STOPPED_SECONDS = 20.0  # the operator gives a stopping driver 120 s in all
_REFUSED_SECONDS = 15.0  # a Role made a moment ago may not be known yet; after that a no stays a no

_ENDS = ("Succeeded", "Failed", "Suspended")

log = logging.getLogger(__name__)
Told = Callable[[str], None]


@contextlib.contextmanager
def to_configmap(
    name: str, account: PodAccount, *, stop: StopRequest, told: Told = lambda text: None
) -> Iterator[ConfigMapSink]:
    """A sink for the length of a run; `told` hears the few sentences that a person should.

    Leaving waits until the last document stands, minutes if need be. When the run ends in an error that its documents
    do not tell (nothing was begun, the disk is full), the last document says it.
    """
    from modelyard.kube.server import ServerConfigMaps

    maps = ServerConfigMaps(account)
    sink = ConfigMapSink(name, maps, stop=stop, told=told)
    try:
        with sink:
            yield sink
    finally:
        maps.close()


class ConfigMapSink:
    """A sink that returns at once and never raises; its thread keeps `status.json` at the newest document."""

    def __init__(
        self,
        name: str,
        maps: ConfigMaps,
        *,
        stop: StopRequest,
        told: Told = lambda text: None,
        last_word_seconds: float = LAST_WORD_SECONDS,
    ) -> None:
        self._name = name
        self._maps = maps
        self._stop = stop
        self._told = told
        self._last_word_seconds = last_word_seconds
        self._news = threading.Condition()
        self._document: StatusDocument | None = None
        self._state = PostState()
        self._closing: float | None = None  # since when
        self._complaint: Exception | None = None
        self._thread = threading.Thread(target=self._live, name="status-configmap", daemon=True)

    def __call__(self, status: StatusDocument) -> None:
        with self._news:
            before, self._document = self._document, status
            self._state = self._state.offered(urgent=is_transition(before, status))
            self._news.notify()

    def begin(self, kind: str, name: str, run_id: str | None = None) -> None:
        """Say whose status this will be, before the manifest is read or the run held."""
        self(StatusDocument(kind=kind, name=name, run_id=run_id))

    def __enter__(self) -> ConfigMapSink:
        self._thread.start()
        return self

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        document = self._document or StatusDocument(kind="", name="")
        if isinstance(error, Exception) and document.phase not in _ENDS:
            self(ended_in(document, error))
        self.close()

    def close(self) -> None:
        """Wait until the newest document stands in the ConfigMap, or until that is hopeless."""
        with self._news:
            self._closing = time.monotonic()
            self._state = PostState(pending=self._state.pending, urgent=True)
            self._news.notify()
        self._thread.join()

    def _live(self) -> None:
        while True:
            with self._news:
                now = time.monotonic()
                if self._closing is not None and self._is_over(now):
                    return
                step = next_step(self._state, now)
                if step.act == "wait":
                    self._news.wait(step.seconds)
                    continue
                document, urgent = self._document, self._state.urgent
                if step.act == "write":
                    self._state = self._state.taken()
            self._try(document if step.act == "write" else None, urgent)

    def _is_over(self, now: float) -> bool:
        """Whether a closing sink has no more to do; says so when the last document could not be written."""
        assert self._closing is not None
        if not self._state.pending:
            return True
        if now < self._closing + self._patience():
            return False
        self._say(f"the last status could not be written to ConfigMap {self._name}; it stands in the run's status.json")
        return True

    def _patience(self) -> float:
        """Seconds for the last word: few when the server says no, or when the operator waits for us to stop."""
        if self._complaint is not None and not isinstance(self._complaint, UnreachableError):
            return min(_REFUSED_SECONDS, self._last_word_seconds)
        return min(_STOPPED_SECONDS, self._last_word_seconds) if self._stop.asked else self._last_word_seconds

    def _try(self, document: StatusDocument | None, urgent: bool) -> None:
        """Write the document, or look when there is none."""
        try:
            if document is None:
                answer = self._maps.get(self._name)
            else:
                answer = self._maps.patch(self._name, {STATUS_KEY: fitted(document)})
        except Exception as error:  # whatever it is, a run does not end for it
            self._failed(error, written=document is not None, urgent=urgent)
            return
        self._heed(answer)
        with self._news:
            self._state = self._state.answered(time.monotonic(), wrote=document is not None)

    def _heed(self, answer: ConfigMap) -> None:
        if self._complaint is not None:
            self._complaint = None
            log.info("ConfigMap %s takes the status again", self._name)
        if answer.data.get(CONTROL_KEY, "").strip() == STOP and not self._stop.asked:
            log.info("ConfigMap %s asks to stop", self._name)
            self._stop.ask(STOPPED_EXIT_CODE)

    def _failed(self, error: Exception, *, written: bool, urgent: bool) -> None:
        if type(error) is not type(self._complaint):
            hint = f" ({error.hint})" if isinstance(error, ModelyardError) and error.hint else ""
            self._say(f"the status could not be told, the run goes on: {error}{hint}")
        self._complaint = error
        retry_after = error.retry_after_seconds if isinstance(error, UnreachableError) else 0.0
        with self._news:
            closing = self._closing is not None
            failed = self._state.failed(
                time.monotonic(), retry_after=retry_after, chance=random.random(), closing=closing
            )
            self._state = failed.offered(urgent=urgent or closing) if written else failed

    def _say(self, text: str) -> None:
        if log.hasHandlers():  # else Python would print it, and `told` does
            log.warning("%s", text)
        with contextlib.suppress(OSError):  # nobody listens any more
            self._told(text)


def ended_in(document: StatusDocument, error: Exception) -> StatusDocument:
    """The document of a run that ended in an error which it does not tell: it never began, or its disk is full."""
    known = as_modelyard_error(error)
    failure = digest_of(known, stage=document.progress.stage if document.progress else "prepare")
    return document.model_copy(
        update={"phase": "Suspended" if isinstance(known, StoppedError) else "Failed", "last_failure": failure}
    )
