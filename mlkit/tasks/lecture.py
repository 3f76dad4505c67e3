"""The lecture's case study on real data: how many people will look up an article tomorrow?

From `y = b + w·x` by gradient descent over more days and hidden units to deep networks, over-fitting and the choice of a model.
The course: Hung-yi Lee, Machine Learning 2021, "Introduction of Machine / Deep Learning"; its figures stand beside.
"""

import math
from collections.abc import Callable
from datetime import date, timedelta
from typing import Any, NamedTuple

import numpy as np

import mlkit

from .. import data, nn, ops, optim
from ..bench.page import Page
from ..kernels import Array
from ..train import fit, metric, plot, predict

Tell = Callable[[int, int, str], None]

BATCH = 32
LEARN, CHOOSE, TEST, AFTER = (2008, 2011), 2011, 2012, 2013  # years


class Candidate(NamedTuple):
    """One model of the ladder, and the losses that the lecture reports for it: learning, test."""

    name: str
    days: int
    hidden: tuple[int, ...] = ()
    unit: type[nn.Module] = nn.ReLU
    loss: Any = ops.mse_loss
    theirs: tuple[float, float] | None = None


LADDER = (
    Candidate("y = b + w·x, 1 day", 1, theirs=(0.48, 0.58)),
    Candidate("linear, 7 days", 7, theirs=(0.38, 0.49)),
    Candidate("linear, 28 days", 28, theirs=(0.33, 0.46)),
    Candidate("linear, 56 days", 56, theirs=(0.32, 0.46)),
    Candidate("linear, 56 days, trained by MAE", 56, loss=ops.l1_loss),
    Candidate("100 sigmoid units", 56, (100,), nn.Sigmoid),
    Candidate("100 ReLU", 56, (100,), theirs=(0.28, 0.43)),
    Candidate("2 layers of 100 ReLU", 56, (100,) * 2, theirs=(0.18, 0.39)),
    Candidate("3 layers of 100 ReLU", 56, (100,) * 3, theirs=(0.14, 0.38)),
    Candidate("4 layers of 100 ReLU", 56, (100,) * 4, theirs=(0.10, 0.44)),
)


class Outcome(NamedTuple):
    """Root mean squared errors of the logarithm of views, and the mean absolute error of the test year."""

    candidate: Candidate
    learned: float
    chosen: float  # of 2011, by a model that learned from 2008–2010
    tested: float
    tested_mae: float
    after: float  # of 2013, at which nobody looked
    model: nn.Module


class Views:
    """The series, scaled by mean and deviation of the years to learn from."""

    def __init__(self) -> None:
        self.first, self.series = data.daily_series()
        learn = self.series[self._place(LEARN[0]) : self._place(LEARN[1] + 1)]
        self.scale = data.Standardizer(learn)
        self.deviation = float(self.scale.deviation)

    def years(self, days: int, first: int, last: int) -> tuple[Array, Array]:
        """(n, days) the days before, (n, 1) the day, for every day of the years: scaled."""
        start, stop = max(days, self._place(first)), self._place(last + 1)
        x, y = data.windows(self.scale(self.series[start - days : stop]).astype(np.float32), days)
        return np.ascontiguousarray(x), y[:, None]

    def _place(self, year: int) -> int:
        return (date(year, 1, 1) - self.first).days


def run(epochs: int = 200, seed: int = 0, tell: Tell = lambda done, total, text: None) -> tuple[Page, list[Outcome]]:
    """Train the whole ladder; returns the page and what came out."""
    views, outcomes = Views(), []
    for number, candidate in enumerate(LADDER):
        tell(number, len(LADDER), candidate.name)
        outcomes.append(_climb(candidate, views, epochs, seed))
    return _page(views, outcomes, _descent(views), epochs, seed), outcomes


def _climb(candidate: Candidate, views: Views, epochs: int, seed: int) -> Outcome:
    """Learn from 2008–2011 for the test, and from 2008–2010 for the choice."""
    days = candidate.days
    final = _trained(candidate, views.years(days, *LEARN), epochs, seed)
    rehearsal = _trained(candidate, views.years(days, LEARN[0], CHOOSE - 1), epochs, seed)
    x, y = views.years(days, TEST, TEST)
    mae = metric.mae(predict(final, x), y) * views.deviation
    learned, tested, after = (_rmse(final, views, *years, days) for years in (LEARN, (TEST, TEST), (AFTER, AFTER)))
    return Outcome(candidate, learned, _rmse(rehearsal, views, CHOOSE, CHOOSE, days), tested, mae, after, final)


