"""What the README shows runs as it stands."""

import re
from pathlib import Path

import numpy as np
import pytest

from mlkit import blas

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


def test_the_third_example_builds_a_network_and_trains_it():
    if README.exists():
        code = re.findall(r"```python\n(.*?)```", README.read_text(), re.S)[2]
        names = {}
        exec("import numpy as np\nfrom mlkit import nn, ops, optim\n" + code, names)
        rng = np.random.default_rng(0)
        losses = [names["train"](rng.standard_normal((4, 1, 28, 28), dtype=np.float32), np.arange(4)).item() for _ in range(3)]
        assert all(np.isfinite(losses))
