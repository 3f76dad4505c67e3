"""Files that are whole or not there."""

import os
import tempfile

from ..errors import ArgumentError


def write_whole(path: str, content: "str | bytes") -> None:
    """Write a file under another name, then rename it: whoever reads it sees the old one or the new one, whole."""
    directory = os.path.dirname(os.path.abspath(path))
    part = ""
    try:
        with tempfile.NamedTemporaryFile("wb", dir=directory, prefix=".", suffix=".part", delete=False) as file:
            part = file.name
            file.write(content.encode() if isinstance(content, str) else content)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(part, 0o666 & ~_umask())
        os.replace(part, path)
    except OSError as error:
        if part and os.path.exists(part):
            os.unlink(part)
        raise ArgumentError(f"{path} cannot be written: {error.strerror}") from error


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
