"""The most that a file of weights may ask for: far above any real classifier, far below what hurts the machine."""

MAX_FILE_BYTES = 16 * 1024**3
"""The size of the file itself."""
MAX_HEADER_BYTES = 8 * 1024**2
"""The size of the JSON header of a safetensors file."""
MAX_METADATA_BYTES = 1024**2
"""The size of our own JSON inside that header."""
MAX_TENSORS = 20_000
"""How many tensors a file may name."""
MAX_ELEMENTS = 4 * 1024**3
"""The elements of all tensors of a file together."""
MAX_DIRECTORY_BYTES = 4 * 1024**2
"""The size of the central directory of a zip archive, which Python reads whole."""
MAX_PICKLE_BYTES = 2 * 1024**2
"""The size of what is not tensor bytes in a .pt file; a real one has about 100 bytes per tensor."""
MAX_PICKLE_OPERATIONS = 500_000
"""How many steps that part may take to read."""
