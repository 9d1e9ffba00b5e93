"""Where figures and grids of a run go beside its folder, as TensorBoard and MLflow, imported only if chosen; or a CSV.

`runlog.py` calls them, and takes care of those that fail.
"""

from __future__ import annotations

import csv
import netrc
import os
import secrets
import warnings
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, Protocol

from gan_cli.config import train_config
from gan_cli.config.train_config import Config
from gan_cli.storage.links import refuse_link, without_link

TENSORBOARD, WANDB, MLFLOW, CSV = "tensorboard", "wandb", "mlflow", "csv"  # the first three also a run's folders
TABLE = "metrics.csv"
RUN_ID = "run_id.txt"
PROJECT = "gan-cli"
WANDB_HOST = "api.wandb.ai"


class Tracker(Protocol):
    """What is told of a run while it goes on."""

    def metrics(self, step: int, values: Mapping[str, float]) -> None:
        """The figures of a line of `metrics.jsonl`, but for its step."""

    def picture(self, step: int, path: Path) -> None:
        """A grid of samples."""

    def cut(self, step: int) -> None:
        """The run went back to this step."""

    def close(self) -> None:
        """Everything was told."""


Opener = Callable[[Callable[[str], None]], Tracker]  # of a function that says a line


def trackers_of(config: Config, folder: Path, step: int) -> dict[str, Opener]:
    """What opens each tracker of this run, which is at `step`."""
    return {name: partial(OPENERS[name], config, folder, step) for name in config.logger}


class TensorBoard:
    """Event files in `<run>/tensorboard`; what was told of steps past the one that a run goes on from is purged."""

    def __init__(self, config: Config, folder: Path, step: int, say: Callable[[str], None]) -> None:
        self._folder = refuse_link(folder / TENSORBOARD)
        self._open(step)
        if step == 0:
            lines = "\n".join(
                f"    {key}: {value}" for key, value in train_config.flatten(train_config.to_dict(config))
            )
            self._writer.add_text("config", lines, 0)

    def _open(self, step: int) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what its packages warn each other of
            from torch.utils.tensorboard import SummaryWriter

            self._writer: Any = SummaryWriter(str(self._folder), purge_step=step + 1 if step else None)

    def metrics(self, step: int, values: Mapping[str, float]) -> None:
        for name, value in values.items():
            self._writer.add_scalar(name, value, step)
        self._writer.flush()

    def picture(self, step: int, path: Path) -> None:
        import numpy as np
        from PIL import Image

        from gan_cli.images.animation import flat

        with Image.open(path) as image:
            pixels = np.asarray(flat(image))
        self._writer.add_image("samples", pixels, step, dataformats="HWC")

    def cut(self, step: int) -> None:
        self._writer.close()
        self._open(step)

    def close(self) -> None:
        self._writer.close()


class WeightsAndBiases:
    """A run of `WANDB_PROJECT`, or of the project gan-cli, kept in `<run>/wandb` and found again by the id there.

    Without a key it is offline: `wandb sync` sends it later.
    """

    def __init__(self, config: Config, folder: Path, step: int, say: Callable[[str], None]) -> None:
        import wandb

        self._wandb: Any = wandb
        mode = os.environ.get("WANDB_MODE")
        if mode is None and not has_key():
            mode = "offline"
            say("wandb: no key (WANDB_API_KEY, or wandb login), so this run stays offline; wandb sync sends it later")
        inside = refuse_link(folder / WANDB)
        inside.mkdir(exist_ok=True)
        self._run: Any = wandb.init(
            project=os.environ.get("WANDB_PROJECT", PROJECT),
            name=f"{config.run_name} {folder.name}",
            group=os.environ.get("WANDB_RUN_GROUP", config.run_name),
            config=train_config.to_dict(config),
            dir=str(folder),
            id=_run_id(inside / RUN_ID),
            resume="allow",
            mode=mode,  # type: ignore[arg-type]
            settings=wandb.Settings(console="off", silent=True),
        )
        self._run.define_metric("*", step_metric="step")  # a run that went back may tell of a step again

    def metrics(self, step: int, values: Mapping[str, float]) -> None:
        self._run.log({**values, "step": step})

    def picture(self, step: int, path: Path) -> None:
        self._run.log({"samples": self._wandb.Image(str(path)), "step": step})

    def cut(self, step: int) -> None:
        """Figures told again stand beside the first ones at the same step."""

    def close(self) -> None:
        self._run.finish()


