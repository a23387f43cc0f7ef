"""For which GPUs: the cards at hand, the user's word, or the architectures of today's servers."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from lib.errors import UserError

# With no card at hand: Turing, Ampere (also 8.6, 8.9) and Hopper; a newer one compiles Hopper's PTX
# when Caffe starts.
_USUAL = (75, 80, 90)


@dataclass(frozen=True)
class Archs:
    """The architectures to compile for, and the one whose PTX serves cards to come."""

    binary: tuple[int, ...]
    ptx: int

    def flags(self) -> list[str]:
        """As Caffe's cmake wants to hear it."""
        return [
            "-DCUDA_ARCH_NAME=Manual",
            f"-DCUDA_ARCH_BIN={' '.join(map(str, self.binary))}",
            f"-DCUDA_ARCH_PTX={self.ptx}",
        ]

    def __str__(self) -> str:
        return f"{', '.join(f'sm_{arch}' for arch in self.binary)}, PTX of compute_{self.ptx}"


def choose_archs(
    asked: str | None, cards: Iterable[int], supported: Iterable[int], nvcc: str
) -> Archs:
    """The architectures to compile for.

    `asked` is the user's CUDA_ARCH, `cards` the capabilities of the cards at hand, `supported` what
    this nvcc can compile for; `nvcc` names it in errors. Raises UserError.
    """
    can = sorted(set(supported))
    if not can:
        raise UserError(f"{nvcc} names no GPU that it can compile for")
    if asked:
        return _named(asked, can, nvcc)
    wanted = sorted(set(cards))
    if not wanted:
        wanted = [arch for arch in _USUAL if arch in can] or [can[-1]]
        return Archs(tuple(wanted), wanted[-1])
    too_old = [arch for arch in wanted if arch < can[0]]
    if too_old:
        raise UserError(
            f"a card of this machine is sm_{too_old[0]}, and {nvcc} compiles for sm_{can[0]} and "
            "newer only: CUDA_HOME=<an older CUDA toolkit> (CUDA 12 goes back to sm_50), or "
            "CUDA_ARCH= to build for other cards"
        )
    # a card newer than this nvcc runs the PTX of the newest that it knows
    binary = sorted({arch if arch in can else max(c for c in can if c <= arch) for arch in wanted})
    return Archs(tuple(binary), binary[-1])


def _named(asked: str, can: list[int], nvcc: str) -> Archs:
    words = re.split(r"[\s,;]+", asked.strip())
    binary = []
    for word in words:
        match = re.fullmatch(r"(?:sm_|compute_)?(\d+)\.?(\d)", word)
        arch = int(match[1] + match[2]) if match else None
        if arch not in can:
            raise UserError(
                f"CUDA_ARCH={asked}: '{word}' is no architecture that {nvcc} can compile for; it "
                f"can: {' '.join(map(str, can))}"
            )
        binary.append(arch)
    binary = sorted(set(binary))
    return Archs(tuple(binary), binary[-1])
