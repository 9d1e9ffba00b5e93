"""The harness finds what it looks for: each kind of fault, planted."""

from __future__ import annotations

import errno
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from random import Random

import pytest

from torture import canary, full_disk, fuzz, in_jobs, results, strace, sweeps, worker
from torture.parts import PARTS
from torture.power import Disk
from torture.read_shim import ReadShim, ending, unreadable
from torture.shim import Event, Shim, failing, killing, recording
from torture.verify import differences, state_of
from torture.worker import Bench, Trial


@pytest.fixture
def trial(tmp_path: Path) -> Trial:
    """A trial of its own folder, which runs no command."""
    return Bench(tmp_path, seed=1, python="python").trial("kill/0")


def write_safely() -> int:
    """Writes a file as gan-cli does: another name, sync, rename."""
    with open("part", "w") as file:
        file.write("0123456789")
        file.flush()
        os.fsync(file.fileno())
    os.replace("part", "whole")
    return 0


def test_the_shim_sees_each_call_and_kills_before_any_or_within_a_write(trial: Trial) -> None:
    names: list[Event] = []
    log = trial.folder / "log"

    def record() -> int:
        write_safely()
        log.write_text(" ".join(event.name for event in names))
        return 0

    assert trial.call(record, Shim(trial.here, recording(names)).install).code == 0
    assert log.read_text() == "open write fsync replace"
    (trial.here / "whole").unlink()
    for n, torn, left in ((1, False, {}), (2, True, {"part": "01234"}), (4, False, {"part": "0123456789"})):
        act = killing(n, trial.folder / "point", torn)
        assert trial.call(write_safely, Shim(trial.here, act).install).code == -signal.SIGKILL
        assert {path.name: path.read_text() for path in trial.here.iterdir()} == left
    assert (trial.folder / "point").read_text().splitlines()[-1] == "4 replace part whole"


def test_a_call_fails_once_or_for_ever(trial: Trial) -> None:
    def twice() -> int:
        codes = []
        for _ in range(2):
            try:
                codes.append(write_safely())
            except OSError as error:
                codes.append(error.errno)
        return codes.index(0) if 0 in codes else 9

    for forever, code in ((False, 1), (True, 9)):
        act = failing(2, errno.ENOSPC, forever, trial.folder / "point")
        assert trial.call(twice, Shim(trial.here, act).install, checked=False).code == code


def test_the_canary_sees_programs_sockets_and_writes_elsewhere(trial: Trial, tmp_path: Path) -> None:
    def misbehave() -> int:
        (trial.here / "own").write_text("allowed")
        (tmp_path / "elsewhere").write_text("x")
        subprocess.run(["true"], check=True)
        with socket.socket() as sending:
            sending.connect_ex(("127.0.0.1", 9))
        return 0

    log = trial.folder / "sightings"
    assert trial.call(misbehave, lambda: canary.watch(trial.folder, log)).code == 0
    writes, program, connects = canary.sightings(log)
    assert "elsewhere" in writes
    assert "subprocess.Popen" in program
    assert "socket.connect" in connects


