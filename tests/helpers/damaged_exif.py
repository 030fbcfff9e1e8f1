"""EXIF data that Pillow stumbles over, for `image.save(file, exif=...)`."""

import struct

# Orientation 6, and a text whose type says fraction: Pillow reads the first and fails to write the second anew.
TURNED_AND_DAMAGED = (
    b"Exif\0\0II*\0\x08\0\0\0"
    + struct.pack("<H", 2)
    + struct.pack("<HHII", 0x0112, 3, 1, 6)
    + struct.pack("<HHII", 0x010E, 5, 1, 8)
    + bytes(400)
)
# Without the header of TIFF, in which EXIF data are written.
NO_EXIF = b"Exif\0\0no header and no tags"
# What is cut off behind the first tag, the orientation.
CUT_OFF = TURNED_AND_DAMAGED[: 6 + 8 + 2 + 12]
