"""What the command-line tools share."""

import re
import runpy
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from mmengine.config import DictAction

from cleverdistiller.compat import tune_cpu_memory
from cleverdistiller.errors import DiskFullError, InputError
from cleverdistiller.fileio import FULL


@contextmanager
def clear_errors() -> Iterator[None]:
    """Print an InputError as its own text, without the traceback, and leave with status 2.

    So, too, the full disk that other libraries meet: with their logs, say.
    """
    try:
        try:
            yield
        except OSError as error:
            if isinstance(error, InputError) or error.errno not in FULL:
                raise
            raise DiskFullError(
                f'{error.filename or "a file"}, for which there is no room ({error.strerror})',
                'room on the disk of the work dir and of temporary files',
                'free some space (or quota), then give the same command again; a training goes on with --resume',
            ) from error
    except InputError as error:
        # Out of a DataLoader worker it comes with the worker's traceback before it.
        print('\nerror: ' + str(error).rpartition('InputError: ')[2].strip(), file=sys.stderr)
        sys.exit(2)


class ConfigOptions(DictAction):
    """mmengine's ``--cfg-options``, but for :func:`refuse_changed_paths`."""

    def __call__(self, parser, namespace, values, option_string=None) -> None:
        try:
            refuse_changed_paths(values)
        except InputError as error:
            parser.error(str(error))
        super().__call__(parser, namespace, values, option_string)


def refuse_changed_paths(words: Sequence[str]) -> None:
    """Refuse a path with blanks as the value of KEY=VALUE: mmengine would take the blanks out without a word.

    Args:
        words (Sequence[str]): Of a command.

    Raises:
        InputError: With the first such word.
    """
    for word in words:
        key, _, value = word.partition('=')
        if re.fullmatch(r'[\w.]+', key) and '/' in value and ' ' in value and not re.search(r'[,(\[]', value):
            raise InputError(
                f'--cfg-options {word!r}, of whose path mmengine would take the blanks out',
                'a path without blanks',
                f'set {key} in a config file, or give the folder another name or a link without blanks',
            )


def run_packaged_tool(name: str) -> None:
    """Run one of the scripts that mmdet3d brings in its package, with this process's arguments."""
    import mmdet3d

    tune_cpu_memory()
    script = Path(mmdet3d.__file__).parent / '.mim' / 'tools' / name
    with clear_errors():
        refuse_changed_paths(sys.argv[1:])
        if not script.is_file():
            raise InputError(f'no {script}', "mmdet3d's packaged tools", 'pip install mmdet3d==1.4.0 from a wheel')
        runpy.run_path(str(script), run_name='__main__')


def last_error(log: Path) -> str:
    """The last line of a log that speaks of an error."""
    lines = [line.strip() for line in log.read_text(errors='replace').splitlines() if line.strip()]
    return next((line for line in reversed(lines) if 'rror: ' in line), lines[-1] if lines else 'it printed nothing')
