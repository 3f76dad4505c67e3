"""Capture, replay, arena, table, retargeting, saving."""

import json
import warnings

import numpy as np
import pytest

import mlkit
from mlkit import blas, data, models, nn, ops, optim
from mlkit import kernels as k
from mlkit.errors import ArgumentError, CaptureError, CaptureWarning, PlanError
from mlkit.plan import Capture, Plan, arena


def training(seed=0, optimizer=optim.Adam, sizes=(6, 8, 3)):
    rng = np.random.default_rng(seed)
    model = nn.Sequential(nn.Linear(*sizes[:2], rng=rng), nn.ReLU(), nn.Linear(*sizes[1:], rng=rng))
    updates = optimizer(model.parameters(), lr=0.01)
    return model, updates, step_of(model, updates)


def step_of(model, updates):
    def step(x, y):
        updates.zero_grad()
        loss = ops.cross_entropy(model(x), y)
        loss.backward()
        updates.step()
        return loss

    return step


def batch(rng, size=5):
    return rng.standard_normal((size, 6), dtype=np.float32), rng.integers(0, 3, size)


@pytest.mark.parametrize("optimizer", [optim.SGD, optim.Adam, optim.AdamW])
def test_replay_and_eager_give_the_same_bits(library, rng, optimizer):
    (one, _, eager), (two, _, step) = training(optimizer=optimizer), training(optimizer=optimizer)
    captured = mlkit.capture(step)
    for _ in range(4):
        x, y = batch(rng)
        assert eager(x, y).item() == captured(x, y).item()
    assert all(np.array_equal(a.data, b.data) for a, b in zip(one.parameters(), two.parameters()))
    assert len(captured.plans) == 1


def test_a_changed_learning_rate_reaches_the_replay(rng):
    (one, a, eager), (two, b, step) = training(), training()
    captured = mlkit.capture(step)
    for lr in (0.1, 0.01, 0.5):
        a.lr = b.lr = lr
        x, y = batch(rng)
        eager(x, y), captured(x, y)
    assert all(np.array_equal(p.data, q.data) for p, q in zip(one.parameters(), two.parameters()))


def test_shapes_that_change_get_their_own_plan_and_old_ones_go(rng):
    calls = []

    def step(x):
        calls.append(x.shape)
        return ops.sum(ops.multiply(ops.relu(x), 2.0))

    captured = mlkit.capture(step, most=2)
    for size in (3, 4, 3, 5, 3):
        x = rng.standard_normal((size, 2))
        assert np.isclose(captured(x), 2 * np.maximum(x, 0).sum())
    assert [shape[0] for shape in calls] == [3, 4, 5, 3]
    captured(np.ones((3, 2), np.float32))
    assert len(calls) == 5, "another dtype is another signature"


def test_results_keep_their_structure_and_do_not_change_with_the_next_replay(rng):
    captured = mlkit.capture(lambda x: {"a": (ops.relu(x), [x * 2.0]), "b": None, "c": 3})
    first = captured(mlkit.tensor([1.0, -1.0]))
    second = captured(mlkit.tensor([5.0, 6.0]))
    third = captured(mlkit.tensor([7.0, -8.0]))
    assert first["a"][0].data.tolist() == [1, 0]
    assert second["a"][0].data.tolist() == [5, 6]
    assert third["a"][1][0].data.tolist() == [14, -16]
    assert isinstance(third["a"][0], mlkit.Tensor)
    pair = mlkit.capture(lambda x: data.Split(x, x * 2.0, None, 4))
    for value in (1.0, 3.0):
        found = pair(mlkit.tensor([value]))
        assert isinstance(found, data.Split)
        assert (found.x_train.item(), found.y_train.item(), found.x_test, found.y_test) == (value, 2 * value, None, 4)
    assert (third["b"], third["c"]) == (None, 3)


