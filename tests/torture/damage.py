"""Flipped bits and truncations of a checkpoint, which must all be refused."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from torture.scenarios import finished_run
from torture.worker import Trial

BATCH, LENGTHS = 50, 1000  # cases of a trial
LAST = ("checkpoints", "last.safetensors")


def damaged_checkpoint(trial: Trial) -> None:
    """Flips single bits of a checkpoint and cuts it off."""
    content = finished_run(trial).joinpath(*LAST).read_bytes()
    trial.cases = BATCH

    def damaged() -> Iterator[tuple[str, bytes]]:
        for _ in range(BATCH):
            size, bit = trial.random.randrange(len(content)), trial.random.randrange(8)
            if trial.random.random() < 0.2:
                yield f"the first {size} bytes", content[:size]
            else:
                flipped = bytes([content[size] ^ 1 << bit])
                yield f"bit {bit} of byte {size}", content[:size] + flipped + content[size + 1 :]

    _refuse_all(trial, damaged())


def cut_checkpoint(trial: Trial) -> None:
    """Cuts a checkpoint off at LENGTHS successive lengths; the trials of all indices cut it at all."""
    content = finished_run(trial).joinpath(*LAST).read_bytes()
    lengths = range(len(content))[trial.index * LENGTHS : (trial.index + 1) * LENGTHS]
    trial.cases = len(lengths)
    if lengths:
        trial.note = f"lengths {lengths[0]} to {lengths[-1]} of {len(content)}"
        _refuse_all(trial, ((f"the first {size} bytes", content[:size]) for size in lengths))


def _refuse_all(trial: Trial, damaged: Iterable[tuple[str, bytes]]) -> None:
    """Loads damaged checkpoints in the process of this trial. Each must be refused by a message that names the file."""
    target = trial.here / "step_00000002.safetensors"
    report = trial.folder / "accepted"

    def load_all() -> int:
        from gan_cli.errors import CheckpointError
        from gan_cli.state import checkpoint

        with report.open("w") as accepted:
            for what, content in damaged:
                target.write_bytes(content)
                try:
                    checkpoint.load(target)
                    accepted.write(f"{what}\n")
                except CheckpointError as error:
                    if target.name not in str(error):
                        accepted.write(f"{what}: message without the file: {error}\n")
        return 0

    ended = trial.call(load_all)
    if ended.code:
        trial.fault("wrong", f"exit code {ended.code}: {ended.last_line}")
    for line in report.read_text().splitlines():
        trial.fault("corrupt", f"accepted: {line}")
