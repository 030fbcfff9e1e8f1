"""The band along the border of a true mask that some protocols leave out, because masks are uncertain there."""

import cv2
import numpy as np
from numpy.typing import NDArray

from .counts import IGNORE_INDEX


def ignore_border(mask: NDArray[np.uint8], erode: int, dilate: int) -> NDArray[np.uint8]:
    """Mark the pixels between the eroded and the dilated mask as ignored.

    Args:
        mask: (H, W) uint8, 1 = forged, 0 = authentic.
        erode: odd width in pixels of the square window that shrinks the forged region.
        dilate: odd width in pixels of the square window that grows it.

    Returns:
        (H, W) uint8: 1 in the eroded region, 0 outside the dilated one, `IGNORE_INDEX` between them.

    Source: TruFor (CVPR 2023) evaluates with erode 15 and dilate 11.
    """
    target = np.full_like(mask, IGNORE_INDEX)
    target[cv2.dilate(mask, np.ones((dilate, dilate), np.uint8)) == 0] = 0
    target[cv2.erode(mask, np.ones((erode, erode), np.uint8)) == 1] = 1
    return target
