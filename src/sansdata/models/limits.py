"""What a file of weights may ask for. Far above any real classifier, far below what hurts the machine."""

MAX_FILE_BYTES = 16 * 1024**3
MAX_HEADER_BYTES = 8 * 1024**2
"""The JSON header of a safetensors file."""
MAX_METADATA_BYTES = 1024**2
"""Our own JSON inside that header."""
MAX_TENSORS = 20_000
MAX_ELEMENTS = 4 * 1024**3
"""All tensors of a file together."""
MAX_DIRECTORY_BYTES = 4 * 1024**2
"""The central directory of a zip archive, which Python reads whole."""
MAX_PICKLE_BYTES = 2 * 1024**2
"""The part of a .pt file that is not tensor bytes; about 100 bytes per tensor."""
MAX_PICKLE_OPERATIONS = 500_000
