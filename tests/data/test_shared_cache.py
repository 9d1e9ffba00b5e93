"""The file of decoded images: decoded once by processes that start at once, whose pages are then shared."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from gan_cli.storage.locks import one_at_a_time
from support.shards import encoded

CHILD = """
import sys, time
from pathlib import Path
from gan_cli.data import folder
from support.image_folders import load_folder
decode = folder.decode_all
def counted(files, *rest):
    print("decoded", len(files), flush=True)
    time.sleep(1)
    return decode(files, *rest)
folder.decode_all = counted
data = load_folder(Path(sys.argv[1]), size=(64, 64), cache=sys.argv[2])
total = int(data.samples.sum())
fields = [line.split() for line in open("/proc/self/smaps")]
inside, found = False, {}
for line in fields:
    if "-" in line[0] and ":" not in line[0]:
        inside = line[-1].endswith(".pictures")
    elif inside:
        found[line[0]] = found.get(line[0], 0) + int(line[1]) if line[1].isdigit() else 0
print("map", total, found["Size:"], found["Rss:"], found["Private_Dirty:"], found["Anonymous:"], flush=True)
sys.stdin.readline()
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_processes_that_start_at_once_decode_once_and_share_the_pages(tmp_path: Path) -> None:
    """400 images of 64 x 64 are 4.9 MB: one process decodes them, all map the same file, none has a copy."""
    images = np.random.default_rng(0).integers(0, 256, (400, 64, 64, 3), dtype=np.uint8)
    (tmp_path / "images").mkdir()
    for number, image in enumerate(images):
        (tmp_path / f"images/{number}.png").write_bytes(encoded(image))
    command = [sys.executable, "-c", CHILD, str(tmp_path / "images"), str(tmp_path / "cache")]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1]), "OMP_NUM_THREADS": "1"}
    running = [subprocess.Popen(command, stdin=-1, stdout=-1, text=True, env=environment) for _ in range(2)]
    outputs = [each.communicate("\n", timeout=120)[0].splitlines() for each in running]
    assert [each.returncode for each in running] == [0, 0]
    assert sum(line.startswith("decoded") for lines in outputs for line in lines) == 1
    facts = [next(line.split()[1:] for line in lines if line.startswith("map")) for lines in outputs]
    assert {int(each[0]) for each in facts} == {int(images.sum(dtype=np.int64))}
    for _, size, resident, dirty, anonymous in facts:
        assert int(size) >= int(resident) >= 400 * 64 * 64 * 3 // 1024
        assert (int(dirty), int(anonymous)) == (0, 0)
    assert [path.suffix for path in (tmp_path / "cache").iterdir()] == [".pictures"]


def test_one_at_a_time_lets_one_thread_in_after_the_other(tmp_path: Path) -> None:
    inside, most = [0], [0]

    def work() -> None:
        with one_at_a_time(tmp_path / "file"):
            inside[0] += 1
            most[0] = max(most[0], inside[0])
            time.sleep(0.02)
            inside[0] -= 1

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == [1]
    with one_at_a_time(tmp_path / "new" / "file"):
        assert [path.name for path in (tmp_path / "new").iterdir()] == [".file.lock"]
    assert list(tmp_path.iterdir()) == []  # neither a lock nor a folder is left


def test_a_folder_that_cannot_be_written_is_not_locked(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with one_at_a_time(tmp_path / "file" / "below"):
        pass
