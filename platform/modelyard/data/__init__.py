"""Sources to documents, documents to memory-mapped token shards, shards to the rows of every training step.

Knows no torch and no Ray. `prepare` is called by workflow, `Loader` by train, `read_documents` and `open_split` by
evaluate too.
"""

from modelyard.data.documents import REASONS, BadRecord, Document, read_documents
from modelyard.data.inputs import dataset_digest, recognise
from modelyard.data.loader import IGNORED, Loader, Rows
from modelyard.data.prepare import prepare
from modelyard.data.shards import Split, open_split

__all__ = [
    "IGNORED",
    "REASONS",
    "BadRecord",
    "Document",
    "Loader",
    "Rows",
    "Split",
    "dataset_digest",
    "open_split",
    "prepare",
    "read_documents",
    "recognise",
]
