"""How Sphinx builds the documentation: offline, with nothing but Debian's packages; the same source gives the same pages."""

import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))
os.environ.setdefault("MLKIT_THREADS", "1")

from mlkit import __version__

project = "mlkit"
author = "mlkit developers"
copyright = "2026, mlkit developers"
release = version = __version__

myst_enable_extensions = ["deflist"]
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
myst_heading_anchors = 3
nitpicky = False
default_role = "code"  # `x @ w` in a docstring is code
autodoc_member_order = "groupwise"
autodoc_typehints = "none"
autodoc_preserve_defaults = True
html_theme = "furo"
html_title = f"mlkit {release}"
html_static_path = ["_static"]
html_css_files = ["mlkit.css"]
html_copy_source = False
html_show_sphinx = False
html_last_updated_fmt = None
exclude_patterns = ["_build"]

man_pages = [
    ("man/mlkit", "mlkit", "neural networks on any BLAS, chosen at run time", [author], 1),
    ("man/mlkit-bench", "mlkit-bench", "train the same networks under every BLAS", [author], 1),
    ("man/mlkit-blas", "mlkit-blas", "the BLAS libraries of this machine", [author], 1),
    ("man/mlkit-predict", "mlkit-predict", "what a saved model says of new data", [author], 1),
    ("man/mlkit-model", "mlkit-model", "what a model file says, and whether it can be made again", [author], 1),
    ("man/mlkit-serve", "mlkit-serve", "a saved model answers over HTTP", [author], 1),
    ("man/mlkit-trace", "mlkit-trace", "record the products that a program makes", [author], 1),
    ("man/mlkit-train", "mlkit-train", "train a worked case study", [author], 1),
    ("man/mlkit-run", "mlkit-run", "run any program on a chosen BLAS", [author], 1),
]
