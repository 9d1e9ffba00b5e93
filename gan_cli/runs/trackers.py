"""Trackers, which record a run's metrics and images: TensorBoard, Weights & Biases, MLflow, or a CSV file.

A tracker's package is imported only if the user chose this tracker. `log.py` calls the trackers and handles their
errors.
"""

from __future__ import annotations

import csv
import netrc
import os
import secrets
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from gan_cli.config import train_config
from gan_cli.config.train_config import Config
from gan_cli.storage.atomic_write import replacing
from gan_cli.storage.locate import resolve_path
from gan_cli.storage.run_files import open_to_append, read_bytes, read_lines, refuse_symlink, refuse_unsafe
from gan_cli.storage.run_folder import write_text

TENSORBOARD, WANDB, MLFLOW, CSV = "tensorboard", "wandb", "mlflow", "csv"  # the first three also name folders in a run
CSV_FILE = "metrics.csv"
LONGEST_ID = 1000  # bytes
RUN_ID = "run_id.txt"
PROJECT = "gan-cli"
WANDB_HOST = "api.wandb.ai"


class Tracker:
    """Receives the metrics and sample grids of a run during training. By default, a tracker ignores them.

    `step` is the number of steps that the run has done: 0 for a new run, more for a resumed run. `log` logs a line.
    """

    def __init__(self, config: Config, folder: Path, step: int, log: Callable[[str], None]) -> None: ...

    def metrics(self, step: int, values: Mapping[str, float]) -> None:
        """Records the metrics of one line of `metrics.jsonl` for `step`; `values` does not contain the step."""

    def image(self, step: int, path: Path) -> None:
        """Records the sample grid in the image file `path`."""

    def truncate(self, step: int) -> None:
        """Removes what was recorded for later steps, because the run was rolled back to `step`."""

    def close(self) -> None:
        """Finishes the recording at the end of the run."""


class TensorBoard(Tracker):
    """Writes event files in `<run>/tensorboard`. If a run is resumed at a step, events of later steps are hidden."""

    def __init__(self, config: Config, folder: Path, step: int, log: Callable[[str], None]) -> None:
        self._folder = refuse_symlink(folder / TENSORBOARD)
        self._open(step)
        if step == 0:
            leaves = train_config.flatten(train_config.to_dict(config))
            self._writer.add_text("config", "\n".join(f"    {key}: {value}" for key, value in leaves), 0)

    def _open(self, step: int) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # deprecation warnings of the packages that TensorBoard imports
            from torch.utils.tensorboard import SummaryWriter

            self._writer: Any = SummaryWriter(str(self._folder), purge_step=step + 1 if step else None)

    def metrics(self, step: int, values: Mapping[str, float]) -> None:
        for name, value in values.items():
            self._writer.add_scalar(name, value, step)
        self._writer.flush()

    def image(self, step: int, path: Path) -> None:
        import numpy as np
        from PIL import Image

        from gan_cli.images.animation import remove_opacity

        with Image.open(path) as image:
            pixels = np.asarray(remove_opacity(image))
        self._writer.add_image("samples", pixels, step, dataformats="HWC")

    def truncate(self, step: int) -> None:
        self._writer.close()
        self._open(step)

    def close(self) -> None:
        self._writer.close()


class WeightsAndBiases(Tracker):
    """Records a run at Weights & Biases, in the project that WANDB_PROJECT names, by default gan-cli.

    The files and the id of the W&B run are kept in `<run>/wandb`. A resumed run uses this id to continue the same W&B
    run. Without an API key and without WANDB_MODE, the W&B run is offline; `wandb sync` uploads it later. W&B cannot
    delete values: steps that are logged again after a rollback have both values.
    """

    def __init__(self, config: Config, folder: Path, step: int, log: Callable[[str], None]) -> None:
        import wandb

        self._wandb: Any = wandb
        mode = os.environ.get("WANDB_MODE")
        if mode is None and not has_key():
            mode = "offline"
            log("wandb: no key (WANDB_API_KEY, or wandb login), so this run stays offline; wandb sync sends it later")
        inside = refuse_symlink(folder / WANDB)
        inside.mkdir(exist_ok=True)
        self._run: Any = wandb.init(
            project=os.environ.get("WANDB_PROJECT", PROJECT),
            name=f"{config.run_name} {folder.name}",
            group=os.environ.get("WANDB_RUN_GROUP", config.run_name),
            config=train_config.to_dict(config),
            dir=str(folder),
            id=_read_id(inside / RUN_ID) or _keep_id(inside / RUN_ID, secrets.token_hex(4)),
            resume="allow",
            mode=mode,  # type: ignore[arg-type]
            settings=wandb.Settings(console="off", silent=True),
        )
        # The step is logged as a metric, because a run that was rolled back logs some steps twice.
        self._run.define_metric("*", step_metric="step")

    def metrics(self, step: int, values: Mapping[str, float]) -> None:
        self._run.log({**values, "step": step})

    def image(self, step: int, path: Path) -> None:
        self._run.log({"samples": self._wandb.Image(str(path)), "step": step})

    def close(self) -> None:
        self._run.finish()


