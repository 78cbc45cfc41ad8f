"""What people want to know about a model: how accurate, how large, how fast."""

from subbyte.report.benchmark import bench
from subbyte.report.evaluation import evaluate

__all__ = ["bench", "evaluate"]
