"""The data that comes with the package: handwritten digits, and the daily views of a Wikipedia article."""

import gzip
import io
import zlib
from datetime import date
from importlib.resources import files
from itertools import pairwise

import numpy as np

from ..errors import ArgumentError, DataError
from ..kernels import Array
from .split import Split

PIXELS, LARGEST_PIXEL = 64, 16


def digits() -> Split:
    """Images (n, 64) from 0 to 1, class numbers (n,): 1437 to learn from, the last 360 for the test.

    Source: Alpaydin & Kaynak, optical recognition of handwritten digits (UCI), CC BY 4.0.
    """
    try:
        text = gzip.decompress(_bytes("digits.csv.gz"))
        if not text.strip():
            raise ValueError("nothing is in it")
        table = np.loadtxt(io.BytesIO(text), delimiter=",", dtype=np.float32, ndmin=2)
    except (ValueError, EOFError, zlib.error, OSError) as error:
        raise DataError(f"the bundled digits are damaged: {error}; install the package again") from error
    if table.shape != (1797, PIXELS + 1):
        raise DataError(f"the bundled digits have shape {table.shape}, not (1797, 65); install the package again")
    x, y = table[:, :PIXELS] / LARGEST_PIXEL, table[:, PIXELS].astype(np.int64)
    cut = len(x) * 4 // 5
    return Split(x[:cut], y[:cut], x[cut:], y[cut:])


def daily_views(days: int = 56) -> Split:
    """The logarithm of a day's views (n, 1) from those of the `days` days before (n, days): learn 2008–2011, test 2012.

    Missing days are interpolated; both are shifted and scaled by mean and deviation of the years to learn from.
    Source: Wikimedia page-view statistics, CC0.
    """
    if not 1 <= days <= 365:
        raise ArgumentError(f"days is {days}; it must be from 1 to 365")
    first, series = daily_series()
    windows = np.lib.stride_tricks.sliding_window_view(series, days + 1)
    starts = [(date(year, 1, 1) - first).days - days for year in (2008, 2012, 2013)]
    learn, test = (windows[max(0, a) : b] for a, b in pairwise(starts))
    mean, deviation = learn[:, -1].mean(), learn[:, -1].std()
    scaled = [((part - mean) / deviation).astype(np.float32) for part in (learn, test)]
    return Split(*(np.ascontiguousarray(x) for part in scaled for x in (part[:, :-1], part[:, -1:])))


def daily_series() -> tuple[date, Array]:
    """(the first day, (n,) logarithm of the views on it and on every day after): the Wikipedia article on Peyton Manning.

    Missing days are interpolated. Source: Wikimedia page-view statistics, CC0.
    """
    rows = _bytes("wikipedia_daily_views.csv").decode().split()[1:]
    try:
        known = [(date.fromisoformat(day).toordinal(), int(views)) for day, views in (row.split(",") for row in rows)]
    except ValueError as error:
        raise DataError(f"the bundled daily views are damaged: {error}; install the package again") from error
    if len(known) != 2905:
        raise DataError(f"the bundled daily views have {len(known)} rows, not 2905; install the package again")
    days, views = np.array(known).T
    return date.fromordinal(int(days[0])), np.interp(np.arange(days[0], days[-1] + 1), days, np.log(views))


def _bytes(name: str) -> bytes:
    try:
        return files(__package__).joinpath("files", name).read_bytes()
    except OSError as error:
        raise DataError(f"the bundled file {name} is missing: {error}; install the package again") from error
