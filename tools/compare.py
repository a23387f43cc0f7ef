"""Compare with another Caffe: --log and --run for curves, --weights and --with for layers.

Curves: somebody's log over a run of ours; a table, a picture, and where the two differ.
Layers: two .caffemodels layer by layer; which are the same, and how far apart are the others.
"""

from __future__ import annotations

from pathlib import Path

from experiments.compare.logs import compare_logs, terminal, verdict
from experiments.compare.weights import compare_weights, table
from experiments.compare.weights import verdict as verdict_on_weights
from experiments.paper.places import REPORT
from lib.cli import Parser, run
from lib.errors import UserError


def main() -> None:
    """Command line: see --help."""
    parser = Parser(description=__doc__)
    parser.add_argument("--log", type=Path, help="the other Caffe's log")
    parser.add_argument("--run", help="run of ours: <task>/<run>, an unambiguous part of it, last")
    parser.add_argument("--weights", type=Path, help="a .caffemodel")
    parser.add_argument("--with", type=Path, dest="other", help="another one")
    parser.add_argument("--report", type=Path, default=REPORT, help=f"default {REPORT}/")
    arguments = parser.parse_args()
    curves, layers = (arguments.log, arguments.run), (arguments.weights, arguments.other)
    if all(curves) and not any(layers):
        found = compare_logs(arguments.log, arguments.run, arguments.report)
        print(terminal(found.table), "", *verdict(found.table), *found.notes, sep="\n")
        print("wrote " + ", ".join(map(str, found.files)))
    elif all(layers) and not any(curves):
        differences = compare_weights(*layers)
        print(f"{arguments.weights}\n{arguments.other}\n\n{table(differences)}\n")
        print(verdict_on_weights(differences))
    else:
        raise UserError(
            "compare takes LOG= and RUN= (curves), or WEIGHTS= and WITH= (layers), and not both"
        )


if __name__ == "__main__":
    run(main)
