"""Fetching one file whole or not at all."""

from __future__ import annotations

import hashlib
import os
import tempfile
import urllib.error
import urllib.request
from collections.abc import Sequence
from http.client import HTTPException
from pathlib import Path

from gan_cli.errors import one_line

TIMEOUT = 20  # seconds without a byte
CHUNK = 1 << 18


class DownloadError(Exception):
    """Why no mirror gave the file, in one line."""


def download(mirrors: Sequence[str], name: str, md5: str, folder: Path) -> Path:
    """`folder/name` from the first mirror whose copy has this md5; nothing is left behind on failure."""
    reasons = []
    for mirror in mirrors:
        try:
            return _download_once(mirror + name, md5, folder / name)
        except (OSError, HTTPException, ValueError, DownloadError) as error:
            reasons.append(one_line(f"{mirror}: {getattr(error, 'reason', None) or error}", 120))
    raise DownloadError("; ".join(reasons))


def _download_once(url: str, md5: str, target: Path) -> Path:
    target.parent.mkdir(parents=True, exist_ok=True)
    digest = hashlib.md5(usedforsecurity=False)
    with tempfile.NamedTemporaryFile(dir=target.parent, prefix=".part-", delete=False) as part:
        try:
            with urllib.request.urlopen(url, timeout=TIMEOUT) as response:
                while chunk := response.read(CHUNK):
                    digest.update(chunk)
                    part.write(chunk)
            if digest.hexdigest() != md5:
                raise DownloadError(f"the file has md5 {digest.hexdigest()}, expected {md5}")
            part.flush()
            os.replace(part.name, target)
        except BaseException:
            os.unlink(part.name)
            raise
    os.chmod(target, 0o644)
    return target
