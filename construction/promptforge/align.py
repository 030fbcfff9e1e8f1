"""Pixel-level alignment of an original and its edited image (PromptForge-350k, section 3.1, algorithm 1).

Keypoints, matches, RANSAC, a least-squares affine on the inliers, and the largest crop that both images fill. What the
paper leaves open is a field of `AlignmentConfig`, marked so.
"""

import enum
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import cv2
import numpy as np

# An affine map has six unknowns: three pairs of points.
AFFINE_POINTS = 3
# The search for the largest crop: positions tried for each side, and how often the grid closes in on the best.
CROP_GRID = 17
CROP_REFINEMENTS = 8
# Determinants below this fold the image into a line, or mirror it.
MIN_DETERMINANT = 1e-3
MIN_SIDE = 32  # pixels, of an image and of a crop; ORB's coarsest scale has nothing of smaller ones
# Refinement: side of the window that is followed, and how far a followed point may lie from the map, in pixels.
FLOW_WINDOW = 21
FLOW_TOLERANCE = 1.0


@dataclass(frozen=True)
class AlignmentConfig:
    """Settings of the alignment.

    Args:
        keypoints: ORB keypoints an image (section 3.1.1).
        match_ratio: Lowe's ratio between nearest and second-nearest distance (section 3.1.1).
        min_keypoints: fewer in either image reject the pair (section 4.1).
        min_matches: fewer matches reject the pair (section 4.1).
        min_inlier_ratio: a lower share of matches that agree rejects the pair (section 4.1).
        ransac_threshold: distance in pixels up to which a match agrees with RANSAC's map; not given in the paper.
        ransac_iterations: most tries of RANSAC; not given in the paper.
        ransac_confidence: confidence at which RANSAC stops; not given in the paper.
        refine: whether the map is fitted once more to points that were followed to a tenth of a pixel; False is the
            paper's literal form.
        still_share: when a mere change of size explains at least this share of RANSAC's inliers, and
        still_error: its error is at most this multiple of the affine map's, it is taken instead: most editors do not
            move anything, and few or badly spread matches bend an affine map where they are not. Not in the paper;
            `still_error=0` is its literal form.
    """

    keypoints: int = 1000
    match_ratio: float = 0.75
    min_keypoints: int = 10
    min_matches: int = 10
    min_inlier_ratio: float = 0.6
    ransac_threshold: float = 3.0
    ransac_iterations: int = 2000
    ransac_confidence: float = 0.99
    refine: bool = True
    still_share: float = 0.98
    still_error: float = 1.1

    def __post_init__(self) -> None:
        if min(self.keypoints, self.min_keypoints, self.ransac_iterations) < 1:
            raise ValueError("keypoints, min_keypoints and ransac_iterations must be at least 1")
        if self.min_matches < AFFINE_POINTS:
            raise ValueError(f"min_matches must be at least {AFFINE_POINTS}, got {self.min_matches}")
        if not 0 < self.match_ratio <= 1 or not 0 <= self.min_inlier_ratio <= 1:
            raise ValueError(
                f"match_ratio must lie in (0, 1] and min_inlier_ratio in [0, 1], "
                f"got {self.match_ratio} and {self.min_inlier_ratio}"
            )


class RejectReason(str, enum.Enum):
    """Why a pair has no mask: the first three are the paper's (section 4.1)."""

    KEYPOINTS = "too few keypoints"
    MATCHES = "too few matches"
    INLIERS = "inlier ratio too low"
    NO_MAP = "matches determine no map"
    NO_OVERLAP = "no common area"
    NOT_EDITED = "nothing was edited"
    UNREADABLE = "image cannot be read"
    TASK = "task is not a local edit"


@dataclass(frozen=True)
class Rejection:
    """A pair that was given up, with the numbers that were known by then.

    Args:
        reason: why.
        num_keypoints: keypoints of the original and of the edited image.
        num_matches: matches that passed the ratio test.
        inlier_ratio: share of them that agree with the map, 0..1.
        detail: what was seen, for people.
    """

    reason: RejectReason
    num_keypoints: tuple[int, int] = (0, 0)
    num_matches: int = 0
    inlier_ratio: float = 0.0
    detail: str = ""


