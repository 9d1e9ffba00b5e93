"""Flipped bits and truncations of a checkpoint, which must all be refused."""

from __future__ import annotations

from torture.scenarios import finished_run
from torture.worker import Trial

BATCH = 50  # cases of a trial


def damaged_checkpoint(trial: Trial) -> None:
    """Flips single bits of a checkpoint and cuts it, in the process of this trial; each must be refused by name."""
    content = (finished_run(trial) / "checkpoints" / "last.safetensors").read_bytes()
    target = trial.here / "step_00000002.safetensors"
    report = trial.folder / "accepted"
    trial.cases = BATCH

    def load_all() -> int:
        from gan_cli.errors import CheckpointError
        from gan_cli.state import checkpoint

        with report.open("w") as accepted:
            for _ in range(BATCH):
                damaged = bytearray(content)
                size, bit = trial.random.randrange(len(content)), trial.random.randrange(8)
                if trial.random.random() < 0.2:
                    del damaged[size:]
                else:
                    damaged[size] ^= 1 << bit
                target.write_bytes(damaged)
                try:
                    checkpoint.load(target)
                    accepted.write(f"{len(damaged)} bytes, bit {bit} of byte {size}\n")
                except CheckpointError as error:
                    if target.name not in str(error):
                        accepted.write(f"message without the file: {error}\n")
        return 0

    ended = trial.call(load_all)
    if ended.code:
        trial.fault("wrong", f"exit code {ended.code}: {ended.last_line}")
    for line in report.read_text().splitlines():
        trial.fault("corrupt", f"accepted: {line}")
