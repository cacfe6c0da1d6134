"""Alerts and dashboards ask for series that exist, in PromQL that parses; alerts lead to a page that helps."""

from __future__ import annotations

import importlib.util
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import promql_parser
import pytest

from modelyard.serve.meters import Meters
from modelyard_operator.runtime.cache import Cache
from modelyard_operator.runtime.metrics import Metrics
from modelyard_operator.runtime.progress import Progress
from support.charts import CHART, VALUES, objects, of_kind
from support.monitoring_kinds import SPECS

RUNBOOKS = Path(__file__).parents[3] / "docs/how-to/cluster-troubleshooting.md"
DASHBOARDS = sorted((CHART / "dashboards").glob("*.json"))


@pytest.mark.parametrize("values", [VALUES["monitored"], VALUES["monitored in one namespace"]], ids=["all", "one"])
def test_kinds_of_the_prometheus_operator_fit_their_schema(values: dict[str, Any]) -> None:
    found = [item for item in objects(values) if item["apiVersion"] == "monitoring.coreos.com/v1"]
    assert {item["kind"] for item in found} == set(SPECS)
    for item in found:
        jsonschema.validate(item["spec"], SPECS[item["kind"]])


def test_a_misspelt_field_of_these_kinds_would_be_seen() -> None:
    (monitor,) = of_kind("ServiceMonitor", VALUES["monitored"]).values()
    broken = {**monitor["spec"], "endpoints": [{**monitor["spec"]["endpoints"][0], "honourLabels": True}]}
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(broken, SPECS["ServiceMonitor"])


def alerts() -> list[dict[str, Any]]:
    """The rules as they are rendered."""
    (item,) = of_kind("PrometheusRule", VALUES["monitored"]).values()
    return [rule for group in item["spec"]["groups"] for rule in group["rules"]]


def test_monitors_and_rules_meet_at_the_same_job() -> None:
    assert "modelyard-metrics" in of_kind("Service")  # Prometheus names the job after the Service
    asked = [rule["expr"] for rule in alerts() if rule["alert"].startswith("ModelyardOperator")]
    assert all('job="modelyard-metrics"' in expression for expression in asked)
    assert "JOB" not in json.dumps(alerts())


@pytest.mark.parametrize("rule", alerts(), ids=lambda rule: rule["alert"])
def test_an_alert_says_what_is_so_and_where_help_is(rule: dict[str, Any]) -> None:
    assert rule["labels"]["severity"] in ("critical", "warning", "info")
    assert rule["annotations"]["summary"].endswith(".")
    assert rule["annotations"]["description"].endswith((".", "minutes."))
    page, _, anchor = rule["annotations"]["runbook_url"].partition("#")
    assert page.endswith(f"/how-to/{RUNBOOKS.stem}.html")
    assert anchor == rule["alert"].lower()
    assert f"{{ #{anchor} }}" in RUNBOOKS.read_text()


def test_every_runbook_is_of_an_alert() -> None:
    written = set(re.findall(r"\{ #(modelyard\w+) \}", RUNBOOKS.read_text()))
    assert written == {rule["alert"].lower() for rule in alerts()}


def panels(path: Path) -> Iterator[dict[str, Any]]:
    """All but the rows' headings."""
    yield from (panel for panel in json.loads(path.read_text())["panels"] if panel["type"] != "row")


def expressions() -> list[Any]:
    """Every PromQL expression of the chart, named by where it stands."""
    found = [pytest.param(rule["expr"], id=rule["alert"]) for rule in alerts()]
    for path in DASHBOARDS:
        for panel in panels(path):
            for target in panel["targets"]:
                found.append(pytest.param(target["expr"], id=f"{path.stem}: {panel['title']} {target['refId']}"))
    return found


@pytest.mark.parametrize("expression", expressions())
def test_it_parses_and_asks_for_what_is_exposed(expression: str) -> None:
    names = set(series(promql_parser.parse(expression.replace("$__rate_interval", "5m"))))
    assert names
    assert names - exposed() == set()


def series(node: Any) -> Iterator[str]:
    """The names of the series that an expression asks for."""
    if type(node).__name__ == "VectorSelector":
        yield node.name
    for part in ("expr", "lhs", "rhs", "vector_selector"):
        if getattr(node, part, None) is not None:
            yield from series(getattr(node, part))
    for argument in getattr(node, "args", ()):
        yield from series(argument)


def exposed() -> set[str]:
    """Every series that the operator, a gateway and Ray can expose, by the name that a scrape gives it."""
    operator = Metrics()
    operator.registry.register(Progress(Cache()))
    families = [*operator.registry.collect(), *Meters("m").registry.collect()]
    suffixes = {"counter": ("_total",), "histogram": ("_bucket", "_count", "_sum")}
    own = {family.name + suffix for family in families for suffix in suffixes.get(family.type, ("",))}
    return own | ray_series()


def ray_series() -> set[str]:
    """Those of the installed Ray's node reporter, which it exposes with `ray_` before."""
    ray = importlib.util.find_spec("ray")
    assert ray is not None
    assert ray.origin is not None
    reporter = Path(ray.origin).parent / "dashboard/modules/reporter/reporter_agent.py"
    return {f"ray_{name}" for name in re.findall(r'^ *"(node_\w+)": Gauge\(', reporter.read_text(), re.M)}


def test_the_collection_of_series_sees_what_is_missing() -> None:
    assert "modelyard_train_step" in exposed()
    assert "vllm:request_success_total" in exposed()
    assert "ray_node_mem_used" in exposed()
    assert set(series(promql_parser.parse("rate(nothing_total[5m]) / sum by (a) (x{b='c'})"))) == {"nothing_total", "x"}


@pytest.mark.parametrize("path", DASHBOARDS, ids=lambda path: path.stem)
def test_a_dashboard_is_whole(path: Path) -> None:
    board = json.loads(path.read_text())
    assert board["uid"] == f"modelyard-{path.stem}"
    assert board["templating"]["list"][0]["type"] == "datasource"
    assert all(panel["datasource"]["uid"] == "${datasource}" for panel in panels(path))
    assert len({panel["id"] for panel in board["panels"]}) == len(board["panels"])
    taken: set[tuple[int, int]] = set()
    for place in (panel["gridPos"] for panel in board["panels"]):
        cells = {(place["x"] + x, place["y"] + y) for x in range(place["w"]) for y in range(place["h"])}
        assert not cells & taken
        assert place["x"] + place["w"] <= 24
        taken |= cells


def test_dashboards_reach_grafana_as_they_are() -> None:
    rendered = of_kind("ConfigMap", VALUES["monitored"])
    assert len(DASHBOARDS) == 3
    for path in DASHBOARDS:
        item = rendered[f"modelyard-dashboard-{path.stem}"]
        assert item["metadata"]["labels"]["grafana_dashboard"] == "1"
        assert json.loads(item["data"][f"modelyard-{path.name}"]) == json.loads(path.read_text())
