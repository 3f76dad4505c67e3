"""What is raced: families of products, DeepBench's, those of mlkit's own networks; layers and networks whole.

Source: DeepBench (Baidu Research, 2016 – 2020, Apache-2.0): shapes of real networks, gemm column-major, alpha = beta = 1.
"""

import json
from collections.abc import Iterable, Sequence
from importlib.resources import files
from typing import Any

from ..errors import ArgumentError, DataError
from . import step
from .product import Operand, Product, gemm
from .race import Item
from .trace import Trace

SQUARES = (8, 16, 32, 64, 128, 256, 512, 1024)
SKINNY = (
    (1, 784, 128),
    (32, 100, 100),
    (128, 784, 512),
    (512, 16, 512),
    (2500, 25, 8),
    (128, 1024, 1),
    (12544, 576, 64),
    (16, 1760, 1760),
)
STACKS = ((16, 64, 64, 64), (64, 64, 32, 64), (512, 128, 64, 128))
DEEPBENCH = ("training", "server", "device")
GATES = {"vanilla": 1, "lstm": 4, "gru": 3}


def gemms() -> list[Item]:
    """Squares, the shapes that networks have, stacks, and both transpositions; float32, the squares in float64 as well."""
    found = [_item(gemm(n, n, n, dtype), "squares") for dtype in ("float32", "float64") for n in SQUARES]
    found += [_item(gemm(m, n, inner), "skinny") for m, inner, n in SKINNY]
    found += [_item(gemm(m, n, inner, "float32", *turned), "transposed") for m, inner, n in ((128, 784, 512), (256, 256, 256))
              for turned in ((True, False), (False, True), (True, True))]  # fmt: skip
    return found + [_item(_stack(*shape), "stacks") for shape in STACKS]


def layers() -> list[Item]:
    """Forward and backward of typical layers."""
    return [Item(entry.title, None, f"layer:{name}", 1, "layers") for name, entry in step.LAYERS.items()]


def networks() -> list[Item]:
    """A training step of typical networks."""
    return [Item(entry.title, None, f"train:{name}", 1, "networks") for name, entry in step.NETWORKS.items()]


def own() -> list[Item]:
    """The products of a training step of mlkit's MLP, CNN, LSTM and GPT, each with how often it comes."""
    return [item for name in step.NETWORKS for item in replayed(step.products(f"train:{name}"), name)]


def replayed(products: Iterable[Product], group: str) -> list[Item]:
    """The distinct products of a trace, weighed by how often they came."""
    trace = Trace(list(products), "", {}, {})
    return [Item(str(p), p._replace(times=1, seconds=0.0), "", p.times, group) for p in trace.distinct()]


def deepbench(parts: Sequence[str] = DEEPBENCH, most_flops: float = float("inf"), most_bytes: float = 1 << 30) -> list[Item]:
    """DeepBench's products, convolutions and recurrent networks as products, of up to that many operations and bytes each."""
    unknown = set(parts) - set(DEEPBENCH)
    if unknown:
        raise ArgumentError(f"DeepBench has no part {', '.join(sorted(unknown))}; there are {', '.join(DEEPBENCH)}")
    found: dict[Any, Item] = {}
    for part in parts:
        name = "training_set" if part == "training" else f"inference_{part}_set"
        for kind in ("gemm", "conv", "rnn"):
            for row in _shapes()[f"{kind}/{name}"]:
                for product in _PRODUCTS[kind](row, part == "training"):
                    if product.flops <= most_flops and product.size <= most_bytes:
                        found.setdefault((kind, product.key), _item(product, f"{kind}, {part}"))
    return list(found.values())


def _gemm(row: Sequence[str], training: bool) -> list[Product]:
    m, n, inner = map(int, row[:3])
    a, b = (word == "true" for word in row[3:5])
    # column-major C = A B is row-major Cᵀ = Bᵀ Aᵀ: the operands change places
    return [_accumulating(gemm(n, m, inner, "float32", b, a))]


def _conv(row: Sequence[str], training: bool) -> list[Product]:
    """As products with gathered windows: forward; in training the gradients of input and weight as well."""
    w, h, c, n, kernels, s, r, pad_w, pad_h, step_w, step_h = map(int, row[:11])
    pixels = n * ((w + 2 * pad_w - s) // step_w + 1) * ((h + 2 * pad_h - r) // step_h + 1)
    window = c * s * r
    forward = gemm(pixels, kernels, window, "float32", False, True)
    return [forward] + training * [gemm(pixels, window, kernels), gemm(kernels, window, pixels, "float32", True)]


def _rnn(row: Sequence[str], training: bool) -> list[Product]:
    """The product of every step; the inputs' is one for all steps. In training the gradients as well."""
    hidden, batch, steps = map(int, row[:3])
    wide = GATES[row[3]] * hidden
    inputs, state = (
        gemm(steps * batch, wide, hidden, "float32", False, True),
        gemm(batch, wide, hidden, "float32", False, True, steps),
    )
    back = [gemm(batch, hidden, wide, times=steps), gemm(wide, hidden, steps * batch, "float32", True)]
    return [inputs, state, *(back if training else ())]


_PRODUCTS = {"gemm": _gemm, "conv": _conv, "rnn": _rnn}


def _accumulating(product: Product) -> Product:
    a, b, _, _, out = product.operands
    return product._replace(operands=(a, b, 1.0, 1.0, out))


def _stack(count: int, m: int, inner: int, n: int) -> Product:
    a, b, out = ((count, m, inner), (count, inner, n), (count, m, n))
    dense = [Operand(shape, (shape[1] * shape[2] * 4, shape[2] * 4, 4), number) for shape, number in ((a, 0), (b, 1), (out, 4))]
    return Product("stacked_product", "float32", (dense[0], dense[1], 1.0, 0.0, dense[2]))


def _item(product: Product, group: str) -> Item:
    return Item(str(product), product._replace(times=1), "", product.times, group)


def _shapes() -> dict[str, list[list[str]]]:
    try:
        found: dict[str, list[list[str]]] = json.loads(files(__package__).joinpath("files", "deepbench_shapes.json").read_text())
    except (OSError, ValueError) as error:
        raise DataError(f"the bundled shapes of DeepBench are missing or damaged: {error}; install the package again") from error
    return found
