"""Fetching one file whole or not at all."""

from __future__ import annotations

import contextlib
import hashlib
import os
import tempfile
import urllib.error
import urllib.request
from collections.abc import Sequence
from http.client import HTTPException, HTTPResponse
from pathlib import Path

from gan_cli.errors import one_line

TIMEOUT = 20  # seconds without a byte
CHUNK = 1 << 18
MOST_BYTES = 1 << 30  # no file fetched here comes near it


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
    with urllib.request.urlopen(url, timeout=TIMEOUT) as response:  # before any folder is made
        made = [folder for folder in (target.parent, *target.parent.parents) if not folder.exists()]
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            return _receive(response, md5, target)
        except BaseException:
            for folder in made:
                with contextlib.suppress(OSError):
                    folder.rmdir()
            raise


def _receive(response: HTTPResponse, md5: str, target: Path) -> Path:
    digest = hashlib.md5(usedforsecurity=False)
    with tempfile.NamedTemporaryFile(dir=target.parent, prefix=".part-", delete=False) as part:
        try:
            while chunk := response.read(CHUNK):
                if part.tell() > MOST_BYTES:
                    raise DownloadError(f"the file is larger than {MOST_BYTES >> 20} MiB")
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
