"""Files that are whole or not there."""

import os

from .errors import ArgumentError


def write_whole(path: "str | os.PathLike[str]", content: "str | bytes") -> None:
    """Write a file under another name, then rename it: whoever reads it sees the old one or the new one, whole."""
    import tempfile  # 5 ms of every start, needed only here

    name, part = os.fspath(path), ""
    try:
        directory = os.path.dirname(os.path.abspath(name))
        with tempfile.NamedTemporaryFile("wb", dir=directory, prefix=".", suffix=".part", delete=False) as file:
            part = file.name
            file.write(content.encode() if isinstance(content, str) else content)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(part, 0o666 & ~_umask())
        os.replace(part, name)
    except OSError as error:
        if part and os.path.exists(part):
            os.unlink(part)
        raise ArgumentError(f"{name} cannot be written: {error.strerror}") from error


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
