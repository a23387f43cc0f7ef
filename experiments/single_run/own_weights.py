"""Are a run's weights still those that its training gave?"""

from __future__ import annotations

from experiments.single_run.folder import RunFolder
from experiments.single_run.run_json import RunRecord
from lib.errors import UserError
from lib.files import sha256


def require_own_weights(folder: RunFolder, record: RunRecord, found: str | None = None) -> str:
    """The SHA-256 of final.caffemodel, which must be the recorded one; `found`: it, if known.

    Records from before it was written down say nothing, and nothing is compared. Raises UserError
    for other weights.
    """
    found = found or sha256(folder.final)
    if record.final is not None and found != record.final:
        raise UserError(
            f"{folder.final} is not what its training gave (another SHA-256 than in "
            f"{folder.record.name}): put that file back, or train again with FORCE=1"
        )
    return found
