"""Is an installed library right? Each case runs in a child process with a time limit: a crash, an exit or a hang is a row.

What a case does not fail but a maintainer may want to know – whether results repeat, whether more threads change them, which
routines are missing – is a note.
"""

from .case import CASES
from .outcome import Row, Verification, as_junit
from .runner import verify

__all__ = ["CASES", "Row", "Verification", "as_junit", "verify"]
