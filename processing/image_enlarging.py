"""The size that small photographs are enlarged to.

Paper: GAMMA, section 5.1: test images below the size of the crop are resized first. How is not given in the paper;
here the aspect ratio is kept. ICL-Net does not enlarge.
"""

# Strips longer than this many times the wanted edge are enlarged less, so that one row of pixels does not become a
# picture of gigabytes.
LONGEST_IN_EDGES = 16


def enlarged_size(height: int, width: int, smallest_edge: int | None) -> tuple[int, int]:
    """Return the size of an image whose shorter edge has been brought to `smallest_edge`.

    Args:
        height: pixels.
        width: pixels.
        smallest_edge: wanted shorter edge, pixels; None: images keep their size.

    Returns:
        Height and width: unchanged where the shorter edge is long enough. The longer edge grows to at most
        `LONGEST_IN_EDGES` times `smallest_edge`, so the shorter one of a thin strip stays below it.

    Example:
        >>> enlarged_size(300, 400, 512), enlarged_size(600, 800, 512)
        ((512, 683), (600, 800))
    """
    shorter, longer = sorted((height, width))
    if smallest_edge is None or shorter >= smallest_edge:
        return height, width
    scale = max(min(smallest_edge / shorter, LONGEST_IN_EDGES * smallest_edge / longer), 1)
    return round(height * scale), round(width * scale)