def _trained(candidate: Candidate, rows: tuple[Array, Array], epochs: int, seed: int) -> nn.Module:
    mlkit.manual_seed(seed)
    sizes = (candidate.days, *candidate.hidden)
    layers = [part for a, b in zip(sizes, sizes[1:]) for part in (nn.Linear(a, b), candidate.unit())]  # noqa: RUF007
    model = nn.Sequential(*layers, nn.Linear(sizes[-1], 1))
    optimizer = optim.Adam(model.parameters(), lr=1e-3 if candidate.hidden else 1e-2)
    schedule = optim.CosineAnnealingLR(optimizer, epochs)
    fit(model, rows, loss=candidate.loss, optimizer=optimizer, schedule=schedule, epochs=epochs, batch_size=BATCH)
    return model


def _rmse(model: nn.Module, views: Views, first: int, last: int, days: int) -> float:
    x, y = views.years(days, first, last)
    return metric.rmse(predict(model, x), y) * views.deviation


def _descent(views: Views, steps: int = 40, lr: float = 0.1) -> list[tuple[float, float]]:
    """(b, w) after each step of gradient descent on y = b + w·x, from a far corner."""
    x, y = views.years(1, *LEARN)
    model = nn.Linear(1, 1)
    optimizer = optim.SGD(model.parameters(), lr=lr)
    assert model.bias is not None
    model.bias.data[...], model.weight.data[...] = -1.5, -0.6
    path = [(-1.5, -0.6)]

    @mlkit.capture
    def step(x: Array, y: Array) -> Any:
        optimizer.zero_grad()
        loss = ops.mse_loss(model(x), y)
        loss.backward()
        optimizer.step()
        return loss

    for _ in range(steps):
        step(x, y)
        path.append((model.bias.data.item(), model.weight.data.item()))
    return path


def _page(views: Views, outcomes: list[Outcome], path: list[tuple[float, float]], epochs: int, seed: int) -> Page:
    page = Page("How many people will look it up tomorrow?")
    page.text(
        "The data are the views per day of one Wikipedia article (Peyton Manning), as logarithms, because one game can make a day "
        "sixty times busier than the one before. 2008 to 2011 are for learning, 2012 is for the test. Losses are root mean "
        "squared errors of the logarithm: 0.5 means that a prediction is typically wrong by a factor of 1.6."
    )
    _one_line(page, views, path, outcomes[0])
    _ladder(page, outcomes)
    _choice(page, outcomes)
    _tomorrow(page, views, min(outcomes, key=lambda outcome: outcome.chosen))
    page.text(
        f"Made by `mlkit train lecture --epochs {epochs} --seed {seed}` with mlkit {mlkit.__version__}, "
        f"{mlkit.blas.current().name}. Data: "
        "Wikimedia page-view statistics, CC0. Course: Hung-yi Lee, Machine Learning 2021; its data are another series (a video "
        "channel's views, 2017 to 2021), so its figures are a pattern to compare, not a mark to reach.",
        soft=True,
    )
    return page


def _one_line(page: Page, views: Views, path: list[tuple[float, float]], outcome: Outcome) -> None:
    x, y = views.years(1, *LEARN)
    # the mean of squares, multiplied out: thousands of points cost as much as one
    mx, my, mxx, mxy, myy = (float(np.mean(part)) for part in (x, y, x * x, x * y, y * y))
    page.heading("1. A function with unknowns")
    page.text(
        "y = b + w·x: the day's views y from those of the day before, x. b and w are unknown. The loss L(b, w), the mean of the "
        "squared errors, says how wrong a choice of them is; gradient descent goes downhill, each step against the slope. Both "
        "are scaled here to mean 0 and deviation 1."
    )
    page.figure(
        plot.surface(lambda b, w: myy + b * b + w * w * mxx + 2 * b * w * mx - 2 * b * my - 2 * w * mxy, (-2, 2), (-1, 2), path),
        f"The loss over b and w; {len(path) - 1} steps from (−1.5, −0.6) to ({round(path[-1][0], 2) + 0:.2f}, {path[-1][1]:.2f}).",
    )
    page.text(
        f"Trained to the end, the line is wrong by {outcome.learned:.3f} on the years it learned from, "
        f"and by {outcome.tested:.3f} in 2012."
    )


