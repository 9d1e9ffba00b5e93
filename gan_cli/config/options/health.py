"""The section `health`: what to do about a run that fails."""

from __future__ import annotations

from dataclasses import dataclass

from gan_cli.config.schema import key


@dataclass(frozen=True)
class HealthOptions:
    """The keys of the section `health`."""

    on_collapse: str = key("on a finding of the health monitor: warn, or also stop the run", choices=("warn", "stop"))
    on_nonfinite: str = key(
        "on NaN or Inf: stop the run, or roll back to the newest checkpoint and continue with another seed",
        choices=("stop", "rollback"),
    )
    retries: int = key("how often a run may roll back", at_least=0, at_most=1000)


# The values for checkpoints that were saved before this section existed.
HEALTH_IF_ABSENT = HealthOptions(on_collapse="warn", on_nonfinite="stop", retries=0)
