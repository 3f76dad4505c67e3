"""Pictures of a training, by matplotlib: each function returns a Figure; `figure.savefig(path)` writes PNG, SVG or PDF."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ..errors import ArgumentError
from ..kernels import Array
from .history import History


def curves(history: History, names: Sequence[str] = ("loss", "validation_loss"), logarithmic: bool = False) -> Any:
    """Numbers of the history over the epochs."""
    figure, ax = axes()
    for name in names:
        if name in history:
            ax.plot(history["epoch"], history[name], label=name.replace("_", " "))
    ax.set_xlabel("epoch")
    ax.set_yscale("log" if logarithmic else "linear")
    ax.legend(frameon=False)
    return figure


def surface(
    loss: Callable[[float, float], float], b: Sequence[float], w: Sequence[float], path: Sequence[tuple[float, float]] = ()
) -> Any:
    """L(b, w) as contours between the limits of b and of w, with the path (b, w) of a descent over it."""
    figure, ax = axes()
    bs, ws = (np.linspace(limits[0], limits[1], 60) for limits in (b, w))
    heights = np.array([[loss(float(x), float(y)) for x in bs] for y in ws])
    lines = ax.contourf(bs, ws, heights, 24, cmap="viridis")
    figure.colorbar(lines, label="L(b, w)")
    if len(path):
        points = np.array(path)
        ax.plot(*points.T, ".-", color="white", markersize=4, linewidth=1)
        ax.plot(*points[-1], "o", color="tab:red")
    ax.set_xlabel("b")
    ax.set_ylabel("w")
    return figure


def prediction(targets: Any, predictions: Any, x: Any = None, labels: Sequence[str] = ("truth", "prediction")) -> Any:
    """Targets and predictions over x, or over their numbers."""
    figure, ax = axes(9)
    across = np.arange(len(targets)) if x is None else x
    ax.plot(across, np.ravel(targets), label=labels[0], linewidth=1)
    ax.plot(across, np.ravel(predictions), label=labels[1], linewidth=1)
    ax.legend(frameon=False)
    return figure


def confusion(matrix: Array, classes: Sequence[str] | None = None) -> Any:
    """A confusion matrix: rows are what was there, columns what was found, each row's colour its share."""
    figure, ax = axes(5.5, 5)
    names = [str(i) for i in range(len(matrix))] if classes is None else list(classes)
    if len(names) != len(matrix):
        raise ArgumentError(f"confusion: {len(names)} names for {len(matrix)} classes")
    shares = matrix / np.maximum(matrix.sum(1, keepdims=True), 1)
    ax.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    for (i, j), count in np.ndenumerate(matrix):
        if count:
            ax.text(j, i, str(count), ha="center", va="center", fontsize=8, color="white" if shares[i, j] > 0.5 else "black")
    long = max(map(len, names)) > 2
    ax.set_xticks(range(len(names)), names, rotation=45 if long else 0, ha="right" if long else "center")
    ax.set_yticks(range(len(names)), names)
    ax.set_xlabel("found")
    ax.set_ylabel("there")
    return figure


def images(pictures: Array, titles: Sequence[str] = (), columns: int = 10) -> Any:
    """(n, h, w) pictures – weights, drawings, mistakes – as a sheet."""
    rows = -(-len(pictures) // columns)
    figure = _sheet(columns * 0.9, rows * (1.15 if titles else 0.95))
    for number, (ax, picture) in enumerate(zip(np.ravel(figure.subplots(rows, columns)), pictures)):
        ax.imshow(picture, cmap="gray")
        if titles:
            ax.set_title(titles[number], fontsize=7)
    for ax in figure.axes:
        ax.set_axis_off()
    return figure


def axes(width: float = 6, height: float = 3.8) -> tuple[Any, Any]:
    """A new figure of that size in inches, and its axes."""
    figure = _sheet(width, height)
    return figure, figure.subplots()


def _sheet(width: float, height: float) -> Any:
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ArgumentError("plots need matplotlib: apt install python3-matplotlib, or pip install matplotlib") from error
    return Figure(figsize=(width, height), layout="constrained")
