"""The same networks under every BLAS, side by side."""

from . import figure, outcome, paper, suite
from .contest import Row, compete
from .race import Item, Outcome, race
from .report import as_json, sentence, table
from .trace import Trace, Tracer
from .workload import WORKLOADS, Training, Workload, available

__all__ = [
    "WORKLOADS",
    "Item",
    "Outcome",
    "Row",
    "Trace",
    "Tracer",
    "Training",
    "Workload",
    "as_json",
    "available",
    "compete",
    "figure",
    "outcome",
    "paper",
    "race",
    "sentence",
    "suite",
    "table",
]
