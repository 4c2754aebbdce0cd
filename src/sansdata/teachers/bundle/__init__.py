"""A model with all that its receiver must know, as a folder or a .zip file of one, which can be checked and signed.

`layout` says what lies in it, `archive` unpacks it, `manifest` and `signature` say whether it is what its maker wrote,
`schema` and `golden` whether it is what it says; `verify` asks them all in order, and `teacher` makes a teacher of it.
"""

from .layout import is_bundle
from .teacher import bundle_files, load_bundle, load_signed, task_of_bundle

__all__ = ["bundle_files", "is_bundle", "load_bundle", "load_signed", "task_of_bundle"]
