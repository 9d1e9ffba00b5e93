"""Which signals a process handles, and when; a signal that it was started to ignore stays ignored."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from gan_cli import stop_signals
from gan_cli.cli.main import run_command
from gan_cli.stop_signals import STOP_CODES, Interrupted, StopSignals, exit_on_signal, uninterrupted
from gan_cli.sweeps.jobs import JobProcesses
from support.configs import TINY_IMAGES


@pytest.fixture(autouse=True)
def _handlers_stay() -> Iterator[None]:
    before = [signal.getsignal(number) for number in STOP_CODES]
    yield
    assert [signal.getsignal(number) for number in STOP_CODES] == before


@contextlib.contextmanager
def ignored(number: signal.Signals) -> Iterator[None]:
    before = signal.signal(number, signal.SIG_IGN)
    yield
    signal.signal(number, before)


@pytest.mark.parametrize("number", STOP_CODES, ids=lambda number: number.name)
@pytest.mark.parametrize("context", [StopSignals, JobProcesses, exit_on_signal])
def test_an_ignored_signal_stays_ignored(
    context: Callable[[], contextlib.AbstractContextManager[object]], number: signal.Signals
) -> None:
    other = next(each for each in STOP_CODES if each != number)
    with ignored(number), context() as entered:
        assert signal.getsignal(number) is signal.SIG_IGN
        assert callable(signal.getsignal(other))
        os.kill(os.getpid(), number)
        assert getattr(entered, "received", None) is None


def test_signals_are_left_alone_in_other_threads() -> None:
    before, found = signal.getsignal(signal.SIGTERM), []

    def enter() -> None:
        with StopSignals(), JobProcesses(), exit_on_signal():
            found.append(signal.getsignal(signal.SIGTERM))

    thread = threading.Thread(target=enter)
    thread.start()
    thread.join()
    assert found == [before]


def test_a_signal_of_the_same_request_is_ignored_after_the_context_that_received_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As `timeout` sends it twice: the second one may arrive while the run writes its report."""
    monkeypatch.setattr(stop_signals, "REPEAT_SECONDS", 60.0)
    with StopSignals() as outer, outer.interruptible():
        with StopSignals() as inner:
            os.kill(os.getpid(), signal.SIGTERM)
        os.kill(os.getpid(), signal.SIGTERM)
        assert outer.received == inner.received == signal.SIGTERM


def test_what_is_uninterrupted_within_interruptible_work_is_completed() -> None:
    """Interrupted is raised at its end, and at once where nothing protects the work."""
    done = []
    with StopSignals() as stop, contextlib.suppress(Interrupted), stop.interruptible():
        with uninterrupted():
            done.append("nothing came")
        with uninterrupted():
            os.kill(os.getpid(), signal.SIGTERM)
            done.append("protected")
        done.append("not reached")
    with StopSignals() as stop, contextlib.suppress(Interrupted), stop.interruptible():
        with contextlib.suppress(OSError), uninterrupted():
            raise OSError
        os.kill(os.getpid(), signal.SIGTERM)
        done.append("not reached")
    with StopSignals() as stop, uninterrupted():  # outside of interruptible work
        os.kill(os.getpid(), signal.SIGTERM)
        done.append("saved")
    assert done == ["nothing came", "protected", "saved"]


def test_a_signal_whose_exception_was_dropped_is_raised_later() -> None:
    """As by a library that catches everything."""
    stop_signals.raise_if_stopping()
    with StopSignals() as stop:
        with contextlib.suppress(BaseException), stop.interruptible():
            signal.raise_signal(signal.SIGTERM)
        with pytest.raises(Interrupted):
            stop_signals.raise_if_stopping()


STAGES = ("build_dataset", "_record_start", "log_setup", "run_training")


@pytest.mark.parametrize(("stage", "number"), [*zip(STAGES, STOP_CODES, strict=True)])
def test_a_signal_before_the_first_step_leaves_nothing(
    here: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    stage: str,
    number: signal.Signals,
) -> None:
    from gan_cli.launch import start_run

    monkeypatch.setattr(start_run, stage, lambda *given: os.kill(os.getpid(), number))
    assert run_command("train", [*TINY_IMAGES, "steps=1"]) == STOP_CODES[number]
    assert capsys.readouterr().err == f"gan-train: stopped by {number.name}\n"
    assert list(here.iterdir()) == []


def test_a_run_that_cannot_write_its_record_leaves_nothing(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from gan_cli.launch import start_run

    def fail(*given: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(start_run, "write_record", fail)
    (here / "outputs" / "other").mkdir(parents=True)
    assert run_command("train", [*TINY_IMAGES, "steps=1"]) == 5
    assert [*here.rglob("*")] == [here / "outputs", here / "outputs" / "other"]


def test_an_interrupt_names_its_signal() -> None:
    with pytest.raises(Interrupted) as raised, StopSignals() as stop, stop.interruptible():
        os.kill(os.getpid(), signal.SIGUSR1)
    assert raised.value.args == (signal.SIGUSR1,)


def test_a_signal_whose_exception_was_dropped_still_stops_what_begins_later() -> None:
    with StopSignals() as outer:
        os.kill(os.getpid(), signal.SIGTERM)
        assert outer.received == signal.SIGTERM
        with StopSignals() as inner:
            assert inner.received == signal.SIGTERM
            with pytest.raises(Interrupted), inner.interruptible():
                pass


def test_a_signal_that_other_code_turns_into_an_error_is_still_one() -> None:
    def validate() -> None:
        try:
            signal.raise_signal(signal.SIGTERM)
        except Interrupted as error:
            raise ValueError("invalid") from error

    with StopSignals() as stop, pytest.raises(Interrupted), stop.interruptible():
        validate()


def test_an_error_after_a_signal_that_another_context_received_stays_one() -> None:
    def fail_late() -> None:
        with StopSignals():
            signal.raise_signal(signal.SIGTERM)
        raise ValueError("invalid")

    with StopSignals() as stop, pytest.raises(ValueError, match="invalid"), stop.interruptible():
        fail_late()


INTERRUPTED_IMPORT = """
import os, signal, sys

class Interrupting:
    def find_spec(self, name, *others):
        if name == "gan_cli.cli.main":
            os.kill(os.getpid(), signal.SIGINT)

import gan_cli.cli
sys.meta_path.insert(0, Interrupting())
sys.exit(gan_cli.cli.train())
"""


def test_a_signal_while_a_command_is_imported_prints_nothing() -> None:
    done = subprocess.run([sys.executable, "-c", INTERRUPTED_IMPORT], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "")


def test_a_signal_where_python_cannot_raise_comes_again(capsys: pytest.CaptureFixture[str]) -> None:
    class Sends:
        def __del__(self) -> None:
            signal.raise_signal(signal.SIGTERM)

    def work() -> None:
        Sends()  # whose destructor's exception Python drops
        time.sleep(10)

    hook = sys.unraisablehook
    with StopSignals() as stop:
        with pytest.raises(Interrupted), stop.interruptible():
            work()
        assert stop.received == signal.SIGTERM
    assert sys.unraisablehook is hook
    assert capsys.readouterr().err == ""
