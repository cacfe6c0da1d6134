"""A manifest written as YAML: in the order of the fields' declaration, with or without defaults."""

from __future__ import annotations

import io
from typing import Any

from ruamel.yaml import YAML

from modelyard.spec.digests import canonical
from modelyard.spec.manifests import Manifest


def to_dict(manifest: Manifest, *, defaults: bool) -> dict[str, Any]:
    """Plain values under the manifest's own names; unset fields are left out, defaults when not asked for."""
    if defaults:
        document: dict[str, Any] = manifest.model_dump(mode="json", by_alias=True, exclude_none=True)
        return document
    return {"apiVersion": manifest.api_version, "kind": manifest.kind, **canonical(manifest)}


def to_yaml(manifest: Manifest, *, defaults: bool) -> str:
    """YAML that reads back as an equal manifest."""
    yaml = YAML(typ="safe", pure=True)
    yaml.default_flow_style = False
    yaml.sort_base_mapping_type_on_output = False  # type: ignore[assignment]
    yaml.width = 120
    out = io.StringIO()
    yaml.dump(to_dict(manifest, defaults=defaults), out)
    return out.getvalue()
