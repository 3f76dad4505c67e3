"""Which algorithm makes a convolution: that of least products, transforms counted in."""

from types import ModuleType

from ...kernels import Array
from ..image import Padded
from . import direct, gathered, planar, pointwise, winograd
from .geometry import Geometry

ALGORITHMS: dict[str, ModuleType] = {
    "direct": direct, "winograd": winograd, "planar": planar, "gathered": gathered, "pointwise": pointwise,
}  # fmt: skip
PASS = 24  # products that take as long as one number of an elementwise pass: the price of Winograd's transforms
LEAST = 15_000_000  # operations of a convolution of few pixels from which Winograd's many calls are not too many
WEIGHTS = 3000  # for each pixel, up to which weights are not too many to be transformed


def choose(g: Geometry) -> str:
    """The name of the algorithm for a convolution."""
    if pointwise.suits(g):
        return "pointwise"
    if planar.suits(g):
        return "planar"
    (taps, width), pixels = g.kernel, g.batch * g.out_height * g.out_pitch
    weights = taps * width * g.channels * g.outputs
    transformed = winograd.suits(g) and 2 * weights * pixels >= LEAST and weights <= WEIGHTS * pixels
    if gathered.suits(g) and not transformed:
        return "gathered"
    if not winograd.suits(g):
        return "direct"
    rows = winograd.tile(g)
    whole = winograd.planes(g) / g.out_height  # the last tile may lack rows
    transforms = PASS * (17 * g.channels + (3 * rows + 2) * g.outputs) / rows
    filters = PASS * (winograd.POINTS + taps) * width * g.channels * g.outputs / pixels
    products = 2 * winograd.POINTS * width / rows * g.channels * g.outputs
    return "winograd" if whole * (products + transforms) + filters < 2 * weights else "direct"


def source_of(g: Geometry, x: Array, name: str) -> Padded:
    """The input, (H, N, W, C), with the zeros around it that the algorithm wants."""
    if name == "pointwise":
        return pointwise.seen(g, x)
    if name == "planar":
        return planar.padded(g, x.transpose(3, 0, 1, 2))
    if name == "gathered":
        return gathered.seen(g, x)
    return g.padded(x, winograd.planes(g) + g.kernel[0] - 1 if name == "winograd" else 0)
