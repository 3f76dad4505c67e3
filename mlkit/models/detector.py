"""A detector that looks once, in the manner of YOLO (Redmon et al. 2016, Redmon & Farhadi 2017): what it is, and where.

The image is a grid of cells; each cell has anchors, boxes of usual sizes. For every anchor the network says whether an object's
centre lies in the cell, how the box differs from the anchor, and which class it is. A box is (centre x, centre y, width, height),
each as a share of the image.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from .. import kernels as k
from .. import nn, ops
from ..errors import ArgumentError, ShapeError
from ..kernels import Array

if TYPE_CHECKING:
    from numpy.random import Generator

ANCHORS = ((0.22, 0.22), (0.32, 0.32), (0.45, 0.45))
BOX = 5  # numbers before the classes: is there an object, centre, size


class Found(NamedTuple):
    """What was found in one image, the surest first."""

    boxes: Array  # (count, 4)
    scores: Array  # (count,)
    classes: Array  # (count,)


class Scene(NamedTuple):
    """An image, (1, size, size), with its boxes, (count, 4), and classes, (count,)."""

    image: Array
    boxes: Array
    classes: Array


class Detector(nn.Module):
    """(N, channels, 8 S, 8 S) -> (N, anchors, 5 + classes, S, S) numbers that `detections` reads."""

    def __init__(
        self, num_classes: int = 10, channels: int = 1, width: int = 16, anchors: Sequence[tuple[float, float]] = ANCHORS
    ) -> None:
        if not anchors or num_classes < 1:
            raise ArgumentError(f"Detector: {len(anchors)} anchors and {num_classes} classes; it takes one of each at least")
        self.num_classes, self.anchors = num_classes, np.array(anchors, np.float32)
        layers: list[nn.Module] = []
        before = channels
        for outputs in (width, 2 * width, 4 * width):
            layers += [nn.Conv2d(before, outputs, 3, padding=1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU(), nn.MaxPool2d(2)]
            before = outputs
        layers += [nn.Conv2d(before, before, 3, padding=1, bias=False), nn.BatchNorm2d(before), nn.ReLU()]
        self.backbone = nn.Sequential(*layers)
        self.head = nn.Conv2d(before, len(anchors) * (BOX + num_classes), 1)

    def forward(self, x: Any) -> Any:
        if x.ndim != 4 or x.shape[2] != x.shape[3] or x.shape[2] % 8:
            raise ShapeError(f"Detector: images {x.shape}; it takes (N, channels, S, S), S a multiple of 8")
        y = self.head(self.backbone(x))
        return ops.reshape(y, y.shape[0], len(self.anchors), BOX + self.num_classes, *y.shape[2:])

    def targets(self, scenes: Sequence[Scene], cells: int) -> tuple[Array, Array]:
        """What the network should say: (N, anchors, 5, S, S) – object, centre in the cell, logarithm of the size – and classes.

        Each box belongs to the cell of its centre and to the anchor most like it. Where there is none the class is -1.
        """
        wanted = np.zeros((len(scenes), len(self.anchors), BOX, cells, cells), np.float32)
        classes = np.full((len(scenes), len(self.anchors), cells, cells), -1)
        for n, scene in enumerate(scenes):
            for (x, y, w, h), kind in zip(scene.boxes, scene.classes):
                i, j = min(int(y * cells), cells - 1), min(int(x * cells), cells - 1)
                shared = np.minimum(self.anchors, (w, h)).prod(1)
                a = int(np.argmax(shared / (self.anchors.prod(1) + w * h - shared)))
                wanted[n, a, :, i, j] = 1, x * cells - j, y * cells - i, *np.log((w, h) / self.anchors[a])
                classes[n, a, i, j] = kind
        return wanted, classes

    def loss(self, raw: Any, wanted: Any, classes: Any) -> Any:
        """Cross-entropy of object, centre and class, squared error of the size's logarithm, all per image."""
        wanted, classes = (a.data if isinstance(a, k.Value) else a for a in (wanted, classes))
        here, batch = wanted[:, :, :1], len(wanted)
        object_ = ops.binary_cross_entropy_with_logits(raw[:, :, :1], here, reduction="sum")
        centre = ops.binary_cross_entropy_with_logits(raw[:, :, 1:3], wanted[:, :, 1:3], reduction="none")
        size = raw[:, :, 3:5] - wanted[:, :, 3:5]
        place = ops.sum((centre + size * size) * here)
        rows = ops.reshape(ops.permute(raw[:, :, BOX:], 0, 1, 3, 4, 2), -1, self.num_classes)
        kind = ops.cross_entropy(rows, k.dense(classes).reshape(-1), reduction="sum", ignore_index=-1)
        return (object_ + place * 2.0 + kind) * (1 / batch)

    def detections(self, raw: Any, threshold: float = 0.5, overlap: float = 0.5) -> list[Found]:
        """What the network says, image by image: boxes whose score is above the threshold, those that repeat others removed."""
        y = np.asarray(raw)
        cells = y.shape[-1]
        sure, across, down = (1 / (1 + np.exp(-y[:, :, i])) for i in range(3))
        grid = np.arange(cells)
        boxes = np.stack([
            (across + grid) / cells, (down + grid[:, None]) / cells,
            *(self.anchors[:, i, None, None] * np.exp(np.minimum(y[:, :, 3 + i], 4)) for i in range(2)),
        ], axis=-1)  # fmt: skip
        p = np.exp(y[:, :, BOX:] - y[:, :, BOX:].max(2, keepdims=True))
        p /= p.sum(2, keepdims=True)
        scores, kinds = sure * p.max(2), p.argmax(2)
        found = []
        for box, score, kind in zip(boxes, scores, kinds):
            chosen = score > threshold
            best = non_maximum_suppression(box[chosen], score[chosen], kind[chosen], overlap)
            found.append(Found(box[chosen][best], score[chosen][best], kind[chosen][best]))
        return found


