"""One case of one library: python -m mlkit.blas.verify.child LIBRARY CASE. It says what came of it in one line of JSON."""

import json
import sys

from .. import selection
from . import CASES
from .case import Wrong
from .outcome import FAILED, PASSED


def main(name: str, case: str) -> None:
    library = selection.use(name)
    try:
        verdict, detail = PASSED, CASES[case].check(library)
    except Wrong as error:
        verdict, detail = FAILED, str(error)
    sys.stdout.write(json.dumps({"verdict": verdict, "detail": detail}) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main(*sys.argv[1:])