def _ladder(page: Page, outcomes: list[Outcome]) -> None:
    page.heading("2. More days, more units, more layers")
    page.text(
        "People look up a football player on match days: the same weekday a week ago tells something, and so do four and eight "
        "weeks. A sum of straight lines stays straight; hidden units with a kink (ReLU, max(0, z)) or a smooth step (sigmoid) "
        "bend it, and a layer of units upon another makes a network deep."
    )
    rows: list[tuple[str, ...]] = [("model", "parameters", "learning", "test 2012", "MAE 2012", "the lecture’s: learning, test")]
    for o in outcomes:
        theirs = ", ".join(f"{value:.2f}" for value in o.candidate.theirs or ())
        count = sum(p.size for p in o.model.parameters())
        rows.append((o.candidate.name, f"{count:,}", f"{o.learned:.3f}", f"{o.tested:.3f}", f"{o.tested_mae:.3f}", theirs))
    page.table(rows)
    deep = [o for o in outcomes if o.candidate.hidden and o.candidate.unit is nn.ReLU]
    linear = next(o for o in outcomes if o.candidate.name == "linear, 56 days")
    falling = all(b.learned < a.learned for a, b in zip(deep, deep[1:]))  # noqa: RUF007
    page.figure(_bars(outcomes), "The loss in learning and in the test.")
    verdict = "worse than" if deep[-1].tested > linear.tested else "no worse than"
    page.text(
        f"From the straight line to four layers the learning loss goes from {outcomes[0].learned:.3f} to {deep[-1].learned:.3f}; "
        f"{'with every layer it is smaller' if falling else 'not every layer makes it smaller'}. In the test the deepest network "
        f"has {deep[-1].tested:.3f}, {verdict} the straight lines through 56 days with {linear.tested:.3f}."
    )
    if deep[-1].tested > linear.tested:
        page.text("It has learned four years by heart, and the fifth is another year. That is over-fitting.")
    mae = next(o for o in outcomes if o.candidate.loss is ops.l1_loss)
    better = "lower" if mae.tested_mae < linear.tested_mae else "not lower"
    page.text(
        "Another loss: the mean absolute error (MAE) does not square, so one wild day pulls less. Trained by it, the straight "
        f"lines through 56 days have an MAE of {mae.tested_mae:.3f} in the test: {better} than the {linear.tested_mae:.3f} "
        "of those trained by squares."
    )


def _bars(outcomes: list[Outcome]) -> Any:
    figure, axes = plot.axes(9, 4)
    place = np.arange(len(outcomes))
    axes.barh(place - 0.2, [o.learned for o in outcomes], 0.38, label="learning, 2008–2011")
    axes.barh(place + 0.2, [o.tested for o in outcomes], 0.38, label="test, 2012")
    axes.set_yticks(place, [o.candidate.name for o in outcomes])
    axes.invert_yaxis()
    axes.legend(frameon=False, loc="lower center", bbox_to_anchor=(0.5, 1), ncols=2)
    return figure


def _choice(page: Page, outcomes: list[Outcome]) -> None:
    chosen, lucky = min(outcomes, key=lambda o: o.chosen), min(outcomes, key=lambda o: o.tested)
    page.heading("3. Which one?")
    page.text(
        "Not the one that is best in the test: who tries ten models and keeps the one with the best mark in 2012 has used 2012 for "
        "learning, and the mark says no longer what a new year will bring. So a part of the learning data is set aside: every "
        "model learns again, from 2008 to 2010 alone, and 2011 chooses. 2013 is a year at which nobody has looked so far."
    )
    rows = [("model", "validation 2011", "test 2012", "2013")]
    rows += [(o.candidate.name, f"{o.chosen:.3f}", f"{o.tested:.3f}", f"{o.after:.3f}") for o in outcomes]
    page.table(rows, outcomes.index(chosen))
    theirs = f"“{lucky.candidate.name}”, with {lucky.tested:.3f}; in 2013 that one has {lucky.after:.3f}"
    page.text(
        f"The validation chooses “{chosen.candidate.name}”: {chosen.tested:.3f} in 2012, {chosen.after:.3f} in 2013.",
        f"The test would have chosen {'the same' if chosen is lucky else theirs}.",
    )


def _tomorrow(page: Page, views: Views, chosen: Outcome) -> None:
    days = chosen.candidate.days
    x, y = views.years(days, TEST, TEST)
    said, came = (views.scale.inverse(part) for part in (predict(chosen.model, x), y))
    page.heading("4. Tomorrow")
    page.figure(
        plot.prediction(came, said, [date(TEST, 1, 1) + timedelta(i) for i in range(len(y))], ("what came", "what was predicted")),
        "The logarithm of the views on each day of 2012, predicted from the days before.",
    )
    last = views.scale(views.series[-days:]).astype(np.float32)[None]
    views_tomorrow = math.exp(float(views.scale.inverse(predict(chosen.model, last)[0, 0])))
    day = views.first + timedelta(len(views.series))
    page.text(
        f"The series ends on {day - timedelta(1):%-d %B %Y} with {math.exp(views.series[-1]):,.0f} views. For the next day, "
        f"“{chosen.candidate.name}” predicts {views_tomorrow:,.0f}; in the test year it was typically wrong by a factor of "
        f"{math.exp(chosen.tested):.2f}."
    )
