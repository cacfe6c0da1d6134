"""The driver: resolves every reference, then prepare → train → evaluate → register, each skipped when its output
stands; resume, failure digest and status document. It decides and records; the rooms below do the work.
"""

from modelyard.workflow.attempt import RunOptions
from modelyard.workflow.driver import run, run_id
from modelyard.workflow.news import News, Note, Progressed, RunEnded, StageBegan, StageDone, StageSkipped
from modelyard.workflow.sinks import FileSink, Sink
from modelyard.workflow.stop import StopRequest
from modelyard.workflow.to_configmap import ConfigMapSink, to_configmap

__all__ = [
    "ConfigMapSink",
    "FileSink",
    "News",
    "Note",
    "Progressed",
    "RunEnded",
    "RunOptions",
    "Sink",
    "StageBegan",
    "StageDone",
    "StageSkipped",
    "StopRequest",
    "run",
    "run_id",
    "to_configmap",
]
