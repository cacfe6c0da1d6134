"""What the chart decides for all parents: images, the namespace's habits. A plan gets it as a value."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Settings:
    """Defaults of children. `cluster_domain` is that of Services' DNS names."""

    platform_image: str = "ghcr.io/modelyard/platform:0.1.0"
    ray_version: str = "2.60.0"
    cluster_domain: str = "cluster.local"