class CsvTable(Tracker):
    """Writes `<run>/metrics.csv`, with a row for each line of `metrics.jsonl` and a column for each metric."""

    def __init__(self, config: Config, folder: Path, step: int, log: Callable[[str], None]) -> None:
        self._path = folder / CSV_FILE
        refuse_unsafe(self._path)
        self._names: list[str] = []
        self.truncate(step)

    def _rows(self) -> list[dict[str, str]]:
        if not self._path.is_file():
            return []
        return list(csv.DictReader(line.decode(errors="replace") for line in read_lines(self._path)))

    def _write(self, rows: list[dict[str, str]]) -> None:
        """Writes the whole table to the file. A row without a value for a metric has an empty cell in its column."""
        with replacing(self._path) as temporary, open(temporary, "w", encoding="utf-8", newline="") as file:
            writer = csv.DictWriter(file, self._names, restval="")
            writer.writeheader()
            writer.writerows(rows)

    def metrics(self, step: int, values: Mapping[str, float]) -> None:
        row = {name: repr(value) for name, value in {"step": step, **values}.items()}
        if new := [name for name in row if name not in self._names]:
            self._names += new
            self._write([*self._rows(), row])
            return
        with open_to_append(self._path) as file:
            csv.DictWriter(file, self._names, restval="").writerow(row)

    def truncate(self, step: int) -> None:
        rows = self._rows()
        self._names = list(rows[0]) if rows else []
        kept = [row for row in rows if (row.get("step") or "").isdecimal() and int(row["step"]) <= step]
        if rows:
            self._write(kept)  # also without a last line that is not complete


class MLflow(Tracker):
    """Records a run in MLflow, in the experiment that MLFLOW_EXPERIMENT_NAME names, by default gan-cli.

    The id of the MLflow run is kept in `<run>/mlflow`. A resumed run uses this id to continue the same MLflow run. The
    metrics go to the store at MLFLOW_TRACKING_URI, by default a database in the output folder, which `mlflow ui` shows.
    MLflow keeps both values of steps that are logged again after a rollback.
    """

    def __init__(self, config: Config, folder: Path, step: int, log: Callable[[str], None]) -> None:
        import mlflow

        self._mlflow: Any = mlflow
        inside = refuse_symlink(folder / MLFLOW)
        inside.mkdir(exist_ok=True)
        home = resolve_path(config.output)
        own = not os.environ.get("MLFLOW_TRACKING_URI")
        if own:
            mlflow.set_tracking_uri(f"sqlite:///{home / 'mlflow.db'}")
            # mlflow sets this variable; a later run in the same process must not use it.
            os.environ.pop("MLFLOW_TRACKING_URI", None)
            if step == 0:
                log(f"mlflow: no MLFLOW_TRACKING_URI, so this run is kept in {home / 'mlflow.db'}")
        name = os.environ.get("MLFLOW_EXPERIMENT_NAME", PROJECT)
        if mlflow.get_experiment_by_name(name) is None:
            # A server has its own place for files, which None selects.
            mlflow.create_experiment(name, artifact_location=(home / "mlflow").as_uri() if own else None)
        mlflow.set_experiment(name)
        if known := _read_id(inside / RUN_ID):
            mlflow.start_run(run_id=known)
            return
        run = mlflow.start_run(run_name=f"{config.run_name} {folder.name}")
        _keep_id(inside / RUN_ID, run.info.run_id)
        leaves = train_config.flatten(train_config.to_dict(config))
        mlflow.log_params({key: str(value)[:500] for key, value in leaves if value is not None})

    def metrics(self, step: int, values: Mapping[str, float]) -> None:
        self._mlflow.log_metrics(dict(values), step=step)

    def image(self, step: int, path: Path) -> None:
        self._mlflow.log_artifact(str(path), artifact_path="samples")

    def close(self) -> None:
        self._mlflow.end_run()


OPENERS: dict[str, type[Tracker]] = {TENSORBOARD: TensorBoard, WANDB: WeightsAndBiases, CSV: CsvTable, MLFLOW: MLflow}


def has_key() -> bool:
    """Returns True if wandb will find an API key, in the environment or in the file that `wandb login` writes."""
    if os.environ.get("WANDB_API_KEY"):
        return True
    host = os.environ.get("WANDB_BASE_URL", f"https://{WANDB_HOST}").partition("://")[2].partition("/")[0]
    try:
        return netrc.netrc(os.environ.get("NETRC")).authenticators(host.partition(":")[0]) is not None
    except (OSError, netrc.NetrcParseError):
        return False


def _read_id(path: Path) -> str | None:
    """Returns the id that the file holds, None if it holds none. Raises OSError if it is a link or too long."""
    if not path.is_file():
        return None
    saved = read_bytes(path, LONGEST_ID).decode(errors="replace").strip()
    return saved if saved.isalnum() and saved.isascii() and len(saved) <= 64 else None


def _keep_id(path: Path, id: str) -> str:
    """Writes the id to the file and returns it."""
    write_text(path, f"{id}\n")
    return id
