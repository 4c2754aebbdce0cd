"""What a set may cost before it is refused: files from outside are not trusted to be what they claim."""

MAX_IMAGE_PIXELS = 64_000_000
"""Of one image file; a 50-megapixel photograph passes."""
MAX_IMAGE_BYTES = 256 * 2**20
"""Of one image file on disk."""
MAX_SET_BYTES = 8 * 2**30
"""Of all images of a set, uint8, in memory."""
MAX_SKIPPED_SHARE = 0.1
"""Unreadable images of a folder are skipped and counted up to this share; more is an error."""
MAX_POOL_SKIPPED_SHARE = 0.5
"""The same of a pool, which may come from anywhere: broken images among good ones do no harm there."""
MAX_ARCHIVE_MEMBERS = 1_000
"""Arrays in an .npz file."""
MAX_NPY_HEADER = 10_000
"""Bytes of text before an array's numbers, its type and shape: as many as numpy reads."""
MAX_DEFLATE_RATIO = 1_100
"""Deflate cannot shrink by more than 1,032: an array that claims more lies."""
IMAGE_FORMATS = ("BMP", "GIF", "JPEG", "PNG", "PPM", "TIFF", "WEBP")
"""Decoders that are used. Not EPS and its kin, which start other programs."""
IMAGE_SUFFIXES = (".bmp", ".gif", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp")
OTHER_IMAGE_SUFFIXES = (
    ".avif", ".dcm", ".dng", ".exr", ".heic", ".heif", ".j2k", ".jp2", ".jpe", ".jfif", ".jxl", ".pbm", ".pnm", ".svg",
    ".tga",
)  # fmt: skip
"""Kinds of image that are not read; a set says how many of them it left out."""
