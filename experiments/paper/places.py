"""Where the programs of experiments write what they make."""

from __future__ import annotations

from pathlib import Path

REPORT = Path("experiments/report")  # tables, figures, the report's pages
