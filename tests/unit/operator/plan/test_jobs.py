"""A TrainingJob's way through the cluster, told by its status and its children."""

from __future__ import annotations

from modelyard_operator.kinds.objects import (
    CONFIG_MAPS,
    NETWORK_POLICIES,
    POD_DISRUPTION_BUDGETS,
    RAY_JOBS,
    ROLE_BINDINGS,
    ROLES,
    SERVICE_ACCOUNTS,
)
from support.job_worlds import world


def test_from_created_to_succeeded() -> None:
    w = world()
    assert w.settle() == 1
    assert (w.status["phase"], w.status["attempts"]) == ("Pending", 1)
    assert w.condition("Accepted") == ("True", "ManifestAccepted")
    assert w.condition("Progressing") == ("True", "Starting")

    w.kuberay("Running", "RUNNING", startTime="2026-11-22T08:00:01Z", dashboardURL="svc.team:8265")
    w.driver("Training", runId="team.small-1", progress={"stage": "train", "step": 7, "tokens": 70})
    assert w.settle() == 1
    assert (w.status["phase"], w.status["progress"]["step"]) == ("Training", 7)
    assert w.status["dashboardUrl"] == "http://svc.team:8265"

    model = {"name": "small", "version": 1, "digest": "sha256:" + "0" * 64}
    w.driver("Succeeded", model=model, progress={"stage": "register", "step": 100})
    w.kuberay("Running", "SUCCEEDED")
    w.settle()
    assert (w.status["phase"], w.condition("Progressing")) == ("Registering", ("True", "Ending"))
    assert w.condition("Complete") == ("", "")

    w.kuberay("Complete", "SUCCEEDED")
    assert w.settle() == 1
    assert (w.status["phase"], w.status["model"]) == ("Succeeded", model)
    assert w.condition("Complete") == ("True", "Completed")
    for resource in (RAY_JOBS, ROLES, ROLE_BINDINGS, SERVICE_ACCOUNTS, NETWORK_POLICIES, POD_DISRUPTION_BUDGETS):
        assert w.names(resource) == [], "all but the snapshot is gone"
    base = w.rayjob().name.removesuffix("-1")
    assert w.names(CONFIG_MAPS) == ["modelyard-model-small", base], "the snapshot and the registry's index stay"
