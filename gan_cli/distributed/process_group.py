"""The processes that train one model, and how the first one directs the others.

Process 0 runs the training loop: it decides what is done, writes the files and prints. The others wait for its
commands between the updates and take part in each. A command is a small vector that all processes combine by a maximum,
on the CPU, so that each also learns of signals and errors of the others. While process 0 evaluates or writes, a thread
of it sends the command WAIT, so that a process that ended or was stopped is found within `device.timeout`. Processes
that load data or generate samples meanwhile have a thread that answers.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from datetime import timedelta
from typing import Any, NamedTuple

import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed.rendezvous import rendezvous

from gan_cli.distributed.batch_share import Share
from gan_cli.distributed.collectives import connected, is_same_on_all
from gan_cli.distributed.process_environment import (
    ProcessEnvironment,
    end_as_lost,
    keep_connections_local,
    reports_losses,
)
from gan_cli.distributed.start_round import new_part
from gan_cli.errors import LostProcessError, ProcessFailedError, UsageError
from gan_cli.stop_signals import is_stopping, uninterrupted

WAIT, PREPARE, LOAD, UPDATE, COMPARE, GENERATE, CANCEL, COLLECT, END = range(9)  # commands
SLOWEST_START = 120  # seconds in which all processes must have started
WAIT_SECONDS = 1.0  # between two commands WAIT
SHORTEST_WAIT, LONGEST_WAIT = 0.002, 0.1  # seconds between two questions whether the others are ready
LONGEST_JOB = 512  # bytes


class Message(NamedTuple):
    """What the processes tell each other between two updates; of each field, the largest value of all processes.

    `signal` is one that asks to stop, `failure` the exit code of a process that failed, and `busy` whether a process is
    still preparing. The `command` and its `value` are of process 0.
    """

    signal: int = 0
    failure: int = 0
    busy: int = 0
    command: int = WAIT
    value: int = 0


class ProcessGroup:
    """A process and those that train the same model; alone by default, when all methods change and send nothing."""

    rank, count = 0, 1
    jobs: tuple[str, ...] = ()  # identify what started the processes, if it may start them again

    def share(self, *, synchronized_norm: bool) -> Share | None:
        """Returns which share of each batch this process computes; None for whole batches."""
        return None

    def send(self, command: int, value: int = 0) -> Message:
        """Sends a command of process 0 to the others, and returns what all processes say."""
        return Message(command=command, value=value)

    def send_text(self, command: int, content: Any) -> None:
        """Sends a command and a value that JSON can hold."""

    def wait_until_ready(self, command: int = WAIT) -> None:
        """Process 0: waits until no other process is busy. With CANCEL, they leave what they are doing."""

    def broadcast(self, tensors: list[Tensor]) -> None:
        """Gives each tensor the values that it has in process 0."""

    def begin_update(self, total_steps: int | None, received: int) -> int:
        """Lets all processes make the next update, unless one of them got a signal to stop; then returns its number."""
        return received

    def end_update(self) -> None:
        """Ends the update that `begin_update` began."""

    def same_on_all(self, values: list[int]) -> list[bool]:
        """Returns for each whole number whether it is the same in all processes. Process 0 sends COMPARE before."""
        return [True] * len(values)


ALONE = ProcessGroup()


def _open_store(environment: ProcessEnvironment, timeout: timedelta) -> dist.Store:
    """Returns the store in which the processes find each other."""
    if environment.store is not None:
        file = dist.FileStore(str(environment.store), environment.count)
        file.set_timeout(timeout)
        return file
    store, _, _ = next(rendezvous("env://", timeout=timeout))
    return new_part(store, environment.rank, environment.count, timeout)


class ConnectedGroup(ProcessGroup):
    """A process that is connected to the others of its run."""

    def __init__(self, environment: ProcessEnvironment, device: torch.device, timeout: float) -> None:
        """Connects to the other processes, which must start at the same time. Raises LostProcessError otherwise."""
        self.rank, self.count, self.device = environment.rank, environment.count, device
        keep_connections_local(environment)
        start, wait = timedelta(seconds=max(SLOWEST_START, timeout)), timedelta(seconds=timeout)
        store = connected(_open_store, environment, start)
        connected(dist.init_process_group, "gloo", timeout=start, store=store, rank=self.rank, world_size=self.count)
        backend = "nccl" if device.type == "cuda" else "gloo"
        self._control = connected(dist.new_group, backend="gloo", timeout=wait)
        if not all(is_same_on_all(self._control, [int(backend == "nccl")])):
            raise UsageError("device: some processes have a GPU and others the CPU; give all the same device=")
        self._data = connected(dist.new_group, backend=backend, timeout=wait)
        self._lock = threading.RLock()  # held by the thread that sends or receives, and during an update
        self._waiting = threading.Event()  # set once this process sends WAIT no more
        self._signalled = self._given = False  # whether the others have a state
        self.jobs = self._all_jobs(environment.job)
        self.in_update = False

    def _all_jobs(self, own: str) -> tuple[str, ...]:
        """Returns what identifies the starters of all processes: one for each machine, in the order of processes."""
        mine = torch.zeros(LONGEST_JOB, dtype=torch.uint8)
        data = own.encode()[:LONGEST_JOB]
        mine[: len(data)] = torch.tensor([*data], dtype=torch.uint8)
        found = [torch.empty_like(mine) for _ in range(self.count)]
        connected(dist.all_gather, found, mine, group=self._control)
        texts = (bytes(each.tolist()).rstrip(b"\0").decode(errors="replace") for each in found)
        return tuple(dict.fromkeys(filter(None, texts)))

    def share(self, *, synchronized_norm: bool) -> Share | None:
        return Share(self._data, self.rank, self.count, synchronized_norm=synchronized_norm)

    # --- messages ------------------------------------------------------------------------------------------------

    def exchange(self, message: Message) -> Message:
        """Combines the messages of all processes. Raises LostProcessError, or ProcessFailedError if one failed."""
        values = torch.tensor(message, dtype=torch.int64)
        with self._lock:
            connected(dist.all_reduce, values, op=dist.ReduceOp.MAX, group=self._control)
        combined = Message(*values.tolist())
        if combined.failure and not message.failure:
            raise ProcessFailedError(combined.failure)
        return combined

    def send(self, command: int, value: int = 0) -> Message:
        return self.exchange(Message(command=command, value=value))

    def send_text(self, command: int, content: Any) -> None:
        data = json.dumps(content).encode()
        with self._lock:
            self.send(command, len(data))
            self._given = self._given or command == LOAD
            connected(dist.broadcast, torch.frombuffer(bytearray(data), dtype=torch.uint8), 0, group=self._control)

    def receive_text(self, length: int) -> Any:
        """Returns the value that process 0 sent with a command, whose own value is `length`."""
        data = torch.empty(length, dtype=torch.uint8)
        connected(dist.broadcast, data, 0, group=self._control)
        return json.loads(bytes(data.tolist()))

    def wait_until_ready(self, command: int = WAIT) -> None:
        seconds, busy = SHORTEST_WAIT, True
        while busy:
            with self.in_one_piece():
                busy = bool(self.send(command).busy)
            if busy:
                threading.Event().wait(seconds)
                seconds = min(2 * seconds, LONGEST_WAIT)

    @contextlib.contextmanager
    def in_one_piece(self) -> Iterator[None]:
        """Process 0: while entered, its main thread is not interrupted, and no WAIT comes between what it sends."""
        with uninterrupted(), self._lock:
            yield

    def send_packet(self, rank: int, content: Any, tensors: Sequence[Tensor] = ()) -> None:
        """Sends a value that JSON can hold, and tensors that are not empty, to one process."""
        layout = [[str(tensor.dtype).removeprefix("torch."), *tensor.shape] for tensor in tensors]
        text = torch.frombuffer(bytearray(json.dumps([content, layout]).encode()), dtype=torch.uint8)
        for each in (torch.tensor([len(text)]), text, *tensors):
            connected(dist.send, each.cpu().contiguous(), rank, group=self._control)

    def receive_packet(self, rank: int) -> tuple[Any, list[Tensor]]:
        """Returns what another process sends with `send_packet`; the tensors are on the CPU."""
        length = torch.empty(1, dtype=torch.int64)
        connected(dist.recv, length, rank, group=self._control)
        text = torch.empty(int(length), dtype=torch.uint8)
        connected(dist.recv, text, rank, group=self._control)
        content, layout = json.loads(bytes(text.tolist()))
        tensors = [torch.empty(shape, dtype=getattr(torch, dtype)) for dtype, *shape in layout]
        for each in tensors:
            connected(dist.recv, each, rank, group=self._control)
        return content, tensors

    def broadcast(self, tensors: list[Tensor]) -> None:
        for tensor in tensors:
            connected(dist.broadcast, tensor, 0, group=self._data)

    def same_on_all(self, values: list[int]) -> list[bool]:
        with self._lock:
            if self.rank == 0:
                if not self._given:
                    return super().same_on_all(values)
                self.send(COMPARE)
            return is_same_on_all(self._control, values)

    # --- updates -------------------------------------------------------------------------------------------------

    def begin_update(self, total_steps: int | None, received: int) -> int:
        self._lock.acquire()
        combined = self.exchange(Message(signal=received, command=UPDATE, value=total_steps or 0))
        if combined.signal:
            self._signalled = True
            self._lock.release()
            return combined.signal
        self.in_update = True
        return 0

    def end_update(self) -> None:
        self.in_update = False
        self._lock.release()

    # --- waiting -------------------------------------------------------------------------------------------------

    @contextlib.contextmanager
    def directing(self) -> Iterator[None]:
        """Process 0: while entered, lets the others wait whenever this process is busy.

        They end with the exit code of an error. Otherwise `end` must be called.
        """
        threading.Thread(target=self._send_waits, daemon=True, name="send_waits").start()
        try:
            yield
        except LostProcessError:
            self._waiting.set()  # the others have found the same
            raise
        except BaseException as error:
            self.end(getattr(error, "exit_code", 1))
            raise

    def end(self, code: int) -> None:
        """Process 0: ends the others with this exit code. Those that are in an update find that this process ended."""
        self._waiting.set()
        if not self.in_update:
            with contextlib.suppress(LostProcessError):
                self.send(END, code)

    def _send_waits(self) -> None:
        """Sends WAIT about every second, unless the main thread holds the lock, as in an update."""
        while not self._waiting.wait(WAIT_SECONDS):
            if not self._lock.acquire(blocking=False):
                continue
            try:
                if not self._waiting.is_set():
                    self._stop_if_signalled(self.exchange(Message()).signal)
            except LostProcessError as error:
                if not self._waiting.is_set():
                    self._end_at_once(error)
            finally:
                self._lock.release()

    def _stop_if_signalled(self, number: int) -> None:
        """Sends this process, once, a signal that another process got, unless it is stopping already."""
        if number and not self._signalled and not is_stopping():
            self._signalled = True
            os.kill(os.getpid(), number)

    def _end_at_once(self, error: LostProcessError) -> None:
        """Ends this process although its main thread is busy. Files are whole at any time."""
        if reports_losses():
            print(f"gan-train: {error}", file=sys.stderr, flush=True)
        end_as_lost(error.exit_code)

    @contextlib.contextmanager
    def answering(self, received: Callable[[], int]) -> Iterator[threading.Event]:
        """Other processes: while entered, answers process 0 that this one is busy.

        Process 0 must send nothing but WAIT, or CANCEL, which sets the event. `received` returns the number of a signal
        that asked this process to stop, or 0. If process 0 ends the run, this process ends at once.
        """
        done, cancelled = threading.Event(), threading.Event()

        def answer() -> None:
            busy = True
            while busy:
                busy = not done.is_set()
                try:
                    combined = self.exchange(Message(signal=received(), busy=int(busy)))
                except LostProcessError as error:
                    end_as_lost(error.exit_code)
                if combined.command == END:
                    os._exit(combined.value)
                if combined.command == CANCEL:
                    cancelled.set()

        thread = threading.Thread(target=answer, daemon=True, name="answer")
        thread.start()
        try:
            yield cancelled
        finally:
            done.set()
            thread.join()
