"""What decides about a curated collection of generated images (LEGION, section 3.2 and A.3)."""

import dataclasses
from typing import Any

LARGEST_SEED = 2**32 - 1  # of scikit-learn


@dataclasses.dataclass(frozen=True)
class CurationSettings:
    """Settings of the curation; the paper gives none of these numbers.

    Args:
        samples: images that are drawn from the clusters, all together; fewer where there are not so many.
        clusters: of k-means.
        seed: of k-means and of the draw.
        normalize: features are brought to length 1 first, so that their direction alone counts.
        restarts: how often k-means begins anew; the run with the smallest distances is taken.
        max_side: longest side, in pixels, at which the vision-language model sees an image; larger ones are reduced.
        tries: how often the model is asked before its replies count as unusable.
    """

    samples: int
    clusters: int = 50
    seed: int = 0
    normalize: bool = True
    restarts: int = 3
    max_side: int = 2048
    tries: int = 3

    def __post_init__(self):
        for name in ("samples", "clusters", "restarts", "max_side", "tries"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
        if not 0 <= self.seed <= LARGEST_SEED:
            raise ValueError(f"seed must be 0 to {LARGEST_SEED}, got {self.seed}")

    def to_dict(self) -> dict[str, Any]:
        """All settings, ready for JSON."""
        return dataclasses.asdict(self)


__all__ = ["CurationSettings"]
