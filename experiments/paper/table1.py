"""Table 1 of the paper beside what the catalogues give today: classes and images of each task.

Counted from the catalogues alone, images or not. What is not in place is shown as missing.
"""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from datasets.catalogue import RAW, missing, read_catalogue
from datasets.select import Selection, select
from datasets.table import Catalogue
from datasets.tasks import Task
from experiments.paper.places import REPORT
from lib import text_tables
from lib.errors import UserError
from lib.files import write_text

TITLE = "Table 1: classes and images of each task, printed and counted today"
PRINTED = Path(__file__).with_name("table1.csv")
WIKIART_THEN = 133_220  # artworks on WikiArt when the paper's authors collected (section 3)


def table1(tasks: dict[str, Task], raw: Path = RAW) -> pd.DataFrame:
    """A row for each row of the paper's table.

    Columns: task; printed classes, classes, printed images, images (pd.NA when they cannot be
    counted); counted from; remark.
    """
    rows = []
    catalogues: dict[Path, Catalogue] = {}
    for printed in pd.read_csv(PRINTED).itertuples():
        task = tasks[f"{str(printed.source).lower()}_{printed.task}"]
        row = {
            "task": task.name,
            "printed classes": printed.classes,
            "classes": pd.NA,
            "printed images": printed.images,
            "images": pd.NA,
            "counted from": "missing",
        }
        remarks = []
        if task.name == "wikiart_style":
            remarks.append("the paper says 15 classes in Table 1, 27 in its text and in Table 4")
        place = task.folder(raw)
        if missing(task, raw, images=False):
            remarks.append(f"no catalogue in {place}/")
        else:
            try:
                if place not in catalogues:
                    catalogues[place] = read_catalogue(task, raw)
                chosen = select(catalogues[place], task)
                row["classes"], row["images"] = len(chosen.classes), len(chosen.table)
                row["counted from"] = catalogues[place].edition
                remarks += _why(task, catalogues[place], chosen)
            except UserError as error:
                row["counted from"] = "unusable"
                remarks.append(str(error))
        rows.append({**row, "remark": "; ".join(remarks)})
    counts = {"classes": "Int64", "images": "Int64"}
    return pd.DataFrame(rows).astype(counts)


def write(table: pd.DataFrame, report: Path = REPORT) -> list[Path]:
    """Write the table as Markdown, LaTeX and CSV; the three files."""
    files = [report / f"table1.{kind}" for kind in ("md", "tex", "csv")]
    columns, rows = _shown(table)
    right = "".join("r" if name.endswith(("classes", "images")) else "l" for name in columns)
    texts = (
        f"### {TITLE}\n\n{text_tables.markdown(columns, rows, right)}\n",
        text_tables.latex(columns, rows, TITLE, "tab:table1"),
        table.to_csv(index=False),
    )
    for path, text in zip(files, texts, strict=True):
        write_text(path, text)
    return files


def terminal(table: pd.DataFrame, width: int | None = None) -> str:
    """The table for a terminal."""
    return f"{TITLE}\n\n{text_tables.aligned(*_shown(table), width)}\n"


def _shown(table: pd.DataFrame) -> tuple[list[str], list[list[str]]]:
    """Columns and rows as they are shown."""
    shown = table.copy()
    for column in ("printed images", "images"):
        shown[column] = [f"{n:,}" if pd.notna(n) else "missing" for n in table[column]]
    shown["classes"] = [str(n) if pd.notna(n) else "missing" for n in table["classes"]]
    return [str(name) for name in shown], [list(map(str, row)) for row in shown.to_numpy()]


def _why(task: Task, catalogue: Catalogue, chosen: Selection) -> list[str]:
    """Why the counts differ from the printed ones, where it is known."""
    if (len(chosen.classes), len(chosen.table)) == (task.paper_classes, task.paper_images):
        return []
    if task.source == "wga":
        return ["the paper counted an earlier catalogue"]
    if task.source != "wikiart":
        return []
    works = catalogue.table["image"].nunique()
    why = [f"{works:,} works here, {WIKIART_THEN:,} on WikiArt for the paper"]
    if task.label == "genre" and catalogue.edition.startswith("ArtGAN"):
        why.append(
            "the release labels ten genres, with illustration and sketch and study, "
            "which the paper leaves out"
        )
    if chosen.below:
        below = sorted(chosen.below, key=lambda name: (-chosen.below[name], name))
        shown = ", ".join(f"{name} {chosen.below[name]:,}" for name in below[:6])
        more = f" and {len(below) - 6:,} more" if len(below) > 6 else ""
        why.append(f"not {task.rule} images: {shown}{more}")
    if task.label == "nationality":
        why += [note.text for note in catalogue.notes if note.label == "nationality"]
    return why
