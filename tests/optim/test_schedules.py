"""Schedules: their formulas, torch's numbers, and steps that are captured."""

import numpy as np
import pytest

import mlkit
from mlkit import optim
from mlkit.errors import ArgumentError, CaptureWarning

CASES = [
    ("StepLR", (3,), {"gamma": 0.5}),
    ("MultiStepLR", ([2, 5, 5],), {}),
    ("ExponentialLR", (0.9,), {}),
    ("LinearLR", (), {"total_iters": 7}),
    ("LinearLR", (), {"start_factor": 0.1, "end_factor": 0.5}),
    ("CosineAnnealingLR", (10,), {"eta_min": 0.01}),
    ("CosineAnnealingWarmRestarts", (3,), {"T_mult": 2, "eta_min": 0.01}),
    ("OneCycleLR", (), {"max_lr": 0.5, "total_steps": 20}),
    ("LambdaLR", (lambda t: 1 / (1 + t),), {}),
]


def optimizer(lr=0.1):
    return optim.SGD([mlkit.Parameter(np.ones(1))], lr=lr)


@pytest.mark.parametrize("captured", [False, True])
@pytest.mark.parametrize(("name", "arguments", "options"), CASES)
def test_a_schedule_has_torchs_rates(name, arguments, options, captured):
    torch = pytest.importorskip("torch")
    updates, other = optimizer(), torch.optim.SGD([torch.ones(1, requires_grad=True)], lr=0.1)
    schedule = getattr(optim, name)(updates, *arguments, **options)
    more = {"cycle_momentum": False} if name == "OneCycleLR" else {}
    theirs = getattr(torch.optim.lr_scheduler, name)(other, *arguments, **options, **more)

    def step(x):
        schedule.step()
        return x

    run = mlkit.capture(step) if captured else step
    for _ in range(19):
        assert updates.lr == pytest.approx(other.param_groups[0]["lr"], rel=1e-12)
        run(np.zeros(1))
        other.step()
        theirs.step()


def test_a_warm_up_is_followed_by_another_schedule():
    updates = optimizer()
    parts = [optim.LinearLR(updates, 0.1, 1.0, 4), optim.CosineAnnealingLR(updates, 10)]
    schedule = optim.SequentialLR(updates, parts, [4])
    rates = []
    for _ in range(9):
        rates.append(updates.lr)
        schedule.step()
    expected = [0.1 * (0.1 + 0.9 * t / 4) for t in range(4)] + [0.05 * (1 + np.cos(np.pi * t / 10)) for t in range(5)]
    assert np.allclose(rates, expected)


def test_a_plateau_lowers_the_rate():
    updates = optimizer()
    schedule = optim.ReduceLROnPlateau(updates, patience=2, cooldown=1)
    rates = []
    for metric in [1, 0.9, 0.9, 0.9, 0.9, 0.9, 0.9, 0.9, 0.9, 0.5, 0.5]:
        schedule.step(metric)
        rates.append(updates.lr)
    assert np.allclose(rates, [0.1] * 4 + [0.01] * 4 + [0.001] * 3)


def test_setting_the_rate_inside_a_step_cannot_be_captured():
    updates = optimizer()

    def step(x):
        updates.lr = updates.lr / 2
        return x

    run = mlkit.capture(step)
    with pytest.warns(CaptureWarning, match="setting lr"):
        run(np.zeros(1))
    run(np.zeros(1))
    assert updates.lr == 0.025


@pytest.mark.parametrize(
    "make",
    [
        lambda: optim.StepLR(optimizer(), 0),
        lambda: optim.StepLR("sgd", 1),
        lambda: optim.OneCycleLR(optimizer(), 1.0, 10, pct_start=1.5),
        lambda: optim.SequentialLR(optimizer(), [], [1]),
        lambda: optim.ReduceLROnPlateau(optimizer(), mode="best"),
        lambda: optim.ReduceLROnPlateau(optimizer(), factor=2),
    ],
)
def test_arguments_that_make_no_sense_are_refused(make):
    with pytest.raises(ArgumentError):
        make()
