"""Files that are written whole or not at all, and read up to a limit."""

import os

from .errors import ArgumentError, DataError

LARGEST = 1 << 28  # bytes of a file that are read at once


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


def read_bounded(path: "str | os.PathLike[str]", most: int = LARGEST) -> bytes:
    """The content of a file; DataError if it cannot be read or has more than `most` bytes, of which no more are held."""
    name = os.fspath(path)
    try:
        with open(name, "rb") as file:
            content = file.read(most + 1)
    except OSError as error:
        raise DataError(f"{name} cannot be read: {error.strerror}") from error
    if len(content) > most:
        raise DataError(f"{name} has more than {most} bytes, which is as much as is read")
    return content


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
