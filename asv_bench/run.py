"""Every benchmark with every library, published as pages that need no network: one command.

    python asv_bench/run.py [--blas openblas,blis] [--threads 1] [--quick] [--bench REGEX]

It needs asv and virtualenv (pip install asv virtualenv) and, once, npm for the scripts that asv's pages would fetch. Libraries
that are not here are n/a. The pages are in asv_bench/.asv/html: `python -m http.server -d asv_bench/.asv/html`; results stay in
.asv/results, one file for each commit and library, to compare with `asv compare`.
"""

import argparse
import itertools
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

from mlkit.bench.page import Page

HERE = Path(__file__).parent
HOME = HERE / ".asv"
PACKAGES = {  # what asv's pages fetch from the network: npm package and version, file in it
    "jquery-3.3.1.min.js": ("jquery", "3.3.1", "dist/jquery.min.js"),
    "jquery.flot.min.js": ("jquery.flot", "0.8.3", "jquery.flot.js"),
    "jquery.flot.time.min.js": ("jquery.flot", "0.8.3", "jquery.flot.time.js"),
    "jquery.flot.selection.min.js": ("jquery.flot", "0.8.3", "jquery.flot.selection.js"),
    "jquery.flot.categories.min.js": ("jquery.flot", "0.8.3", "jquery.flot.categories.js"),
    "jquery.flot.orderBars.js": ("flot-orderbars", "1.0.0", "js/jquery.flot.orderBars.js"),
    "stupidtable.min.js": ("stupid-table-plugin", "1.1.3", "stupidtable.min.js"),
    "md5.min.js": ("blueimp-md5", "2.19.0", "js/md5.min.js"),
    "bootstrap.min.js": ("bootstrap", "3.1.1", "dist/js/bootstrap.min.js"),
    "bootstrap.min.css": ("bootstrap", "3.1.1", "dist/css/bootstrap.min.css"),
}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--blas", default=None, help="libraries, with commas between (default: those of asv.conf.json)")
    parser.add_argument("--threads", default=None, help="thread counts, with commas between (default: 1)")
    parser.add_argument("--quick", action="store_true", help="each benchmark once")
    parser.add_argument("--bench", default=None, help="only benchmarks that match")
    options = parser.parse_args()
    HOME.mkdir(exist_ok=True)
    config = json.loads((HERE / "asv.conf.json").read_text())
    matrix = config["matrix"]["env_nobuild"]
    matrix["MLKIT_BLAS"] = options.blas.split(",") if options.blas else matrix["MLKIT_BLAS"]
    matrix["MLKIT_THREADS"] = options.threads.split(",") if options.threads else matrix["MLKIT_THREADS"]
    own = HERE / ".asv.conf.json"
    own.write_text(json.dumps(config))
    environment = {**os.environ, "HOME": str(HOME.resolve())}  # asv writes the machine's facts there
    try:
        asv("machine", "--yes", "--machine", "here", environment=environment)
        arguments = ["--quick"] * options.quick + (["--bench", options.bench] if options.bench else [])
        asv("run", "--machine", "here", "--show-stderr", *arguments, "HEAD^!", environment=environment)
        asv("publish", environment=environment)
    finally:
        own.unlink()
    offline(HOME / "html", HOME / "npm")
    page = side_by_side(HOME / "results" / "here", HOME / "results" / "benchmarks.json")
    (HOME / "html" / "libraries.html").write_text(str(page))
    print(f"the libraries side by side: {HOME / 'html' / 'libraries.html'}; asv's own pages: {HOME / 'html' / 'index.html'}")
    return 0


def asv(command: str, *arguments: str, environment: dict[str, str]) -> None:
    subprocess.run(
        [sys.executable, "-m", "asv", command, "--config", ".asv.conf.json", *arguments], cwd=HERE, env=environment, check=True
    )


def offline(html: Path, store: Path) -> None:
    """Copy what the pages would fetch beside them, and let them take it from there."""
    vendor = html / "vendor"
    vendor.mkdir(exist_ok=True)

    def local(found: "re.Match[str]") -> str:
        name = found[2].rsplit("/", 1)[1]
        if name not in PACKAGES:
            raise SystemExit(f"asv's pages fetch {name}, which is not known here: another version of asv?")
        package, version, path = PACKAGES[name]
        shutil.copy(unpacked(store, package, version) / path, vendor / name)
        return f'{found[1]}="vendor/{name}"'

    for page in html.glob("*.html"):
        text = re.sub(r'(src|href)="(https://[^"]+\.(?:js|css))"', local, page.read_text())
        page.write_text(re.sub(r' (?:integrity|crossorigin|referrerpolicy)="[^"]*"', "", text))


def side_by_side(results: Path, benchmarks: Path) -> Page:
    """One table: a line for each benchmark and its parameters, a column for each library and thread count, the newest commit's."""
    units = {name: entry.get("unit", "") for name, entry in json.loads(benchmarks.read_text()).items() if isinstance(entry, dict)}
    newest: dict[str, dict[str, object]] = {}
    for path in sorted(results.glob("*-*.json"), key=lambda path: json.loads(path.read_text())["date"]):
        found = json.loads(path.read_text())
        variables = found.get("env_vars", {})
        newest[f"{variables.get('MLKIT_BLAS', '?')}, {variables.get('MLKIT_THREADS', '?')}"] = found
    values: dict[tuple[str, str], dict[str, float]] = {}
    for title, found in newest.items():
        columns = found["result_columns"]
        for name, row in found["results"].items():  # type: ignore[attr-defined]
            entry = dict(zip(columns, row))  # type: ignore[call-overload]
            for parameters, value in zip(itertools.product(*(entry.get("params") or [])), entry["result"] or []):
                if value is not None and value == value:
                    values.setdefault((name, " ".join(p.strip("'") for p in parameters)), {})[title] = value
    page = Page("Every library, side by side")
    rows: list[tuple[str, ...]] = [("benchmark", "with", "unit", *newest)]
    shares: list[list[float | None]] = []
    for (name, parameters), found_values in sorted(values.items()):
        scale, unit = (1e3, "ms") if units.get(name) == "seconds" else (1e-6, "MB")
        cells = [f"{found_values[title] * scale:.4g}" if title in found_values else "n/a" for title in newest]
        rows.append((name.partition(".")[2], parameters, unit, *cells))
        best = min(found_values.values())
        shares.append([None, None, None, *(best / found_values[title] if title in found_values else None for title in newest)])
    page.text(
        f"asv's results for the newest commit, library and threads above each column; smaller is better. {len(values)} benchmarks."
    )
    page.table(rows, sortable=True, shares=shares)
    return page


def unpacked(store: Path, package: str, version: str) -> Path:
    """The package's files, fetched by npm the first time."""
    place = store / f"{package}-{version}"
    if not place.exists():
        part = store / f"{package}-{version}.part"
        part.mkdir(parents=True, exist_ok=True)
        subprocess.run(["npm", "pack", "--silent", f"{package}@{version}"], cwd=part, check=True, stdout=subprocess.DEVNULL)
        shutil.unpack_archive(next(part.glob("*.tgz")), part)
        part.rename(place)
    return place / "package"


if __name__ == "__main__":
    sys.exit(main())
