"""Any PIL image as the upright RGB picture that a viewer displays."""

import numpy as np
from PIL import Image

EXIF_ORIENTATION = 0x0112
# How a picture of each EXIF orientation is turned upright; 1 is upright.
TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
# Where Pillow looks for the orientation; dropped from a picture that was turned, or it would be turned again.
ORIENTATION_KEYS = ("exif", "Raw profile type exif", "xmp", "XML:com.adobe.xmp")
WHITE = (255, 255, 255, 255)
# 65535 / 255: full range of 16 bits onto the full range of 8 bits.
SIXTEEN_BIT_STEP = 257
SIXTEEN_BIT_MAX = 65535


def has_alpha(image: Image.Image) -> bool:
    """Say whether a PIL image carries transparency: an alpha band or a transparent palette entry."""
    return any(band in ("A", "a") for band in image.getbands()) or image.info.get("transparency") is not None


def orientation_of(image: Image.Image) -> int:
    """Return the EXIF orientation tag, 1 (upright) when it is absent, unknown or in damaged data."""
    try:
        orientation = image.getexif().get(EXIF_ORIENTATION)
    except Exception:  # Pillow raises several types
        image.load()  # raises what is wrong with the pixels, which `getexif` may have met
        return 1
    return orientation if orientation in TURNS else 1


def turned_upright(image: Image.Image) -> Image.Image:
    """Turn the pixels as the EXIF orientation says; the same object when there is nothing to turn.

    Unlike `ImageOps.exif_transpose`, no EXIF is written anew, which fails where it is damaged.
    """
    image.load()
    orientation = orientation_of(image)
    if orientation == 1:  # Pillow turns TIFF files while it decodes them
        return image
    turned = image.transpose(TURNS[orientation])
    turned.info = {key: value for key, value in turned.info.items() if key not in ORIENTATION_KEYS}
    return turned


def _sixteen_to_eight_bits(image: Image.Image) -> Image.Image:
    """Scale a 16-bit grey image to mode L; PIL's own conversion clips at 255 and leaves a white picture."""
    values = np.asarray(image)
    if values.size and (values.min() < 0 or values.max() > SIXTEEN_BIT_MAX):
        raise ValueError(
            f"expected grey values between 0 and {SIXTEEN_BIT_MAX}, got {values.min()} to {values.max()}: "
            "save the image with 8 or 16 bits a channel"
        )
    scaled = (values.astype(np.uint32) + SIXTEEN_BIT_STEP // 2) // SIXTEEN_BIT_STEP
    return Image.fromarray(scaled.astype(np.uint8))


def to_upright_rgb(image: Image.Image) -> Image.Image:
    """Convert any PIL image to mode RGB as a viewer displays it.

    EXIF orientation is applied, 16-bit grey is scaled to 8 bits, transparency is composited on white.

    Args:
        image: any mode that PIL can convert to RGB.

    Returns:
        Image of mode RGB, uint8; the same object when there was nothing to do.

    Raises:
        ValueError: 32-bit grey values outside 0..65535, or floating-point pixels.
    """
    if orientation_of(image) != 1:
        image = turned_upright(image)
    if image.mode == "RGB" and not has_alpha(image):
        return image
    if image.mode == "F":
        raise ValueError("expected integer pixels, got floating-point ones (mode F): save the image with 8 or 16 bits")
    if image.mode == "I" or image.mode.startswith("I;16"):
        return _sixteen_to_eight_bits(image).convert("RGB")
    if has_alpha(image):
        rgba = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", rgba.size, WHITE), rgba).convert("RGB")
    return image.convert("RGB")