@dataclass(frozen=True)
class Alignment:
    """How the original lies in the edited image.

    Args:
        affine: (2, 3) float64, maps pixel coordinates (x, y) of the original to those of the edited image (Eq. 1).
        crop: left, top, right, bottom in pixels of the edited image: the largest window that the original fills.
        num_keypoints: keypoints of the original and of the edited image.
        num_matches: matches that passed the ratio test.
        inliers: (num_matches,) bool, whether a match agrees with RANSAC's map.
        reprojection_error: root mean square distance of the inliers under `affine`, in pixels.
    """

    affine: np.ndarray
    crop: tuple[int, int, int, int]
    num_keypoints: tuple[int, int]
    num_matches: int
    inliers: np.ndarray
    reprojection_error: float

    @property
    def inlier_ratio(self) -> float:
        """Share of the matches that agree with the map, 0..1."""
        return float(self.inliers.mean())


def align(original: np.ndarray, edited: np.ndarray, config: AlignmentConfig | None = None) -> Alignment | Rejection:
    """Find the affine map from the original into the edited image.

    Args:
        original: (H, W, 3) RGB or (H, W) grey, uint8.
        edited: the same, of any other size.
        config: settings; None for the paper's.

    Returns:
        The alignment, or why there is none.
    """
    config = config or AlignmentConfig()
    points, edited_points, counts = match_keypoints(original, edited, config)
    if min(counts) < config.min_keypoints:
        return Rejection(RejectReason.KEYPOINTS, counts)
    if len(points) < config.min_matches:
        return Rejection(RejectReason.MATCHES, counts, len(points))
    coarse, flags = cv2.estimateAffine2D(
        points,
        edited_points,
        method=cv2.RANSAC,
        ransacReprojThreshold=config.ransac_threshold,
        maxIters=config.ransac_iterations,
        confidence=config.ransac_confidence,
        refineIters=0,
    )
    if coarse is None or flags.sum() < AFFINE_POINTS:
        return Rejection(RejectReason.NO_MAP, counts, len(points))
    inliers = flags[:, 0].astype(bool)
    if inliers.mean() < config.min_inlier_ratio:
        return Rejection(RejectReason.INLIERS, counts, len(points), float(inliers.mean()))
    affine, error = least_squares_affine(points[inliers], edited_points[inliers])
    if config.refine:
        affine = refine_affine(affine, original, edited, points[inliers], config)
        error = _error(affine, points[inliers], edited_points[inliers])
    still = change_of_size(original.shape[:2], edited.shape[:2])
    if _is_still(still, points, edited_points, int(inliers.sum()), config):
        affine, error = still, _error(still, points[inliers], edited_points[inliers])
    if np.linalg.det(affine[:, :2]) < MIN_DETERMINANT:
        return Rejection(RejectReason.NO_MAP, counts, len(points), float(inliers.mean()))
    crop = largest_common_crop(affine, original.shape[:2], edited.shape[:2])
    if min(crop[2] - crop[0], crop[3] - crop[1]) < MIN_SIDE:
        return Rejection(RejectReason.NO_OVERLAP, counts, len(points), float(inliers.mean()))
    return Alignment(affine, crop, counts, len(points), inliers, error)


def match_keypoints(
    original: np.ndarray, edited: np.ndarray, config: AlignmentConfig
) -> tuple[np.ndarray, np.ndarray, tuple[int, int]]:
    """ORB keypoints matched by brute force and the ratio test (section 3.1.1).

    Returns:
        (M, 2) float32 points (x, y) of the original, (M, 2) of the edited image, and both numbers of keypoints.
    """

    def detect(image: np.ndarray) -> tuple[Sequence[cv2.KeyPoint], np.ndarray | None]:
        if min(image.shape[:2]) < MIN_SIDE:
            return (), None
        return cv2.ORB.create(nfeatures=config.keypoints).detectAndCompute(_grey(image), None)

    # OpenCV's ORB uses one thread and lets Python go on
    with ThreadPoolExecutor(2) as pool:
        (keypoints, descriptors), (edited_keypoints, edited_descriptors) = pool.map(detect, (original, edited))
    counts = (len(keypoints), len(edited_keypoints))
    nothing = np.zeros((0, 2), np.float32)
    if min(counts) < config.min_keypoints or descriptors is None or edited_descriptors is None:
        return nothing, nothing, counts
    neighbours = cv2.BFMatcher(cv2.NORM_HAMMING).knnMatch(descriptors, edited_descriptors, k=2)
    kept = [
        pair[0] for pair in neighbours if len(pair) > 1 and pair[0].distance <= config.match_ratio * pair[1].distance
    ]
    points = np.array([keypoints[match.queryIdx].pt for match in kept], np.float32).reshape(-1, 2)
    edited_points = np.array([edited_keypoints[match.trainIdx].pt for match in kept], np.float32).reshape(-1, 2)
    return points, edited_points, counts


