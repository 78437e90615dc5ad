"""Read and write files whole: gzip, standard streams, a bound on size, and never a half-written file."""

from __future__ import annotations

import gzip
import hashlib
import os
import secrets
import sys
import zlib
from pathlib import Path

from apportion.instances.errors import Fault, InstanceError

MOST_BYTES = 1 << 30
"""The largest text that is read, after decompression: a guard against gzip bombs."""

_GZIP_MAGIC = b"\x1f\x8b"
_CHUNK = 1 << 20
_LONGEST_PREFIX = 100


def read_bytes(path: Path, most_bytes: int = MOST_BYTES) -> bytes:
    """Return the content of ``path`` (``-`` is standard input), decompressed when it is gzip.

    Raises
    ------
    InstanceError
        When the file is missing, unreadable, truncated gzip, or larger than ``most_bytes``.
    """
    source = str(path)
    try:
        if source == "-":
            return _bounded(sys.stdin.buffer, source, most_bytes)
        with path.open("rb") as raw:
            zipped = raw.read(2) == _GZIP_MAGIC
            raw.seek(0)
            if not zipped:
                return _bounded(raw, source, most_bytes)
            with gzip.GzipFile(fileobj=raw) as unzipped:
                return _bounded(unzipped, source, most_bytes)
    except (OSError, EOFError, zlib.error) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise InstanceError(source, [Fault("", f"cannot be read: {reason}")]) from error


def _bounded(stream: object, source: str, most_bytes: int) -> bytes:
    chunks: list[bytes] = []
    size = 0
    while chunk := stream.read(_CHUNK):  # type: ignore[attr-defined]
        size += len(chunk)
        if size > most_bytes:
            message = f"is larger than {most_bytes} bytes once decompressed"
            raise InstanceError(source, [Fault("", message, hint="it is not what it seems; split it otherwise")])
        chunks.append(chunk)
    return b"".join(chunks)


def read_text(path: Path, most_bytes: int = MOST_BYTES) -> str:
    """Return the content of ``path`` as text; UTF-8 with or without a byte-order mark."""
    content = read_bytes(path, most_bytes)
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        message = f"is not UTF-8 text at byte {error.start}"
        raise InstanceError(str(path), [Fault("", message)]) from error


def write_text(path: Path, text: str) -> None:
    """Write ``text`` to ``path`` (``-`` is standard output), through a neighbour that replaces it at once."""
    if str(path) == "-":
        sys.stdout.write(text)
        return
    content = text.encode()
    if path.name.endswith(".gz"):
        content = gzip.compress(content, mtime=0)
    write_bytes(path, content)


def write_bytes(path: Path, content: bytes) -> None:
    """Write ``content`` to ``path`` through a neighbour that replaces it at once, with the caller's usual rights."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.parent / f".{path.name[:_LONGEST_PREFIX]}.{secrets.token_hex(8)}"
    handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
    try:
        with os.fdopen(handle, "wb") as stream:
            stream.write(content)
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def stem(path: Path) -> str:
    """The name of a file without its folders, ``.gz`` and last suffix.

    >>> stem(Path("data/X-n101-k25.vrp.gz"))
    'X-n101-k25'
    """
    name = path.name.removesuffix(".gz")
    return Path(name).stem if name != "-" else "stdin"


def content_hash(path: Path) -> str:
    """SHA-256 of the file as it lies on disk, the first 16 hex digits."""
    return hashlib.sha256(path.read_bytes()).hexdigest()[:16]
