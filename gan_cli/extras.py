"""Packages that only some features need: asked for by the name of their extra, before anything is begun."""

from __future__ import annotations

from importlib.util import find_spec

from gan_cli.errors import UsageError

EXTRAS = {
    "mlflow": ("mlflow",),
    "onnx": ("onnx", "onnxscript", "onnxruntime"),
    "tensorboard": ("tensorboard",),
    "video": ("imageio_ffmpeg",),
    "wandb": ("wandb",),
}


def require_extra(extra: str, asked: str) -> None:
    """UsageError if a package of this extra is missing; `asked` is the key and value that need it."""
    missing = [name.replace("_", "-") for name in EXTRAS[extra] if not _is_installed(name)]
    if missing:
        raise UsageError(f"{asked} needs {', '.join(missing)}: pip install 'gan-cli[{extra}]'")


def _is_installed(name: str) -> bool:
    try:
        found = find_spec(name)
    except ValueError:  # imported, and without a spec
        return False
    return found is not None and found.origin is not None  # else a mere folder of that name, as wandb leaves
