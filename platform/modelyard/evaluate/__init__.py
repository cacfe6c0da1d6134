"""How good a model is, with intervals: suites, metrics, references, and the verdict over gates.

Scores through `modelyard.infer`, which also serves the model. Called by workflow for TrainingJobs and EvaluationJobs;
writes nothing: its result is an EvaluationRecord.
"""

from modelyard.evaluate.suites import evaluate
from modelyard.evaluate.verdicts import combine, decide

__all__ = ["combine", "decide", "evaluate"]
