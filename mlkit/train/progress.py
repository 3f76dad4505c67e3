"""How far long work has come, on standard error."""

import sys
import time
from types import TracebackType
from typing import Any


class Progress:
    """`tell(done, total, text)`: rich's bar, if it is installed; a line that is rewritten; or, without a terminal,
    a line every ten seconds.
    """

    def __init__(self) -> None:
        self._bar: Any = _rich_bar() if sys.stderr.isatty() else None
        self._task: Any = None
        self._said = 0.0

    def __enter__(self) -> "Progress":
        if self._bar is not None:
            self._bar.start()
            self._task = self._bar.add_task("", total=1)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._bar is not None:
            self._bar.stop()
        elif sys.stderr.isatty():
            sys.stderr.write("\r\033[K")
        sys.stderr.flush()

    def __call__(self, done: int, total: int, text: str) -> None:
        if self._bar is not None:
            self._bar.update(self._task, completed=done, total=total, description=text)
        elif sys.stderr.isatty():
            sys.stderr.write(f"\r\033[K[{done}/{total}] {text}")
            sys.stderr.flush()
        elif time.monotonic() - self._said > 10:
            self._said = time.monotonic()
            sys.stderr.write(f"[{done}/{total}] {text}\n")
            sys.stderr.flush()

    def line(self, text: str) -> None:
        """A line that stays."""
        if self._bar is not None:
            self._bar.console.print(text, highlight=False)
        else:
            sys.stderr.write(f"\r\033[K{text}\n" if sys.stderr.isatty() else f"{text}\n")
            sys.stderr.flush()


def _rich_bar() -> Any:
    try:
        from rich.console import Console
        from rich.progress import Progress as Bar
    except ImportError:
        return None
    return Bar(console=Console(stderr=True), transient=True)