def test_tracebacks_escapes_and_hangs_are_faults(trial: Trial, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker, "BLOCKED_SECONDS", 0.2)
    trial.call(lambda: 1 // 0)
    trial.call(lambda: print("\x1b[31m") or 0)  # type: ignore[func-returns-value]
    trial.call(lambda: time.sleep(60) or 0)  # type: ignore[func-returns-value]
    assert [kind for kind, _ in trial.faults] == ["traceback", "executed", "hang"]


def test_the_oracle_names_what_is_lost_left_or_damaged(tmp_path: Path) -> None:
    for name, content in {"a.png": "1", "metrics.jsonl": '{"step": 1, "seconds": 5}\n', "b.json": "{}"}.items():
        (tmp_path / name).write_text(content)
    expected = state_of(tmp_path)
    (tmp_path / "metrics.jsonl").write_text('{"step": 1, "seconds": 7}\n')
    assert differences(state_of(tmp_path), expected) == []
    (tmp_path / "a.png").unlink()
    (tmp_path / "b.json").write_text("{")
    (tmp_path / ".gan-cli-abcd1234").write_text("")
    kinds = {fault.text.partition(":")[0]: fault.kind for fault in differences(state_of(tmp_path), expected)}
    assert kinds == {".gan-cli-abcd1234": "leftover", "a.png": "lost", "b.json": "corrupt"}


def test_a_power_cut_keeps_what_was_synced_and_may_lose_the_rest(tmp_path: Path) -> None:
    before = tmp_path / "before"
    before.mkdir()
    (before / "whole").write_text("old")
    seen: dict[bool, set[str]] = {}
    for synced in (False, True):
        events = [Event("open", "part", detail="w"), Event("write", "part", detail=b"new"), Event("fsync", "part")]
        events += [Event("replace", "part", "whole"), Event("fsync", ".")]
        disk = Disk(before)
        for event in events if synced else [*events[:2], events[3]]:
            disk.apply(event)
        for number in range(40):
            after = tmp_path / f"{synced}-{number}"
            after.mkdir()
            disk.write_cut(after, Random(number))
            seen.setdefault(synced, set()).add((after / "whole").read_text())
    assert seen == {False: {"old", "", "new"}, True: {"new"}}


def test_results_are_kept_by_key_and_reported(trial: Trial, tmp_path: Path) -> None:
    trial.fault("lost", "a grid is missing")
    path = tmp_path / "results" / "1.jsonl"
    results.append(path, results.result_of(trial, 1.0, "abc"))
    with path.open("a") as file:
        file.write('{"key": "kill/1", "fau')
    found = results.load(path.parent)
    assert [*found] == ["kill/0"]
    text = results.report(found, {"kill": 2}, "Torture")
    assert f"| {PARTS['kill'].what} | 2 | 1 | 0 | 1 | 0 |" in text
    assert "- `kill/0` (): lost: a grid is missing" in text
    assert "abc*" in text
    trial.skip("strace is not installed")
    assert "not run: strace is not installed (1 trials)" in results.report(
        {"strace/0": results.result_of(trial, 1.0, "abc") | {"faults": []}}, {"strace": 1}, "Torture"
    )


def test_results_of_two_commits_are_not_mixed(trial: Trial, tmp_path: Path) -> None:
    for key, commit in (("kill/0", "abc"), ("kill/1", "def")):
        results.append(tmp_path / "x" / f"{commit}.jsonl", results.result_of(trial, 1.0, commit) | {"key": key})
    with pytest.raises(results.MixedResultsError, match="abc, def"):
        results.load(tmp_path / "x")


def test_system_calls_of_the_main_thread_that_change_files_are_found(tmp_path: Path) -> None:
    here = tmp_path / "here"
    log = tmp_path / "strace"
    log.write_text(f"""\
7  openat(AT_FDCWD<{here}>, "{here}/a", O_RDONLY) = 3
7  openat(AT_FDCWD<{here}>, "b", O_WRONLY|O_CREAT, 0666) = 3<{here}/b>
8  write(3<{here}/b>, "y", 1) = 1
7  write(2<{tmp_path}/7.err>, "x", 1) = 1
7  write(3<{here}/b>, "z", 1 <unfinished ...>
7  <... write resumed>) = 1
7  rename("b", "c") = 0
7  rename("/else/b", "/else/c") = 0
""")
    found = [(call.name, call.number) for call in strace.parse(log, here)]
    assert found == [("openat", 2), ("write", 2), ("rename", 1)]


def test_mutants_differ_and_are_the_same_for_a_seed() -> None:
    seeds = [b'{"step": 1}', b"file,label"]
    one, other = ([fuzz.mutate(seeds, random) for _ in range(50)] for random in (Random(1), Random(1)))
    assert one == other
    assert len({*one}) > 40


def test_every_part_is_in_the_quick_set_except_long_ones() -> None:
    assert {name for name, part in PARTS.items() if not part.quick} == {"soak", "length"}


def test_reads_fail_once_or_for_ever_or_end_early(trial: Trial) -> None:
    path = trial.here / "file"
    path.write_text("0123456789")

    def read_twice() -> int:
        found = []
        for _ in range(2):
            try:
                found.append(len(path.read_bytes()))
            except OSError as error:
                found.append(error.errno or 0)
        return found[0] * 16 + found[1]

    for act, codes in (
        (unreadable(2, "file", errno.EIO, forever=False), (errno.EIO, 10)),
        (unreadable(1, "file", errno.EIO, forever=True), (errno.EIO, errno.EIO)),
        (ending(2, "file"), (0, 0)),
    ):
        ended = trial.call(read_twice, ReadShim(trial.here, act).install)
        assert ended.code == codes[0] * 16 + codes[1]


def test_the_last_attempt_of_each_job_counts() -> None:
    state = {"0/a": 1, "0-2/a": 2, "0-10/a": 3, "1/a": 4, "0/left": 5, "sweep.json": 6}
    assert sweeps.last_attempts(state) == {"0/a": 3, "1/a": 4, "sweep.json": 6}


def test_calls_are_told_by_the_checkpoint_that_they_save() -> None:
    hidden = "run/checkpoints/.gan-cli-abcdefgh"
    events = [Event("open", "run/train.log"), Event("mkdir", hidden)]
    events += [
        Event("open", f"{hidden}/step_00000003.safetensors"),
        Event("rmdir", hidden),
        Event("fsync", "run/checkpoints"),
    ]
    events += [Event("write", "run/metrics.jsonl"), Event("unlink", "run/checkpoints/paused.safetensors")]
    assert full_disk.checkpoints_of(events) == dict.fromkeys((2, 3, 5), "step_00000003.safetensors")


def test_a_process_of_a_sweep_is_killed_at_a_call(tmp_path: Path) -> None:
    trial = Bench(tmp_path, seed=1, python=sys.executable).trial("job/0")
    (trial.here / "job.py").write_text("open('first', 'w').close(); open('second', 'w').close()")

    def start_two() -> int:
        in_jobs.install(trial.folder, f"interrupt({str(trial.folder)!r}, 1, {int(signal.SIGKILL)}, call=2)")
        codes = [subprocess.run([sys.executable, "-P", "job.py"], check=False).returncode for _ in range(2)]
        (trial.here / "first").unlink()
        return 0 if codes == [0, -signal.SIGKILL] else 1

    assert trial.call(start_two).code == 0
    assert (trial.folder / "point").read_text() == "open second\n"