def test_a_number_that_is_an_input_may_change():
    captured = mlkit.capture(lambda x, factor: k.multiply(x, factor))
    assert [captured(np.ones(2), factor).tolist() for factor in (2.0, 3.0)] == [[2, 2], [3, 3]]


def test_an_empty_batch_is_captured():
    captured = mlkit.capture(lambda x: ops.sum(ops.relu(x)))
    assert [captured(np.zeros((0, 3))).item() for _ in range(3)] == [0, 0, 0]


@pytest.mark.parametrize(
    "asking",
    [
        lambda loss: loss.item(), lambda loss: float(loss), lambda loss: bool(loss), lambda loss: loss.numpy(),
        lambda loss: np.asarray(loss), lambda loss: loss.tolist(), lambda loss: f"{float(loss):.3f}",
    ],
)  # fmt: skip
def test_a_value_asked_for_falls_back_to_eager_with_one_message_that_says_where(rng, asking):
    (one, _, eager), (two, _, step) = training(), training()
    captured = mlkit.capture(lambda x, y: (asking(step(x, y)), None)[1])
    batches = [batch(rng) for _ in range(3)]
    with pytest.warns(CaptureWarning, match=r"test_plan\.py:\d+.*value") as caught:
        captured(*batches[0])
    assert len(caught) == 1
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        captured(*batches[1])
        captured(*batches[2])
    for x, y in batches:
        eager(x, y)
    assert all(np.array_equal(a.data, b.data) for a, b in zip(one.parameters(), two.parameters())), "a step ran twice, or not"


def test_an_array_made_outside_the_kernels_falls_back_to_eager():
    captured = mlkit.capture(lambda x: k.multiply(x, np.random.default_rng().random(2)))
    with pytest.warns(CaptureWarning, match="made outside the kernels"):
        first = captured(np.ones(2))
    assert not np.array_equal(first, captured(np.ones(2)))


def test_a_plan_of_what_cannot_be_repeated_is_a_capture_error():
    with Capture() as log:
        result = mlkit.tensor([1.0]).sum().item()
    with pytest.raises(CaptureError):
        Plan.of(log, [], result)


def test_an_error_in_the_step_leaves_nothing_captured():
    def step(x):
        raise KeyError("mine")

    captured = mlkit.capture(step)
    with pytest.raises(KeyError):
        captured(np.ones(2))
    assert k.observing() is None
    assert not captured.plans


def test_a_captured_step_inside_another_is_part_of_it(rng):
    inner = mlkit.capture(lambda x: ops.relu(x))
    outer = mlkit.capture(lambda x: inner(x) + inner(x * 2.0))
    for _ in range(3):
        x = mlkit.tensor(rng.standard_normal(4))
        assert np.array_equal(outer(x).data, np.maximum(x.data, 0) * 3)
    assert not inner.plans


def test_plans_made_before_the_parameters_moved_are_captured_again(rng):
    model = nn.Linear(4, 2, rng=rng)
    predict = mlkit.capture(lambda x: model(x))
    x = rng.standard_normal((3, 4), dtype=np.float32)
    predict(x), predict(x)
    optim.SGD(model.parameters(), lr=1.0)  # moves them into a flat vector
    model.weight.data[...] = 0
    model.bias.data[...] = 1
    assert (predict(x).data == 1).all()


def test_the_captured_step_follows_the_library_in_force(library, rng):
    captured = mlkit.capture(lambda x: blas.gemm(x, x))
    x = rng.standard_normal((4, 4))
    captured(x)
    for name in {library.name, blas.resolve("numpy" if "numpy" in str(blas.available()) else library.name).name}:
        with blas.using(name):
            assert np.allclose(captured(x), np.matmul(x, x))
            assert captured.plan.libraries() == [name]


