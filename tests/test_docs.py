"""What the documentation shows runs as it stands: the Python of each page, and its mlkit commands."""

import argparse
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from mlkit import blas, cli

DOCS = Path(__file__).parent.parent / "docs"
PAGES = sorted(DOCS.glob("*.md"))
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.S | re.M)
NAMES = [candidate.name for candidate, report in blas.available() if not report.failure]

pytestmark = pytest.mark.skipif(not PAGES, reason="the tests of an installed package come without the documentation")


def blocks(page, language):
    return [code for found, code in BLOCK.findall(page.read_text()) if found == language]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_the_python_of_a_page_runs_from_top_to_bottom(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    before, names = blas.current(), {"__name__": "__main__"}
    try:
        for code in blocks(page, "python"):
            exec(compile(code, str(page), "exec"), names)
    finally:
        blas.use(before)


def test_the_plan_that_the_page_prints_is_the_plan(tmp_path, monkeypatch, capsys):
    page = DOCS / "engine.md"
    python = blocks(page, "python")
    names = {}
    for code in python[: next(i for i, code in enumerate(python) if "print(step.plan)" in code) + 1]:
        exec(code, names)
    library = blas.current().name

    def calls(text):
        return [line.replace(f" {library} ", " ").replace(" openblas ", " ").split() for line in text.splitlines()]

    assert calls(blocks(page, "text")[0]) == calls(capsys.readouterr().out)


COMMANDS = [  # but the main job, which .ci/run gives by itself
    pytest.param(lines, id=f"{page.stem}: {lines[0]}")
    for page in PAGES
    for code in blocks(page, "sh")
    if (lines := [line for line in code.splitlines() if line.startswith("mlkit ") and line != "mlkit bench"])
]


@pytest.mark.parametrize("lines", COMMANDS)
def test_the_commands_of_the_pages_run(lines, tmp_path):
    (tmp_path / "script.py").write_text("import numpy as np\nprint(np.ones((9, 9)) @ np.ones((9, 9)))\n")
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "MLKIT_PROFILE": str(tmp_path / "profile.json")}
    for line in lines:
        done = subprocess.run(
            [sys.executable, "-m", "mlkit", *words_of(line)], cwd=tmp_path, env=env, capture_output=True, text=True, timeout=300
        )
        assert done.returncode == 0, done.stderr


def words_of(line):
    """The words of a command, with those of its libraries that are here; skips what cannot be run."""
    words = shlex.split(line)[1:]
    for i, word in enumerate(words):
        if words[i - 1] == "--blas":
            asked = [name for name in word.split(",") if name.split(":")[0] in NAMES]
            if not asked or any(":" in name and blas.report(blas.find(name)).failure for name in asked):
                pytest.skip(f"{word} is not here, or not for this CPU")
            words[i] = ",".join(asked)
    if "train" in words and "bench" not in words:
        pytest.importorskip("matplotlib")
    if words[0] == "run" and "numpy" in NAMES:
        pytest.skip("this NumPy brings its own BLAS")
    return [sys.executable if word == "/usr/bin/python3" else word for word in words]


def subparsers(parser):
    return next((action.choices for action in parser._actions if isinstance(action, argparse._SubParsersAction)), {})


def options(parser, deep=True):
    own = {word for action in parser._actions for word in action.option_strings if word.startswith("--")}
    return own.union(*(options(part) for part in subparsers(parser).values())) if deep else own


@pytest.mark.parametrize("name", ["", *subparsers(cli.parser())])
def test_a_manual_page_describes_every_option_and_no_other(name):
    text = (DOCS / "man" / ("mlkit" + f"-{name}" * bool(name))).with_suffix(".md").read_text()
    described = re.findall(r"^(?:\*\*-h\*\*, )?\*\*(--[a-z]+)\*\*", text, re.M)
    wanted = options(subparsers(cli.parser())[name]) if name else options(cli.parser(), deep=False)
    assert sorted(described) == sorted(wanted)


@pytest.mark.parametrize("shell", ["mlkit.bash", "_mlkit", "mlkit.fish"])
def test_a_completion_offers_every_command_and_option(shell):
    text = (DOCS / "completions" / shell).read_text()
    words = set(re.findall(r"[a-z0-9]+", text))
    parser = cli.parser()
    parts = [name for command in subparsers(parser).values() for name in subparsers(command)]
    assert words >= {*subparsers(parser), *parts, *(option[2:] for option in options(parser))}
