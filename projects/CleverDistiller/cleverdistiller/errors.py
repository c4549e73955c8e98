"""The exceptions for what a user can cause and mend."""

import errno
import os
from collections.abc import Sequence

LISTED = 5


class InputError(ValueError):
    """Bad input: says what came, what was expected and the remedy.

    Args:
        got (str): What was found, naming the file or option.
        expected (str): What should have been there.
        remedy (str): What the user can do about it.
    """

    def __init__(self, got: str, expected: str = '', remedy: str = '') -> None:
        parts = [f'got: {got}']
        if expected:
            parts.append(f'expected: {expected}')
        if remedy:
            parts.append(f'remedy: {remedy}')
        # A DataLoader worker re-raises with the whole text as the only argument.
        super().__init__(got if not expected and not remedy else '\n  '.join(parts))


class DiskFullError(InputError, OSError):
    """An :class:`InputError` for a disk or quota that is full; an OSError, too, for whoever knows a better remedy.

    Args:
        got (str): See :class:`InputError`.
        expected (str): See :class:`InputError`.
        remedy (str): See :class:`InputError`.
        code (int): ``errno.ENOSPC`` or ``errno.EDQUOT``.
    """

    def __init__(self, got: str, expected: str = '', remedy: str = '', code: int = errno.ENOSPC) -> None:
        super().__init__(got, expected, remedy)
        self.errno, self.strerror = code, os.strerror(code)

    def __str__(self) -> str:
        return self.args[0]  # as of a ValueError: an OSError with an errno writes its text anew


def listed(names: Sequence[str], most: int = LISTED) -> str:
    """Write some names for a message that must stay readable: the first few, and how many are left out."""
    rest = len(names) - most
    return ', '.join(names[:most]) + (f' and {rest} more' if rest > 0 else '')