def test_a_plan_of_one_thread_is_bound_anew_for_two(rng, monkeypatch):
    """On one thread a product may be cut into parts, on which more would have nothing to share."""
    library = blas.current()
    if not library.report.adjustable:
        pytest.skip("its threads cannot be set")
    monkeypatch.setattr(library, "_small_kernels", True)
    captured = mlkit.capture(lambda x: blas.gemm(x, x))
    x = rng.standard_normal((103, 103))
    calls = {}
    for count in (1, 2, 1):
        with blas.using(threads=count):
            captured(x)
            assert np.allclose(captured(x), np.matmul(x, x))
            calls.setdefault(count, []).append(captured.plan._steps[0][0])
    assert calls[1][0] is calls[1][1] is not calls[2][0]
    assert len(captured.plans) == 1


def test_retarget_all_or_some_calls(library, rng):
    captured = mlkit.capture(lambda x: blas.gemm(blas.gemm(x, x), x))
    x = rng.standard_normal((4, 4))
    captured(x)
    plan = next(iter(captured.plans.values()))
    names = [candidate.name for candidate, report in blas.available() if not report.failure]
    for name in names:
        plan.retarget(library).retarget(name, calls=[1])
        assert plan.libraries() == [library.name, name]
        assert np.allclose(captured(x), np.matmul(np.matmul(x, x), x))
    plan.retarget(None)
    with pytest.raises(mlkit.LibraryNotFound):
        plan.retarget("nonsense")


def test_a_plan_reads_as_a_table(rng):
    _, _, step = training()
    captured = mlkit.capture(step)
    captured(*batch(rng)), captured(*batch(rng))
    text = str(captured.plan)
    assert " sgemm " in text
    assert " sgemv " in text
    assert "5×6:input" in text
    assert "6×8:parameter" in text
    assert f"{len(captured.plan)} calls" in text
    assert "GFLOP/s" in captured.plan.table(rounds=2)
    assert captured.plan.flops > 3 * 2 * 5 * (6 * 8 + 8 * 3) - 2 * 5 * 6 * 8


def test_the_arena_is_smaller_than_the_sum_of_its_buffers(rng):
    captured = mlkit.capture(lambda x: ops.sum(ops.exp(ops.exp(ops.exp(ops.exp(x))))))
    x = rng.standard_normal(10000) * 0.1
    captured(x), captured(x)
    assert captured.plan.arena_size < 3 * x.nbytes


def test_buffers_alive_together_never_overlap(rng):
    for _ in range(50):
        count = int(rng.integers(1, 60))
        sizes = rng.integers(0, 5000, count).tolist()
        born = rng.integers(0, 100, count)
        died = (born + rng.integers(0, 30, count)).tolist()
        offsets, size = arena.layout(sizes, born.tolist(), died)
        for i in range(count):
            assert offsets[i] % arena.ALIGNMENT == 0
            assert offsets[i] + sizes[i] <= size
            for j in range(i):
                if born[i] < died[j] and born[j] < died[i]:
                    assert offsets[i] + sizes[i] <= offsets[j] or offsets[j] + sizes[j] <= offsets[i]


def test_a_plan_is_saved_and_loaded(tmp_path, rng):
    model, _, step = training()
    captured = mlkit.capture(step)
    captured(*batch(rng))
    plan = next(iter(captured.plans.values()))
    path = tmp_path / "plan.json"
    plan.save(path, values=True)
    loaded = Plan.load(path)
    x, y = batch(rng)
    for copy in (plan, loaded):
        for held, value in zip(copy.inputs, (x, y)):
            held[...] = value
    assert plan().data == loaded()
    assert plan().data == loaded(), "the state goes on alike"
    assert str(loaded) == str(plan)
    assert model.parameters()
    assert not list(tmp_path.glob("*.part"))


