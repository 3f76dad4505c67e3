"""`mlkit serve MODEL`: a saved model answers over HTTP."""

import argparse
import signal
import sys
import threading
from typing import Any

from .. import blas
from ..errors import ArgumentError
from ..tasks import Predictor, Server
from . import show

DESCRIPTION = """Answer requests over HTTP, on this machine alone by default. POST /predict takes {"rows": [[…], …]}, {"text": "…"}
or the content of a file, and gives JSON; GET / is a page to try it, /statistics the times. Ctrl-C or SIGTERM ends it after what is
under way. There is no encryption and no password: for other machines put a web server before it."""


def add_to(commands: Any) -> None:
    parser = commands.add_parser("serve", help="a saved model answers over HTTP", description=DESCRIPTION)
    parser.add_argument("model", metavar="MODEL", help="a file that `mlkit train` or mlkit.save wrote")
    parser.add_argument("--host", default="127.0.0.1", metavar="ADDRESS", help="where to listen (default: 127.0.0.1)")
    parser.add_argument("--port", type=int, default=8000, metavar="N", help="default: 8000; 0 takes one that is free")
    parser.add_argument("--largest", type=int, default=1 << 24, metavar="BYTES", help="of a request (default: 16 MiB)")
    parser.add_argument("--most", type=int, default=64, metavar="N", help="requests under way, others are refused (default: 64)")
    parser.add_argument("--blas", metavar="NAME", help="the library: a name from `mlkit blas list`, or a path")
    parser.add_argument("--threads", metavar="N", type=int, help="threads (default: the CPUs that this process may use)")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    if not 0 <= options.port < 1 << 16:
        raise ArgumentError(f"--port is {options.port}; it is from 0 to 65535")
    if options.blas:
        blas.use(options.blas)
    if options.threads:
        blas.current().threads = options.threads
    server = Server(Predictor(options.model), options.host, options.port, options.largest, options.most)
    ended = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: ended.set())
    threading.Thread(target=server.serve_forever, name="mlkit serve", daemon=True).start()
    show.write(f"{options.model} answers at {server.url}  (Ctrl-C ends it)")
    sys.stdout.flush()
    ended.wait()
    server.close()
    found = server.statistics()
    times = f", half of them within {found['p50_ms']} ms, 99 of 100 within {found['p99_ms']} ms" if found["answered"] else ""
    show.write(f"{found['answered']} requests answered{times}; {found['refused']} refused")
    return 0