class Table:
    """`<run>/metrics.csv`: a row for each line of `metrics.jsonl`, a column for each figure."""

    def __init__(self, config: Config, folder: Path, step: int, say: Callable[[str], None]) -> None:
        self._path = refuse_link(folder / TABLE)
        self._names: list[str] = []
        self.cut(step)

    def _rows(self) -> list[dict[str, str]]:
        if not self._path.is_file():
            return []
        with open(self._path, encoding="utf-8", newline="") as file:
            return list(csv.DictReader(file))

    def _write(self, rows: list[dict[str, str]]) -> None:
        """All rows anew: a figure that comes later gets a column, in which those before have nothing."""
        temporary = without_link(self._path.with_name(f".{TABLE}.tmp"))
        with open(temporary, "w", encoding="utf-8", newline="") as file:
            writer = csv.DictWriter(file, self._names, restval="")
            writer.writeheader()
            writer.writerows(rows)
        os.replace(temporary, self._path)

    def metrics(self, step: int, values: Mapping[str, float]) -> None:
        row = {name: repr(value) for name, value in {"step": step, **values}.items()}
        new = [name for name in row if name not in self._names]
        if new:
            rows = self._rows()
            self._names += new
            self._write([*rows, row])
            return
        with open(self._path, "a", encoding="utf-8", newline="") as file:
            csv.DictWriter(file, self._names, restval="").writerow(row)

    def picture(self, step: int, path: Path) -> None:
        """A table has none."""

    def cut(self, step: int) -> None:
        rows = self._rows()
        self._names = list(rows[0]) if rows else []
        kept = [row for row in rows if (row.get("step") or "").isdecimal() and int(row["step"]) <= step]
        if len(kept) < len(rows):
            self._write(kept)

    def close(self) -> None:
        """Each row was written when it came."""


class MLflow:
    """A run of the experiment gan-cli, or MLFLOW_EXPERIMENT_NAME, found again by the id in `<run>/mlflow`.

    Where MLFLOW_TRACKING_URI says; else in a database beside the runs, which `mlflow ui` shows.
    """

    def __init__(self, config: Config, folder: Path, step: int, say: Callable[[str], None]) -> None:
        import mlflow

        self._mlflow: Any = mlflow
        inside = refuse_link(folder / MLFLOW)
        inside.mkdir(exist_ok=True)
        home = Path(config.output).expanduser().resolve()
        own = not os.environ.get("MLFLOW_TRACKING_URI")
        if own:
            mlflow.set_tracking_uri(f"sqlite:///{home / 'mlflow.db'}")
            os.environ.pop("MLFLOW_TRACKING_URI", None)  # which that sets, for another run in this process to find
            if step == 0:
                say(f"mlflow: no MLFLOW_TRACKING_URI, so this run is kept in {home / 'mlflow.db'}")
        name = os.environ.get("MLFLOW_EXPERIMENT_NAME", PROJECT)
        if mlflow.get_experiment_by_name(name) is None:
            # a server has its own place for files
            mlflow.create_experiment(name, artifact_location=(home / "mlflow").as_uri() if own else None)
        mlflow.set_experiment(name)
        known = inside / RUN_ID
        if known.is_file():
            mlflow.start_run(run_id=known.read_text(encoding="utf-8").strip())
            return
        run = mlflow.start_run(run_name=f"{config.run_name} {folder.name}")
        without_link(known).write_text(run.info.run_id + "\n", encoding="utf-8")
        leaves = {
            key: str(value)[:500]
            for key, value in train_config.flatten(train_config.to_dict(config))
            if value is not None
        }
        mlflow.log_params(leaves)

    def metrics(self, step: int, values: Mapping[str, float]) -> None:
        self._mlflow.log_metrics(dict(values), step=step)

    def picture(self, step: int, path: Path) -> None:
        self._mlflow.log_artifact(str(path), artifact_path="samples")

    def cut(self, step: int) -> None:
        """Figures told again stand beside the first ones at the same step."""

    def close(self) -> None:
        self._mlflow.end_run()


OPENERS: dict[str, Callable[..., Tracker]] = {
    TENSORBOARD: TensorBoard,
    WANDB: WeightsAndBiases,
    CSV: Table,
    MLFLOW: MLflow,
}


def has_key() -> bool:
    """Whether wandb will find a key: in the environment, or where `wandb login` puts it."""
    if os.environ.get("WANDB_API_KEY"):
        return True
    host = os.environ.get("WANDB_BASE_URL", f"https://{WANDB_HOST}").partition("://")[2].partition("/")[0]
    try:
        return netrc.netrc(os.environ.get("NETRC")).authenticators(host.partition(":")[0]) is not None
    except (OSError, netrc.NetrcParseError):
        return False


def _run_id(path: Path) -> str:
    """The id of this run at wandb, made once."""
    if path.is_file():
        kept = path.read_text(encoding="utf-8").strip()
        if kept.isalnum() and kept.isascii() and len(kept) <= 64:
            return kept
    made = secrets.token_hex(4)
    without_link(path).write_text(made + "\n", encoding="utf-8")
    return made
