"""The words of the ArtGAN WikiArt release: 27 styles and ten genres, in the order of their codes.

Other collections made from it (on Kaggle and Hugging Face) use the same order.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable

STYLES = (
    "Abstract Expressionism",
    "Action painting",
    "Analytical Cubism",
    "Art Nouveau",
    "Baroque",
    "Color Field Painting",
    "Contemporary Realism",
    "Cubism",
    "Early Renaissance",
    "Expressionism",
    "Fauvism",
    "High Renaissance",
    "Impressionism",
    "Mannerism Late Renaissance",
    "Minimalism",
    "Naive Art Primitivism",
    "New Realism",
    "Northern Renaissance",
    "Pointillism",
    "Pop Art",
    "Post Impressionism",
    "Realism",
    "Rococo",
    "Romanticism",
    "Symbolism",
    "Synthetic Cubism",
    "Ukiyo e",
)
GENRES = (
    "abstract painting",
    "cityscape",
    "genre painting",
    "illustration",
    "landscape",
    "nude painting",
    "portrait",
    "religious painting",
    "sketch and study",
    "still life",
)
# Styles of WikiArt itself that the release has not, or spells in another way.
_MORE_STYLES = (
    "Abstract Art",
    "Academicism",
    "Art Deco",
    "Art Informel",
    "Art Nouveau (Modern)",
    "Concretism",
    "Cubo-Futurism",
    "Futurism",
    "Hard Edge Painting",
    "International Gothic",
    "Lyrical Abstraction",
    "Luminism",
    "Magic Realism",
    "Neo-Expressionism",
    "Neoclassicism",
    "Op Art",
    "Orientalism",
    "Proto Renaissance",
    "Social Realism",
    "Surrealism",
    "Tachisme",
    "Tonalism",
)
_UNKNOWN = re.compile(
    r"(unknown|unidentified|anonymous|none|nan|null|n/?a|-)?( (artist|genre|style))?"
)


def plain(name: str) -> str:
    """A class name without case, accents and marks: 'Naïve Art (Primitivism)' and the release's."""
    letters = unicodedata.normalize("NFKD", name.casefold())
    letters = "".join(letter for letter in letters if not unicodedata.combining(letter))
    return " ".join(re.findall(r"[a-z0-9]+", letters))


_KNOWN_STYLES = {plain(name) for name in (*STYLES, *_MORE_STYLES)}


def are_styles(names: Iterable[str]) -> bool:
    """Whether at least half of the different names are styles of WikiArt."""
    different = {plain(name) for name in names} - {""}
    return bool(different) and 2 * len(different & _KNOWN_STYLES) >= len(different)


def is_unknown(name: str) -> bool:
    """Whether a label says that nothing is known: '', 'Unknown Artist', 'nan'."""
    return bool(_UNKNOWN.fullmatch(name.strip().casefold().replace("_", " ")))
