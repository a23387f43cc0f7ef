"""Runs on several machines: a pool of Dask workers over a shared folder.

What Dask knows is only which run is where. What a run is, how far it came and whether it is done
lies in the shared folder, so nothing is lost with a worker, a scheduler or this process.

A worker that dies takes its run with it: run_one sees its standard input close, stops the training
with a snapshot if it still can, and Dask gives the run to another worker. There run_one waits for
the run's lock, which the kernel frees with the last process of the dead attempt (over NFS the
server does, when the lease of a dead client is over: about 90 s), and make goes on from the last
snapshot. So no two trainings write into one folder, and none begins anew without need.
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from experiments.grid.pool import Outcome, read_outcome, run_one_line
from experiments.grid.run_status import FAILED, INTERRUPTED, stand
from experiments.single_run.plan import RunPlan
from lib.errors import UserError

if TYPE_CHECKING:
    from distributed import Future

PYTHON = ".venv/bin/python"


class DaskPool:
    """A pool on the workers of a Dask scheduler.

    Workers that declare GPUs (`--resources GPU=1`) get one run a GPU; where none does, a run is
    given to each thread of the workers (`--nthreads`).
    """

    def __init__(
        self, address: str, words: Sequence[str], *, use_gpus: bool = True, patience: float = 10
    ) -> None:
        """Connect to the scheduler at `address` (tcp://host:8786), for at most `patience` seconds.

        `words` are variables for make that all runs get. Raises UserError when Dask is not
        installed or the scheduler does not answer.
        """
        try:
            from distributed import Client, Event
        except ImportError:
            raise UserError(
                "Dask is not installed: `make grid SCHEDULER=...` installs it, or "
                f"`{PYTHON} -m pip install --requirement requirements/grid.lock`"
            ) from None
        try:
            self.client = Client(address, timeout=patience, set_as_default=False)
        except (OSError, TimeoutError, ValueError) as error:
            raise UserError(
                f"SCHEDULER={address}: no Dask scheduler answers there ({error}); "
                "`.venv/bin/dask scheduler` starts one"
            ) from None
        self.waiting: list[RunPlan] = []
        self.words = list(words)
        self.use_gpus = use_gpus
        self.futures: dict[Future, RunPlan] = {}
        self.deaths: dict[str, float] = {}  # run -> how far it was when its workers had died
        self.event = Event(f"stop-grid-{uuid.uuid4().hex}", client=self.client)
        self.stopping = False

    def begin(self, runs: Sequence[RunPlan]) -> None:
        """See Pool."""
        self.waiting += runs

    @property
    def open(self) -> int:
        """See Pool."""
        return len(self.waiting) + len(self.futures)

    @property
    def side_by_side(self) -> int:
        """See Pool."""
        workers = self._workers()
        gpus = sum(int(worker["resources"].get("GPU", 0)) for worker in workers)
        return gpus if gpus and self.use_gpus else sum(worker["nthreads"] for worker in workers)

    def step(self) -> list[Outcome]:
        """See Pool. Nothing is handed out before a worker has come."""
        if self.client.status not in ("running", "connecting"):
            raise UserError(
                "the connection to the Dask scheduler is lost; what ran stops with a snapshot, "
                "and the same make line goes on"
            )
        if self.waiting and not self.stopping and self._workers():
            for run in self.waiting:
                self._submit(run)
            self.waiting.clear()
        ended = []
        for future in [each for each in self.futures if each.done()]:
            outcome = self._outcome(self.futures.pop(future), future)
            if outcome:
                ended.append(outcome)
        if self.stopping:
            ended += self._drop_waiting()
        return ended

    def stop(self) -> None:
        """See Pool."""
        self.stopping = True
        self.waiting.clear()
        self.event.set()

    def kill(self) -> None:
        """See Pool: what runs on the workers can only be left alone; it ends in good order."""
        self.client.cancel(list(self.futures))
        self.futures.clear()

    def close(self) -> None:
        """See Pool."""
        self.client.close()

    def _workers(self) -> list[dict[str, Any]]:
        workers: dict[str, dict[str, Any]] = self.client.scheduler_info(n_workers=-1)["workers"]
        return list(workers.values())

    def _submit(self, run: RunPlan) -> None:
        import cloudpickle

        from experiments.grid import dask_task

        # By value, so that a worker need not have our modules on its path.
        cloudpickle.register_pickle_by_value(dask_task)
        gpus = any(worker["resources"].get("GPU") for worker in self._workers())
        taken = {"GPU": 1} if gpus and self.use_gpus else None
        future = self.client.submit(
            dask_task.run_here,
            str(Path.cwd()),
            run_one_line(PYTHON, run, [*run.words[1:], *self.words]),
            bool(taken),
            self.event.name,
            key=f"{run}-{uuid.uuid4().hex}",
            resources=taken,
            pure=False,
        )
        self.futures[future] = run

    def _outcome(self, run: RunPlan, future: Future) -> Outcome | None:
        """What a future that has ended says; None when its run was handed out again."""
        from distributed import KilledWorker

        if future.status == "finished":
            said = future.result()
            outcome = read_outcome(run, said["out"], said["err"], said["code"])
            return Outcome(run, outcome.state, outcome.reason, outcome.seconds, said["host"])
        if future.status == "cancelled":
            return Outcome(run, INTERRUPTED, "the scheduler has dropped it")
        error = future.exception()
        if isinstance(error, KilledWorker) and not self.stopping:
            # Several workers died with it. A long run may well outlive many of them (a time limit
            # each, say), so it is only given up when it no longer gets any further.
            share = stand(run.folder).share
            if self.deaths.get(str(run)) != share:
                self.deaths[str(run)] = share
                self._submit(run)
                return None
            return Outcome(run, FAILED, "every worker that took it died (out of memory?)")
        return Outcome(run, FAILED, f"on its worker: {type(error).__name__}: {error}")

    def _drop_waiting(self) -> list[Outcome]:
        """While stopping: take back what no worker has begun with."""
        begun = {key for keys in self.client.processing().values() for key in keys}
        back = [future for future in self.futures if future.key not in begun]
        self.client.cancel(back)
        return [Outcome(self.futures.pop(future), INTERRUPTED, "not begun") for future in back]