def intersection_over_union(a: Array, b: Array) -> Array:
    """Of every box of one list with every box of another: (m, 4), (n, 4) -> (m, n)."""
    low = np.maximum((a[:, :2] - a[:, 2:] / 2)[:, None], b[:, :2] - b[:, 2:] / 2)
    high = np.minimum((a[:, :2] + a[:, 2:] / 2)[:, None], b[:, :2] + b[:, 2:] / 2)
    shared = np.maximum(high - low, 0).prod(2)
    found: Array = shared / np.maximum(a[:, 2:].prod(1)[:, None] + b[:, 2:].prod(1) - shared, 1e-12)
    return found


def non_maximum_suppression(boxes: Array, scores: Array, classes: Array, overlap: float = 0.5) -> Array:
    """Which boxes stay, the surest first: none overlaps a surer one of its class by more than `overlap`."""
    waiting, kept = np.argsort(-scores, kind="stable"), []
    while len(waiting):
        first, rest = waiting[0], waiting[1:]
        kept.append(first)
        same = classes[rest] == classes[first]
        waiting = rest[~(same & (intersection_over_union(boxes[first : first + 1], boxes[rest])[0] > overlap))]
    return np.array(kept, int)


def mean_average_precision(found: Sequence[Found], scenes: Sequence[Scene], overlap: float = 0.5) -> float:
    """The area under precision over recall, its mean over the classes; a find counts if it overlaps an object by `overlap`.

    Precision is made monotonic first, as in PASCAL VOC from 2010 on (Everingham et al. 2010).
    """
    if len(found) != len(scenes):
        raise ShapeError(f"mean_average_precision: finds in {len(found)} images, objects in {len(scenes)}")
    kinds = sorted({int(kind) for scene in scenes for kind in scene.classes})
    return float(np.mean([_average_precision(kind, found, scenes, overlap) for kind in kinds])) if kinds else float("nan")


def _average_precision(kind: int, found: Sequence[Found], scenes: Sequence[Scene], overlap: float) -> float:
    objects = [scene.boxes[scene.classes == kind] for scene in scenes]
    free = [np.ones(len(boxes), bool) for boxes in objects]
    finds = [(score, n, box) for n, f in enumerate(found) for box, score, c in zip(*f) if c == kind]
    right = np.zeros(len(finds))
    for place, (_, n, box) in enumerate(sorted(finds, key=lambda find: -find[0])):
        if len(objects[n]):
            shares = np.where(free[n], intersection_over_union(box[None], objects[n])[0], 0)
            best = int(shares.argmax())
            if shares[best] >= overlap:
                right[place], free[n][best] = 1, False
    hits = np.cumsum(right)
    recall = np.concatenate([[0], hits / sum(map(len, objects))])
    precision = np.maximum.accumulate((hits / np.arange(1, len(finds) + 1))[::-1])[::-1]
    return float((np.diff(recall) * precision).sum())


def scenes(images: Array, labels: Array, count: int, size: int = 64, most: int = 3, rng: "Generator | None" = None) -> list[Scene]:
    """Scenes made of small images, (n, h, w) from 0 to 1: up to `most` on each, larger or smaller, not on top of each other."""
    rng = nn.init.generator(rng)
    return [_scene(images, labels, size, most, rng) for _ in range(count)]


def _scene(images: Array, labels: Array, size: int, most: int, rng: "Generator") -> Scene:
    canvas = np.zeros((1, size, size), np.float32)
    boxes: list[tuple[float, float, float, float]] = []
    kinds: list[int] = []
    for _ in range(int(rng.integers(1, most + 1))):
        number = int(rng.integers(len(images)))
        side = int(rng.integers(size // 5, size // 2))
        top, left = (int(rng.integers(0, size - side)) for _ in range(2))
        box = (left + side / 2) / size, (top + side / 2) / size, side / size, side / size
        if boxes and intersection_over_union(np.array([box]), np.array(boxes)).max() > 0.05:
            continue
        rows, columns = ((np.arange(side) * n) // side for n in images[number].shape)
        part = canvas[0, top : top + side, left : left + side]
        np.maximum(part, images[number][rows[:, None], columns], out=part)
        boxes.append(box)
        kinds.append(int(labels[number]))
    return Scene(canvas, np.array(boxes, np.float32).reshape(-1, 4), np.array(kinds))