def test_a_saved_plan_of_a_residual_network_goes_on_to_the_same_bits(tmp_path, rng):
    mlkit.manual_seed(0)
    model = models.SmallResNet((32, 32, 32))
    x, y = rng.standard_normal((4, 3, 16, 16), dtype=np.float32), rng.integers(0, 10, 4)
    captured = mlkit.capture(step_of(model, optim.RMSprop(model.parameters())))
    captured(x, y)
    plan = captured.plan
    plan.save(tmp_path / "plan.json", values=True)
    loaded = Plan.load(tmp_path / "plan.json")
    sums = {operands[2] for kernel, operands in loaded.calls if kernel.__name__ == "winograd_rows"}
    assert sums == {False, True}, "a convolution's gradient is added to the shortcut's"
    for held, value in zip(loaded.inputs, (x, y)):
        held[...] = value
    for _ in range(3):
        assert plan().data == loaded()


def test_a_plan_saved_without_values_keeps_constants_and_can_be_timed(tmp_path, rng):
    _, _, step = training()
    captured = mlkit.capture(step)
    captured(*batch(rng))
    next(iter(captured.plans.values())).save(tmp_path / "plan.json")
    loaded = Plan.load(tmp_path / "plan.json")
    loaded()
    assert " sgemm " in loaded.table(rounds=1)


def damage(found, change):
    change(found)
    return json.dumps(found)


@pytest.mark.parametrize(
    "change",
    [
        lambda p: p.update(format=99),
        lambda p: p.pop("calls"),
        lambda p: p["calls"].append(["system", ["true"]]),
        lambda p: p["calls"][0][1][0].update(offset=10**9),
        lambda p: p["calls"][0][1][0].update(offset=-8),
        lambda p: p["calls"][0][1][0].update(shape=[10**6, 10**6]),
        lambda p: p["calls"][0][1][0].update(dtype="O"),
        lambda p: p["calls"][0][1][0].update(buffer=10**6),
        lambda p: p["calls"][1][1][0].update(shape=[2, 2], strides=[16, 8]),
        lambda p: p["outer"][0].update(shape=[2**40, 2**40]),
        lambda p: p["outer"][0].update(shape=[2**50]),
        lambda p: p["offsets"].clear(),
        lambda p: p.update(arena=-5),
        lambda p: p.update(arena="x"),
    ],
)
def test_an_altered_plan_is_refused(tmp_path, rng, change):
    captured = mlkit.capture(lambda x: blas.gemm(ops.exp(x), x))
    captured(rng.standard_normal((4, 4)))
    path = tmp_path / "plan.json"
    next(iter(captured.plans.values())).save(path)
    path.write_text(damage(json.loads(path.read_text()), change))
    with pytest.raises(mlkit.MlkitError):
        Plan.load(path)()


@pytest.mark.parametrize("text", ["", "{", "[1]", "3", "null", "not json"])
def test_a_file_that_is_no_plan_is_refused(tmp_path, text):
    path = tmp_path / "plan.json"
    path.write_text(text)
    with pytest.raises(PlanError, match=r"plan\.json"):
        Plan.load(path)


def test_a_missing_file_and_a_missing_directory(tmp_path, rng):
    with pytest.raises(PlanError):
        Plan.load(tmp_path / "none.json")
    captured = mlkit.capture(lambda x: k.add(x, x))
    captured(np.ones(2))
    with pytest.raises(ArgumentError, match="cannot be written"):
        next(iter(captured.plans.values())).save(tmp_path / "no" / "plan.json")


def test_a_step_is_safe_under_threads(rng):
    from concurrent.futures import ThreadPoolExecutor

    captured = mlkit.capture(lambda x: ops.sum(ops.exp(x)))
    arrays = [rng.standard_normal(2000) for _ in range(16)]
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(captured, arrays))
    assert [f.item() for f in found] == [np.exp(x).sum() for x in arrays]


def test_arguments_of_retarget_are_checked(rng):
    captured = mlkit.capture(lambda x: k.add(x, x))
    captured(np.ones(2))
    with pytest.raises(ArgumentError):
        next(iter(captured.plans.values())).retarget(None, calls=[5])
