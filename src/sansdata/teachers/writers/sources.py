"""From what a user writes to a writer: the specs that name one, and what reading and asking it touches."""

from __future__ import annotations

from pathlib import Path

from .base import Writer
from .endpoint import Endpoint, is_endpoint, model_of
from .files import is_writer_file, load_writer_file
from .journalled import Journalled, journal_of
from .local_model import is_causal_folder, is_gguf, of_folder, of_gguf


def is_writer(spec: str) -> bool:
    """Whether a spec names a teacher that writes."""
    path = Path(spec)
    return is_endpoint(spec) or is_writer_file(path) or is_gguf(path) or is_causal_folder(path)


def load_writer(spec: str) -> Writer:
    """Raises TeacherError, UnsafeFileError or MissingLibraryError for what cannot be read."""
    if is_endpoint(spec):
        return Endpoint(model_of(spec))
    path = Path(spec)
    if not _is_local(path):
        return load_writer_file(path)
    return Journalled(of_gguf(path) if is_gguf(path) else of_folder(path), journal_of(path))


def _is_local(path: Path) -> bool:
    """Whether a path is a large model on this machine, whose answers are worth keeping."""
    return is_gguf(path) or is_causal_folder(path)


def journals(spec: str) -> list[Path]:
    """Where the answers of a service, or of a large model on this machine, are kept."""
    if is_endpoint(spec):
        return [model_of(spec).journal]
    return [journal_of(Path(spec))] if _is_local(Path(spec)) else []


def services(spec: str) -> dict[tuple[str, int], str]:
    """(host, port) -> address of a service that the spec names."""
    if not is_endpoint(spec):
        return {}
    address = model_of(spec).address
    return {(address.host, address.port): address.url}