def least_squares_affine(points: np.ndarray, edited_points: np.ndarray) -> tuple[np.ndarray, float]:
    """The affine map with the smallest squared distances (section 3.1.2).

    Args:
        points: (M, 2) in the original.
        edited_points: (M, 2) in the edited image.

    Returns:
        (2, 3) float64 map, and the root mean square distance in pixels.
    """
    homogeneous = np.column_stack([points, np.ones(len(points))]).astype(np.float64)
    solution, *_ = np.linalg.lstsq(homogeneous, edited_points.astype(np.float64), rcond=None)
    return solution.T, _error(solution.T, points, edited_points)


def refine_affine(
    affine: np.ndarray, original: np.ndarray, edited: np.ndarray, points: np.ndarray, config: AlignmentConfig
) -> np.ndarray:
    """Follow the matched points by less than a pixel and fit the map to where they went.

    ORB finds points on coarse scales, to a pixel or two. The original is warped by the map that is known, so that only
    small motions remain, which Lucas and Kanade's method measures to a tenth of a pixel. Not in the paper.

    Args:
        affine: (2, 3) map to start from.
        original: (H, W, 3) or (H, W) uint8.
        edited: the same, of any size.
        points: (M, 2) points of the original.
        config: settings.

    Returns:
        (2, 3) float64; the map as it was when too few points could be followed.
    """
    height, width = edited.shape[:2]
    warped = cv2.warpAffine(_grey(original), affine, (width, height), borderMode=cv2.BORDER_REPLICATE)
    start = (points @ affine[:, :2].T + affine[:, 2]).astype(np.float32)
    followed, found, _ = cv2.calcOpticalFlowPyrLK(
        warped, _grey(edited), start, None, winSize=(FLOW_WINDOW, FLOW_WINDOW), maxLevel=1
    )
    moved = np.linalg.norm(followed - start, axis=1)
    usable = (found[:, 0] == 1) & (moved <= config.ransac_threshold)
    if usable.sum() < config.min_matches:
        return affine
    _, flags = cv2.estimateAffine2D(
        points[usable], followed[usable], method=cv2.RANSAC, ransacReprojThreshold=FLOW_TOLERANCE, refineIters=0
    )
    if flags is None or flags.sum() < config.min_matches:
        return affine
    agree = flags[:, 0].astype(bool)
    return least_squares_affine(points[usable][agree], followed[usable][agree])[0]


def change_of_size(original_size: tuple[int, int], edited_size: tuple[int, int]) -> np.ndarray:
    """(2, 3) map of an original that was resized and not moved; sizes are (height, width)."""
    scale = np.array([edited_size[1] / original_size[1], edited_size[0] / original_size[0]])
    return np.column_stack([np.diag(scale), 0.5 * scale - 0.5])  # pixel centres lie at whole coordinates


def _is_still(
    still: np.ndarray, points: np.ndarray, edited_points: np.ndarray, inliers: int, config: AlignmentConfig
) -> bool:
    """Whether the map without movement explains the matches about as well as the best affine map."""
    agree = np.linalg.norm(points @ still[:, :2].T + still[:, 2] - edited_points, axis=1) <= config.ransac_threshold
    if agree.sum() < max(config.still_share * inliers, AFFINE_POINTS):
        return False
    _, best = least_squares_affine(points[agree], edited_points[agree])
    return _error(still, points[agree], edited_points[agree]) <= config.still_error * best


def _error(affine: np.ndarray, points: np.ndarray, edited_points: np.ndarray) -> float:
    """Root mean square distance in pixels."""
    distances = points @ affine[:, :2].T + affine[:, 2] - edited_points
    return float(np.sqrt((distances**2).sum(axis=1).mean()))


