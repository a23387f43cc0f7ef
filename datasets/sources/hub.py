"""Gets a dataset of parquet files from Hugging Face, or from whatever HF_ENDPOINT names.

The library huggingface_hub does it: it resumes, shows bars, and takes from the user's cache what
lies there. The files go below the collection's folder, as they lie in the dataset.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from lib.errors import UserError
from lib.files import readable, require_space

_BESIDE = ("README.md", "dataset_infos.json")  # they may hold the names of the classes
_CONVERTED = "refs/convert/parquet"  # where Hugging Face itself puts the parquet of other datasets


def get_dataset(name: str, folder: Path) -> int:
    """Get the parquet files of the dataset `name` ('owner/name') into `folder`; their number.

    Disk space for them and for the images inside is asked for first. UserError when there is no
    such dataset, it has no parquet files, or the server can't be reached.
    """
    hub = _library()
    try:
        info, files = _files(hub, name)
        waiting = {file: size for file, size in files.items() if not _is_whole(folder / file, size)}
        images = sum(size for file, size in files.items() if file.endswith(".parquet"))
        require_space(
            folder,
            sum(waiting.values()) + images,
            f"the dataset {name} ({readable(sum(files.values()))}) and the images in it",
        )
        hub.snapshot_download(
            name,
            repo_type="dataset",
            revision=info.sha,
            local_dir=folder,
            allow_patterns=list(files),
        )
    except UserError:
        raise
    except Exception as error:  # the library's own, its network library's, the system's
        raise _explained(error, name) from None
    for file, size in files.items():
        if not _is_whole(folder / file, size):
            raise UserError(f"{folder / file} did not come whole; the same command goes on with it")
    return sum(file.endswith(".parquet") for file in files)


def _files(hub: Any, name: str) -> tuple[Any, dict[str, int]]:
    """The dataset's revision, and the size in bytes of each of its files that are wanted."""
    info: Any = None
    for revision in (None, _CONVERTED):
        try:
            info = hub.HfApi().dataset_info(name, revision=revision, files_metadata=True)
        except hub.errors.RevisionNotFoundError:
            continue
        sizes = {each.rfilename: int(each.size or 0) for each in info.siblings or []}
        if any(file.endswith(".parquet") for file in sizes):
            break
    else:
        raise UserError(
            f"the dataset {name} has no parquet files; only datasets of that form can be got"
        )
    wanted = {
        file: size for file, size in sizes.items() if file.endswith(".parquet") or file in _BESIDE
    }
    for file in wanted:
        if Path(file).is_absolute() or ".." in Path(file).parts:
            raise UserError(f"the dataset {name} names a file outside of itself: {file}")
    return info, wanted


def _is_whole(path: Path, size: int) -> bool:
    return path.is_file() and (not size or path.stat().st_size == size)


def _explained(error: Exception, name: str) -> UserError:
    kind = type(error).__name__
    words = " ".join(str(error).split())[:200]
    said = {
        "GatedRepoError": f"the dataset {name} asks for a permission: log in with `hf auth login`",
        "RepositoryNotFoundError": f"there is no dataset {name}, or it is not public",
        "HFValidationError": f"'{name}' is no dataset's name; it must be as owner/name",
        "OfflineModeIsEnabled": "HF_HUB_OFFLINE is set, so nothing can be got",
        "LocalEntryNotFoundError": f"the server of {name} can't be reached",
        "ConnectError": "the server of Hugging Face (or HF_ENDPOINT) can't be reached",
    }
    return UserError(f"{said.get(kind, f'the dataset {name} could not be got')} ({kind}: {words})")


def _library() -> Any:
    try:
        import huggingface_hub  # in an extra: only `make images FROM=` needs it
        import huggingface_hub.errors
    except ImportError:
        raise UserError(
            "datasets need the package huggingface_hub; install it with: make .venv/.with-parquet"
        ) from None
    return huggingface_hub
