"""What is done about a run that goes wrong."""

from __future__ import annotations

from dataclasses import dataclass

from gan_cli.config.schema import key


@dataclass(frozen=True)
class Health:
    on_collapse: str = key("on a finding of the health watch: say it, or also end the run", choices=("warn", "stop"))
    on_nonfinite: str = key(
        "on a number that is not finite: end the run, or go back to the newest checkpoint and on with another seed",
        choices=("stop", "rollback"),
    )
    retries: int = key("how often a run may go back", at_least=0, at_most=1000)


UNWATCHED = Health(on_collapse="warn", on_nonfinite="stop", retries=0)  # what runs did before they were watched
