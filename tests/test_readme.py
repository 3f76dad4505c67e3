"""What the README shows runs as it stands."""

import re
from pathlib import Path

import numpy as np
import pytest

import mlkit
from mlkit import blas, data, models

README = Path(__file__).parent.parent / "README.md"


@pytest.mark.skipif(not README.exists(), reason="the tests of an installed package come without the README")
def test_the_first_example_trains_switches_and_prints_a_plan(capsys):
    before = blas.current()
    code = re.search(r"```python\n(.*?)```", README.read_text(), re.S)[1]
    try:
        exec(compile(code, str(README), "exec"), {})
    finally:
        blas.use(before)
    out = capsys.readouterr().out
    accuracy = float(out.split()[1])
    assert accuracy > 0.88
    assert " sgemm " in out
    assert "µs" in out


def test_the_code_of_the_second_example_is_valid():
    if README.exists():
        compile(re.findall(r"```python\n(.*?)```", README.read_text(), re.S)[1], "README", "exec")


@pytest.mark.skipif(not README.exists(), reason="the tests of an installed package come without the README")
def test_the_third_example_trains_and_saves_a_model(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code = re.findall(r"```python\n(.*?)```", README.read_text(), re.S)[2]
    names = {"mlkit": mlkit, "images": data.digits(), "model": models.MLP([64, 32, 10])}
    exec(code, names)
    assert names["history"]["validation_accuracy"][-1] > 0.6
    assert names["model"].description["classes"] == list("0123456789")


def test_the_fourth_example_builds_a_network_and_trains_it():
    if README.exists():
        code = re.findall(r"```python\n(.*?)```", README.read_text(), re.S)[3]
        names = {}
        exec("import numpy as np\nfrom mlkit import nn, ops, optim\n" + code, names)
        rng = np.random.default_rng(0)
        losses = [names["train"](rng.standard_normal((4, 1, 28, 28), dtype=np.float32), np.arange(4)).item() for _ in range(3)]
        assert all(np.isfinite(losses))
