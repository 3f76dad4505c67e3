"""The same networks under every BLAS, side by side."""

from .contest import Row, compete
from .report import as_json, sentence, table
from .workload import WORKLOADS, Training, Workload, available

__all__ = ["WORKLOADS", "Row", "Training", "Workload", "as_json", "available", "compete", "sentence", "table"]
