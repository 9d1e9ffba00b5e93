"""The section `health`: what to do about a run that fails."""

from typing import Literal

from pydantic import Field

from gan_cli.config.options.fields import Integer, section


@section
class HealthOptions:
    """The keys of the section `health`."""

    on_collapse: Literal["warn", "stop"] = Field(
        "warn", description="on a finding of the health monitor: warn, or also stop the run"
    )
    on_nonfinite: Literal["stop", "rollback"] = Field(
        "stop",
        description="on NaN or Inf: stop the run, or roll back to the newest checkpoint and continue with another seed",
    )
    retries: Integer = Field(0, ge=0, le=1000, description="how often a run may roll back")
