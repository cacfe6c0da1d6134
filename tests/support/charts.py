"""The chart as Helm renders it: the objects of a release for given values. Helm itself is in PyPI's helm-python-sdk."""

from __future__ import annotations

import functools
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

CHART = Path(__file__).parents[2] / "helm/modelyard"
RELEASE, NAMESPACE = "modelyard", "modelyard-system"
MONITORING = {
    "serviceMonitor": {"enabled": True, "labels": {"release": "prometheus"}},
    "podMonitor": {"enabled": True},
    "prometheusRule": {"enabled": True},
    "dashboards": {"enabled": True},
}
VALUES: dict[str, dict[str, Any]] = {
    "default": {},
    "namespaced": {"watchNamespace": "team-a"},
    "monitored": {"monitoring": MONITORING},
    "monitored in one namespace": {"watchNamespace": "team-a", "monitoring": MONITORING},
    "CRDs from elsewhere": {"crds": {"install": False}},
    "own account and images": {
        "serviceAccount": {"create": False, "name": "operator"},
        "rbac": {"create": False},
        "image": {"repository": "registry.internal:5000/operator", "tag": "1.2.3"},
        "platformImage": {"repository": "registry.internal:5000/platform", "digest": "sha256:" + "0" * 64},
        "imagePullSecrets": [{"name": "pull"}],
    },
    "a single pod, placed": {
        "replicas": 1,
        "nodeSelector": {"role": "system"},
        "tolerations": [{"key": "system", "operator": "Exists"}],
        "affinity": {"nodeAffinity": {}},
        "priorityClassName": "system-cluster-critical",
        "podLabels": {"team": "ml"},
        "podAnnotations": {"note": "x"},
        "env": [{"name": "HTTPS_PROXY", "value": "http://proxy:3128"}],
        "networkPolicy": {"metricsFrom": [{"namespaceSelector": {"matchLabels": {"name": "monitoring"}}}]},
        "podDisruptionBudget": {"enabled": False},
    },
}


def helm() -> Any:
    """Helm's own code as a library; skips, in words, where it has no build for this machine."""
    return pytest.importorskip("helm_python", reason="helm-python-sdk has no build for this machine")


def files(values: Mapping[str, Any], chart: Path = CHART, namespace: str = NAMESPACE) -> dict[str, str]:
    """Template → rendered text. Rendering drops disabled subcharts from a loaded chart: each call loads it anew."""
    with helm().Chart.load(chart) as loaded:
        rendered: dict[str, str] = loaded.render(dict(values), name=RELEASE, namespace=namespace)
    return rendered


def objects(values: Mapping[str, Any], chart: Path = CHART, namespace: str = NAMESPACE) -> list[dict[str, Any]]:
    """What Helm would send to the API server."""
    return list(_objects(json.dumps(values), chart, namespace))


@functools.cache
def _objects(values: str, chart: Path, namespace: str) -> tuple[dict[str, Any], ...]:
    return tuple(_documents(files(json.loads(values), chart, namespace)))


def _documents(rendered: Mapping[str, str]) -> Iterator[dict[str, Any]]:
    for name, text in sorted(rendered.items()):
        if not name.endswith("NOTES.txt"):
            yield from filter(None, yaml.load_all(text, Loader=yaml.CSafeLoader))


def of_kind(kind: str, values: Mapping[str, Any] = {}) -> dict[str, dict[str, Any]]:
    """The rendered objects of a kind by name."""
    return {item["metadata"]["name"]: item for item in objects(values) if item["kind"] == kind}
