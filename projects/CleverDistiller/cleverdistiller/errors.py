"""The one exception for what a user can cause and mend."""


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
