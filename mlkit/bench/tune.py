"""A race as a profile: which library "auto" sends each shape to."""

from collections.abc import Sequence

from ..blas.tuning import Choice, Profile, Shape, machine
from .product import Product
from .race import Item, Outcome
from .suite import gemms, own

GAIN = 1.02  # by which another library must win at least
SWITCH = 1e-6  # seconds that it takes to give a library another number of threads, and back


def items() -> list[Item]:
    """What is raced if no trace is given: the products of typical networks, and those of all shapes; each once."""
    found: dict[object, Item] = {}
    for item in (*own(), *gemms()):
        if item.product is not None:
            found.setdefault(item.product.key, item)
    return list(found.values())


def shape_of(product: Product) -> Shape | None:
    """The shape that decides, if the product is one of matrices."""
    if product.kernel not in ("matrix_product", "stacked_product"):
        return None
    a, b = product.arrays[:2]
    return Shape(product.dtype, product.turned, a.shape[0] if len(a.shape) == 3 else 1, a.shape[-2], b.shape[-1], a.shape[-1])


def profile(found: Outcome) -> Profile:
    """For each number of threads the base, whose items together take least, and who beats it by more than the noise, where.

    Whoever may use two threads may also use one.
    """
    base: dict[int, Choice] = {}
    winners: dict[int, list[tuple[Shape, Choice]]] = {}
    choices = [Choice(r.library, min(r.threads, int(r.facts.get("threads") or r.threads))) for r in found.runners]
    for count in sorted({runner.threads for runner in found.runners}):
        mine = [i for i, runner in enumerate(found.runners) if runner.threads <= count and not runner.failure]
        if not mine:
            continue
        first = min(mine, key=lambda i: _slowness(found, i))
        base[count] = choices[first]
        winners[count] = [
            (shape, choices[_winner(found, number, first, mine, count)])
            for number, m in enumerate(found.measured) if m.item.product and (shape := shape_of(m.item.product))
        ]  # fmt: skip
    libraries = {runner.library: f"{runner.facts.get('path')} {runner.facts.get('version')}" for runner in found.runners}
    return Profile(machine(), libraries, base, winners)


def sentences(found: Profile) -> list[str]:
    """What "auto" will do."""
    said = []
    for count, base in found.base.items():
        rows = found.winners[count]
        others = [choice for _, choice in rows if choice != base]
        words = ", ".join(f"{others.count(choice)} {_named(choice, count)}" for choice in dict.fromkeys(others)) or "none another"
        said.append(f"with {count} thread{'s' * (count != 1)}: {_named(base, count)}, and of {len(rows)} shapes {words}")
    return said


def _named(choice: Choice, count: int) -> str:
    return choice.library if choice.threads == count else f"{choice.library} with {choice.threads}"


def _slowness(found: Outcome, i: int) -> tuple[int, float]:
    """In how many items it failed, then the seconds of all the others."""
    times = [m.median(i) * m.item.weight for m in found.measured if m.seconds[i]]
    return len(found.measured) - len(times), sum(times)


def _winner(found: Outcome, number: int, first: int, runners: Sequence[int], count: int) -> int:
    """The fastest, if it beats the base by more than noise and gain; else the base."""
    m = found.measured[number]
    alive = [i for i in runners if m.seconds[i]]
    best = min(alive, key=m.median, default=first)
    comparison = m.against(best, first) if m.seconds[first] else None
    if best == first or comparison is None:
        return first
    gain = GAIN * (1 + SWITCH / m.median(best) * (found.runners[best].threads < count))
    return best if comparison.verdict == "faster" and comparison.low > gain else first
