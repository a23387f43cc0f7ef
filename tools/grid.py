"""Run all runs of a grid that are not done yet, as many side by side as there is room for.

On this machine: one run a GPU, or else as many as CPU cores and memory are there for. On several
machines: on the workers of a Dask scheduler, over a shared folder (--scheduler). A failed run stops
no other; interrupted, the same line goes on where it was.
"""

from __future__ import annotations

from pathlib import Path

from datasets.catalogue import RAW
from experiments.grid.definition import GRIDS, grid_names
from experiments.grid.runner import Options, run_grids
from lib.cli import Parser, positive, run

_EPILOG = """\
several machines:
  All see the project's folder (NFS, Lustre, ...) under the same path. Then
    .venv/bin/dask scheduler                                      on one of them: prints tcp://...
    .venv/bin/dask worker tcp://... --nthreads 1 --resources GPU=1     on each, for each GPU
    .venv/bin/dask worker tcp://... --nthreads 8                  or without GPUs: 8 runs at a time
    make grid GRID=... SCHEDULER=tcp://...
  A run whose worker dies goes on elsewhere from its last snapshot. Locks (flock) must reach over
  the machines: NFS and Lustre do so unless mounted with local locks (local_lock, localflock).

slurm:
  Install dask-jobqueue into .venv and start the workers as jobs from a Python on the login node:
    from dask_jobqueue import SLURMCluster
    cluster = SLURMCluster(cores=1, processes=1, memory="8GB", walltime="24:00:00",
        python=".venv/bin/python", job_extra_directives=["--gres=gpu:1"],
        worker_extra_args=["--resources", "GPU=1", "--lifetime", "23h50m"])
    cluster.scale(jobs=8)
    print(cluster.scheduler_address)      # SCHEDULER=; leave this Python running
  --lifetime ends a worker before Slurm does: its run takes a snapshot, and another job goes on.
"""


def main() -> None:
    """Parse the flags, run the grid, and fail if a run failed."""
    parser = Parser(description=__doc__, epilog=_EPILOG)
    parser.add_argument(
        "--grid",
        nargs="+",
        required=True,
        metavar="FILE",
        help=f"TOML files, or names of those in {GRIDS}: {' '.join(grid_names())}",
    )
    parser.add_argument(
        "--scheduler", metavar="tcp://HOST:PORT", help="run on the workers of this Dask scheduler"
    )
    parser.add_argument(
        "--side-by-side", type=positive, metavar="N", help="runs at a time on this machine"
    )
    parser.add_argument("--threads", type=positive, metavar="N", help="BLAS threads of each run")
    parser.add_argument(
        "--gpu", default="auto", metavar="0,1|none|auto", help="GPUs to use (%(default)s: all)"
    )
    parser.add_argument("--keep", choices=("some", "all"), default="some", help="snapshots to keep")
    parser.add_argument("--raw", type=Path, default=RAW, help="raw material")
    parser.add_argument(
        "--skip-broken", action="store_true", help="leave broken images out of the LMDBs"
    )
    parser.add_argument(
        "--require-verified",
        action="store_true",
        help="refuse weights that come over plain http and have no known checksum",
    )
    arguments = parser.parse_args()
    run_grids(
        arguments.grid,
        Options(
            raw=arguments.raw,
            gpu=arguments.gpu,
            threads=arguments.threads,
            side_by_side=arguments.side_by_side,
            scheduler=arguments.scheduler,
            keep_all=arguments.keep == "all",
            skip_broken=arguments.skip_broken,
            require_verified=arguments.require_verified,
        ),
    )


if __name__ == "__main__":
    run(main)
