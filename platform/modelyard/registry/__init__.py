"""Immutable model versions with digests, aliases with history, and the way back to the data.

It knows no torch and loads no model; weights are files to it. `store` registers and resolves, `index` says where
versions and aliases are kept, `lineage` walks back.
"""

from modelyard.registry.lineage import DatasetLineage, Lineage, RunLineage, trace
from modelyard.registry.references import SCHEME, Reference, names_folder, parse_reference
from modelyard.registry.store import Registry, Resolved, open_registry

__all__ = [
    "SCHEME",
    "DatasetLineage",
    "Lineage",
    "Reference",
    "Registry",
    "Resolved",
    "RunLineage",
    "names_folder",
    "open_registry",
    "parse_reference",
    "trace",
]
