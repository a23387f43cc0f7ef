"""Make experiments/report/: all there is so far, as pages that open from disk, and as Markdown."""

from __future__ import annotations

from pathlib import Path

from experiments.paper.places import REPORT
from experiments.paper.report import build
from experiments.paper.valid_runs import read_runs
from lib.cli import Parser, run


def main() -> None:
    """Command line: see --help."""
    parser = Parser(description=__doc__)
    parser.add_argument("--report", type=Path, default=REPORT, help=f"default {REPORT}/")
    report: Path = parser.parse_args().report
    records = read_runs()
    build(records, report)
    for each in records.invalid:
        print(each)
    print(f"wrote {report / 'index.html'} and {report / 'report.md'}")


if __name__ == "__main__":
    run(main)
