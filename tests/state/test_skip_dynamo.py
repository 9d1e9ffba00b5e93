"""Torch's compiler is not imported for a run that compiles nothing, and optimizers compute what they did."""

from __future__ import annotations

import subprocess
import sys

import pytest

STEPS = """
import sys, torch
if sys.argv[1] == "spared":
    from gan_cli.state.skip_dynamo import avoid_dynamo_import
    avoid_dynamo_import()
    avoid_dynamo_import()
for name, settings in {"Adam": {}, "AdamW": {"fused": True}, "RMSprop": {"foreach": True}, "SGD": {"lr": 0.1}}.items():
    torch.manual_seed(0)
    network = torch.nn.Linear(3, 4)
    optimizer = getattr(torch.optim, name)(network.parameters(), **settings)
    for _ in range(5):
        optimizer.zero_grad()
        network(torch.ones(2, 3)).square().sum().backward()
        optimizer.step()
        assert torch.is_grad_enabled()
    optimizer.load_state_dict(optimizer.state_dict())
    print([weight.hex() for parameter in network.parameters() for weight in parameter.flatten().tolist()])
print("torch._dynamo" in sys.modules)
"""


def printed(*command: str) -> list[str]:
    done = subprocess.run([sys.executable, *command], capture_output=True, text=True, check=True)
    return done.stdout.splitlines()


def test_optimizers_compute_the_same_without_the_compiler() -> None:
    plain, spared = (printed("-c", STEPS, how) for how in ("plain", "spared"))
    assert plain[:-1] == spared[:-1]
    assert len(set(plain[:-1])) == 4
    assert (plain[-1], spared[-1]) == ("True", "False")  # a torch that does otherwise needs none of this


@pytest.mark.parametrize("optimizer", ["adam", "adamw", "rmsprop", "sgd"])
def test_a_run_and_its_samples_import_no_compiler(optimizer: str) -> None:
    overrides = ["dataset=ring", "architecture=mlp", "regularizer=none", f"optimizer={optimizer}", "steps=1"]
    run = f"""
import sys, tempfile
from gan_cli.cli.main import run_command
with tempfile.TemporaryDirectory() as folder:
    assert run_command("train", [*{overrides!r}, f"output={{folder}}", "name=run"]) == 0
    assert run_command("sample", [f"ckpt={{folder}}/run"]) == 0
print("torch._dynamo" in sys.modules)
"""
    assert printed("-c", run)[-1] == "False"