def warp_and_crop(original: np.ndarray, edited: np.ndarray, alignment: Alignment) -> tuple[np.ndarray, np.ndarray]:
    """Bring the original into the edited image's frame and cut the same window out of both (section 3.1.3).

    Args:
        original: (H, W, 3) uint8.
        edited: (H', W', 3) uint8.
        alignment: of these two.

    Returns:
        Two (h, w, 3) uint8 images of the crop's size.
    """
    left, top, right, bottom = alignment.crop
    shifted = alignment.affine.copy()
    shifted[:, 2] -= (left, top)
    scale = np.sqrt(np.linalg.det(shifted[:, :2]))
    # area interpolation is not offered for warps: shrink first, so that fine texture does not alias
    if scale < 1:
        size = (max(1, round(original.shape[1] * scale)), max(1, round(original.shape[0] * scale)))
        shrink = np.array([original.shape[1] / size[0], original.shape[0] / size[1]])
        original = cv2.resize(original, size, interpolation=cv2.INTER_AREA)
        # pixel centres: x = (x' + 0.5) * shrink - 0.5
        shifted[:, 2] += shifted[:, :2] @ (0.5 * shrink - 0.5)
        shifted[:, :2] *= shrink
    warped = cv2.warpAffine(
        original, shifted, (right - left, bottom - top), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
    )
    return warped, np.ascontiguousarray(edited[top:bottom, left:right])


def largest_common_crop(
    affine: np.ndarray, original_size: tuple[int, int], edited_size: tuple[int, int]
) -> tuple[int, int, int, int]:
    """The largest upright window of the edited image that the warped original fills.

    The warped original is a convex quadrilateral: between two columns, the free rows are bounded by what is free at
    those two columns alone. The area over both columns has one maximum, which a grid closes in on.

    Args:
        affine: (2, 3) from the original to the edited image.
        original_size: height and width.
        edited_size: height and width.

    Returns:
        left, top, right, bottom in whole pixels; (0, 0, 0, 0) when there is no common window.
    """
    height, width = original_size
    corners = np.array([[0, 0], [width - 1, 0], [width - 1, height - 1], [0, height - 1]], np.float64)
    corners = corners @ affine[:, :2].T + affine[:, 2]
    first = max(0.0, corners[:, 0].min())
    last = min(edited_size[1] - 1.0, corners[:, 0].max())
    if first >= last:
        return 0, 0, 0, 0
    best, step = (first, last), last - first
    for _ in range(CROP_REFINEMENTS):
        lefts, rights = (np.linspace(max(first, side - step), min(last, side + step), CROP_GRID) for side in best)
        tops, bottoms = _free_rows(corners, np.concatenate([lefts, rights]), edited_size[0])
        top = np.maximum.outer(tops[:CROP_GRID], tops[CROP_GRID:])
        bottom = np.minimum.outer(bottoms[:CROP_GRID], bottoms[CROP_GRID:])
        # pixels, both ends included; negative sides must not make a positive area
        area = np.clip(rights[None] - lefts[:, None] + 1, 0, None) * np.clip(bottom - top + 1, 0, None)
        row, column = np.unravel_index(area.argmax(), area.shape)
        best, step = (lefts[row], rights[column]), step * 2 / (CROP_GRID - 1)
    tops, bottoms = _free_rows(corners, np.array(best), edited_size[0])
    tolerance = 1e-6  # of a pixel, so that a map of no movement keeps the whole image
    left, top = int(np.ceil(best[0] - tolerance)), int(np.ceil(tops.max() - tolerance))
    right, bottom = int(np.floor(best[1] + tolerance)) + 1, int(np.floor(bottoms.min() + tolerance)) + 1
    return (left, top, right, bottom) if right > left and bottom > top else (0, 0, 0, 0)


def _free_rows(corners: np.ndarray, columns: np.ndarray, height: int) -> tuple[np.ndarray, np.ndarray]:
    """First and last row inside the convex quadrilateral and the image, at each column; first > last: none."""
    tops, bottoms = np.full(len(columns), np.inf), np.full(len(columns), -np.inf)
    for start, end in zip(corners, np.roll(corners, -1, axis=0), strict=True):
        if start[0] == end[0]:
            continue
        share = (columns - start[0]) / (end[0] - start[0])
        rows = start[1] + share * (end[1] - start[1])
        inside = (share >= -1e-9) & (share <= 1 + 1e-9)
        tops = np.where(inside, np.minimum(tops, rows), tops)
        bottoms = np.where(inside, np.maximum(bottoms, rows), bottoms)
    return np.maximum(tops, 0.0), np.minimum(bottoms, height - 1.0)


def _grey(image: np.ndarray) -> np.ndarray:
    return image if image.ndim == 2 else cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)


__all__ = [
    "Alignment",
    "AlignmentConfig",
    "RejectReason",
    "Rejection",
    "align",
    "largest_common_crop",
    "least_squares_affine",
    "match_keypoints",
    "warp_and_crop",
]
