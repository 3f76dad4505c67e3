"""What the README shows runs as it stands."""

import re
from pathlib import Path

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
