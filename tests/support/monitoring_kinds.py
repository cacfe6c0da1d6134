"""JSON schemas of what the chart uses of the Prometheus operator's kinds: its CRDs' fields (v0.80 and later), closed.

The published CRDs are 30 to 60 KB each and in no package; these hold the names and types of the fields that we set, and
refuse any other, so that a misspelt one fails here and not in somebody's cluster.
"""

from __future__ import annotations

from typing import Any

DURATION = {
    "type": "string",
    "pattern": r"^(0|(([0-9]+)y)?(([0-9]+)w)?(([0-9]+)d)?(([0-9]+)h)?(([0-9]+)m)?(([0-9]+)s)?(([0-9]+)ms)?)$",
}
TEXTS = {"type": "object", "additionalProperties": {"type": "string"}}
NAMES = {"type": "array", "items": {"type": "string"}}


def _closed(required: list[str], **fields: Any) -> dict[str, Any]:
    return {"type": "object", "required": required, "properties": fields, "additionalProperties": False}


SELECTOR = _closed([], matchLabels=TEXTS)
NAMESPACES = _closed([], any={"type": "boolean"}, matchNames=NAMES)
RELABELING = _closed([], sourceLabels=NAMES, regex={"type": "string"}, action={"enum": ["keep", "drop", "replace"]})
ENDPOINT = {
    "port": {"type": "string"},
    "path": {"type": "string"},
    "interval": DURATION,
    "honorLabels": {"type": "boolean"},
    "relabelings": {"type": "array", "items": RELABELING},
}
RULE = _closed(
    ["alert", "expr"],
    alert={"type": "string"},
    expr={"type": "string"},
    **{"for": DURATION},
    labels=TEXTS,
    annotations=TEXTS,
)
GROUP = _closed(["name"], name={"type": "string"}, rules={"type": "array", "items": RULE, "minItems": 1})
SPECS = {
    "ServiceMonitor": _closed(
        ["endpoints", "selector"],
        selector=SELECTOR,
        namespaceSelector=NAMESPACES,
        endpoints={"type": "array", "items": _closed([], **ENDPOINT), "minItems": 1},
    ),
    "PodMonitor": _closed(
        ["podMetricsEndpoints", "selector"],
        selector=SELECTOR,
        namespaceSelector=NAMESPACES,
        podTargetLabels=NAMES,
        podMetricsEndpoints={"type": "array", "items": _closed([], **ENDPOINT), "minItems": 1},
    ),
    "PrometheusRule": _closed([], groups={"type": "array", "items": GROUP, "minItems": 1}),
}
