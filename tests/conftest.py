"""What every test shares: a quiet environment, a bound on Ray's starts, and a last line that says what was skipped."""

from __future__ import annotations

import importlib.util
import os
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from xdist.scheduler import LoadScopeScheduling

    from support.apiserver import ApiServer, Namespace

MOST_RAY_STARTS = 25  # each costs about five seconds on two cores: share them
STARTS_RAY = {
    "chaos/test_kills.py",
    *(
        f"integration/test_{name}.py"
        for name in (
            "driver_in_cluster", "full_disk", "notebook", "operator_end_to_end", "run", "serve", "serve_cluster",
            "training",
        )
    ),
}  # fmt: skip
COUNTING = Path(__file__).parent / "support" / "counting"
QUIET = {
    "DS_ACCELERATOR": "cpu",
    "HF_HUB_OFFLINE": "1",
    "RAY_USAGE_STATS_ENABLED": "0",
    "TOKENIZERS_PARALLELISM": "false",
}
os.environ.update(QUIET)  # before any test module imports what reads them

_skipped: Counter[str] = Counter()


def pytest_configure(config: pytest.Config) -> None:
    """Count the starts of Ray in this process and in all that it starts; workers of `-n` are among these."""
    if _is_worker(config):
        return
    count, path = tempfile.mkstemp(prefix="modelyard-ray-starts-")
    os.close(count)
    os.environ["MODELYARD_TESTS_RAY_STARTS"] = path
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [str(COUNTING), os.environ.get("PYTHONPATH")]))
    spec = importlib.util.spec_from_file_location("ray_start_counter", COUNTING / "sitecustomize.py")
    assert spec is not None
    assert spec.loader is not None
    spec.loader.exec_module(importlib.util.module_from_spec(spec))


def _is_worker(config: pytest.Config) -> bool:
    return hasattr(config, "workerinput")


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> LoadScopeScheduling:
    """With `-n`: one Ray at a time, and a file's tests one after the other, for they share what it sets up."""
    from xdist.scheduler import LoadScopeScheduling

    class OneRay(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            file = nodeid.split("::", maxsplit=1)[0].removeprefix("tests/")
            return "Ray" if file in STARTS_RAY else file

    return OneRay(config, log)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Single processes first: the kills, which come first of all, then run beside them and not beside workers."""
    items.sort(key=lambda item: item.nodeid.startswith("tests/integration/"))


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item) -> None:
    """With `-n`: what waits for Ray waits longest, so the others take what it leaves of the processors."""
    file = item.nodeid.split("::", maxsplit=1)[0].removeprefix("tests/")
    if _is_worker(item.config) and file not in STARTS_RAY and not os.getpriority(os.PRIO_PROCESS, 0):
        os.nice(5)


def ray_starts() -> int:
    """How often Ray was started since the session began."""
    return Path(os.environ["MODELYARD_TESTS_RAY_STARTS"]).stat().st_size


@pytest.fixture(scope="session")
def api_server() -> Iterator[ApiServer]:
    """A real Kubernetes API server with KubeRay's CRDs and ours, shared by the session's tests."""
    from support.apiserver import running

    with running() as server:
        yield server


@pytest.fixture
def namespace(api_server: ApiServer) -> Iterator[Namespace]:
    """A namespace of the test's own on that server."""
    with api_server.new_namespace() as made:
        yield made


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    if report.skipped and not hasattr(report, "wasxfail"):
        _skipped[_reason(report.longrepr)] += 1


def pytest_collectreport(report: pytest.CollectReport) -> None:
    if report.skipped:
        _skipped[_reason(report.longrepr)] += 1


def pytest_sessionfinish(session: pytest.Session) -> None:
    if ray_starts() > MOST_RAY_STARTS and session.exitstatus == pytest.ExitCode.OK:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_unconfigure(config: pytest.Config) -> None:
    """After pytest's own closing line, so that the skipped are the last line of `make test`."""
    if _is_worker(config):
        return
    reporter = config.pluginmanager.get_plugin("terminalreporter")
    starts = ray_starts()
    Path(os.environ["MODELYARD_TESTS_RAY_STARTS"]).unlink()
    if reporter is None or config.option.collectonly:
        return
    if starts:
        reporter.write_line(f"starts of Ray: {starts} (at most {MOST_RAY_STARTS})")
    reporter.write_line(skip_line(_skipped))


def skip_line(skipped: Counter[str]) -> str:
    """`skipped: 0`, or `skipped: 3 (2 no GPU, 1 no chromium)`, the most frequent reason first."""
    if not skipped:
        return "skipped: 0"
    reasons = ", ".join(f"{count} {reason}" for reason, count in skipped.most_common())
    return f"skipped: {skipped.total()} ({reasons})"


def _reason(longrepr: object) -> str:
    text = longrepr[2] if isinstance(longrepr, tuple) else str(longrepr)
    return str(text).removeprefix("Skipped: ").strip() or "no reason given"
