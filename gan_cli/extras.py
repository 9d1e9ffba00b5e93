"""Optional packages, by the extra of gan-cli that installs them. Checked before a command starts its work."""

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


def require_extra(extra: str, needed_by: str) -> None:
    """Raises UsageError if a package of this extra is missing. `needed_by` is the key and value that need it."""
    missing = [name.replace("_", "-") for name in EXTRAS[extra] if not _is_installed(name)]
    if missing:
        raise UsageError(f"{needed_by} needs {', '.join(missing)}: pip install 'gan-cli[{extra}]'")


def _is_installed(name: str) -> bool:
    try:
        found = find_spec(name)
    except ValueError:  # it is imported and has no spec
        return False
    return found is not None and found.origin is not None  # else it is a mere folder of that name
