"""The command `modelyard-operator`: `run` (what it does when no verb is given) and `crds`."""

from __future__ import annotations

import argparse
import asyncio
import logging
import signal
import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from modelyard_operator.kinds.settings import Settings
from modelyard_operator.runtime.logs import set_up_logs

if TYPE_CHECKING:
    from modelyard_operator.runtime.controller import Planner

DONE, FAILED, WRONG = 0, 1, 2

_log = logging.getLogger(__name__)


def _planner(settings: Settings) -> Planner:
    from modelyard_operator.plan import interest, plan, probes
    from modelyard_operator.runtime.controller import Planner

    return Planner(lambda seen: plan(seen, settings), lambda parent: interest(parent, settings), probes)


def main(words: Sequence[str] | None = None, planner_of: Callable[[Settings], Planner] = _planner) -> int:
    """Run the command; returns its exit code: 0 stopped or printed, 1 a fault or a lost lease, 2 no cluster."""
    arguments = _parser().parse_args(words)
    if arguments.verb == "crds":
        from modelyard_operator.kinds.crds import render

        sys.stdout.write(render())
        return DONE
    set_up_logs(arguments.log_level)
    return asyncio.run(_run(arguments, planner_of(_settings(arguments))))


async def _run(arguments: argparse.Namespace, planner: Planner) -> int:
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)

    from modelyard_operator.cluster.rest import CredentialsError
    from modelyard_operator.runtime.election import LeadershipLostError

    try:
        await _operate(arguments, planner, stop)
    except CredentialsError as error:
        _log.error("no way to a cluster: %s", error)
        return WRONG
    except ExceptionGroup as faults:
        lost = faults.subgroup(LeadershipLostError) is not None
        _log.critical("leads no more, and ends" if lost else "ends by a fault", exc_info=None if lost else faults)
        return FAILED
    return DONE


async def _operate(arguments: argparse.Namespace, planner: Planner, stop: asyncio.Event) -> None:
    """Open the doors, run the operator between them until `stop`."""
    from modelyard_operator.cluster.rest import open_rest
    from modelyard_operator.runtime.health import answering
    from modelyard_operator.runtime.metrics import Metrics
    from modelyard_operator.runtime.operator import Habits, Operator
    from modelyard_operator.runtime.probing import Prober, Tally

    habits = Habits(arguments.namespace, arguments.workers, arguments.leader_elect, arguments.lease_namespace)
    metrics, prober = Metrics(), Prober()
    async with open_rest(arguments.kubeconfig, on_call=metrics.called) as cluster:
        operator = Operator(cluster, planner, Tally(prober.ask).ask, habits, metrics)
        async with answering(arguments.metrics_port, operator.alive, operator.ready, metrics.exposed) as port:
            _log.info("started", extra={"port": port, "identity": habits.identity})
            try:
                await operator.run(stop)
            finally:
                await prober.close()
    _log.info("stopped")


def _settings(arguments: argparse.Namespace) -> Settings:
    given = {"platform_image": arguments.platform_image, "cluster_domain": arguments.cluster_domain}
    return Settings(**{name: value for name, value in given.items() if value})


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("modelyard-operator", description=__doc__)
    parser.add_argument("verb", nargs="?", choices=("run", "crds"), default="run", help="crds prints the CRDs as YAML")
    parser.add_argument("--kubeconfig", default="", help="left out: the pod's ServiceAccount, else KUBECONFIG")
    parser.add_argument("--namespace", default="", help="look at this one only; left out: at all")
    parser.add_argument("--leader-elect", action="store_true", help="of several operators one works, by a Lease")
    parser.add_argument("--lease-namespace", default="", help="where the Lease lies; left out: where the operator runs")
    parser.add_argument("--metrics-port", type=int, default=8080, help="of /metrics, /healthz and /readyz; 0: any")
    parser.add_argument("--workers", type=int, default=4, help="objects looked at at a time")
    parser.add_argument("--platform-image", default="", help="of jobs and deployments that name none")
    parser.add_argument("--cluster-domain", default="", help="that of Services' DNS names")
    parser.add_argument("--log-level", default="info", choices=("debug", "info", "warning", "error"))
    return parser


if __name__ == "__main__":
    sys.exit(main())
