"""Which settings of a training differ between two configs, by what mmengine writes of them."""

import ast
from collections.abc import Iterator, Mapping
from pathlib import PurePath

# What a training follows from. The rest is evaluation, logging, and names that only other settings refer to.
PARTS = (
    'model',
    'train_dataloader',
    'train_cfg',
    'optim_wrapper',
    'param_scheduler',
    'auto_scale_lr',
    'randomness',
    'custom_hooks',
    'sync_bn',
    'student_sha256',
)
# Where things lie and how fast they come, wherever in a config.
SILENT = frozenset(
    {
        'cache',
        'cache_dir',
        'data_prefix',
        'data_root',
        'max_refetch',
        'num_workers',
        'persistent_workers',
        'pin_memory',
        'prefetch_factor',
        'dynamic_intervals',
        'val_begin',
        'val_interval',
    }
)
ABSENT = 'absent'


def read_settings(text: str) -> dict:
    """Read the text of a config (``Config.pretty_text``, ``checkpoint['meta']['cfg']``) without running it.

    Args:
        text (str): Assignments of plain values; what is none stays text.

    Returns:
        dict: Name to value.

    Raises:
        SyntaxError: If it is no such text.
    """
    return {
        ast.unparse(statement.targets[0]): _value(statement.value)
        for statement in ast.parse(text).body
        if isinstance(statement, ast.Assign)
    }


def changed_settings(was: Mapping, now: Mapping) -> dict[str, tuple]:
    """What of a training differs between two configs; neither paths nor the speed of loading count.

    Args:
        was (Mapping): One config, of :func:`read_settings`.
        now (Mapping): The other.

    Returns:
        dict[str, tuple]: Dotted name to both values, as in ``--cfg-options``; ``'absent'`` where there is none. Where
        a part is of another type, its further arguments only as far as both have them; where the steps of a pipeline
        are others, their types alone.
    """
    return {
        name: values
        for part in PARTS
        for name, values in _differences(part, was.get(part, ABSENT), now.get(part, ABSENT))
    }


def _differences(name: str, was: object, now: object) -> Iterator[tuple[str, tuple]]:
    if name.rpartition('.')[2] in SILENT or _same(was, now):
        return
    if isinstance(was, dict) and isinstance(now, dict):
        keys = was.keys() | now.keys()
        if was.get('type') != now.get('type'):  # which other arguments it takes follows from that
            yield f'{name}.type', (was.get('type', ABSENT), now.get('type', ABSENT))
            keys = (was.keys() & now.keys()) - {'type'}
        for key in sorted(keys):
            yield from _differences(f'{name}.{key}', was.get(key, ABSENT), now.get(key, ABSENT))
    elif isinstance(was, list) and isinstance(now, list) and _types(was) == _types(now) and any(_types(was)):
        for row, values in enumerate(zip(was, now)):
            yield from _differences(f'{name}.{row}', *values)
    else:
        yield name, (_in_short(was), _in_short(now))


def _same(was: object, now: object) -> bool:
    """Whether two values are equal, or paths to a file of one name."""
    if isinstance(was, str) and isinstance(now, str) and ('/' in was or '/' in now):
        return PurePath(was).name == PurePath(now).name
    return was == now


def _types(steps: list) -> list:
    return [step.get('type') if isinstance(step, dict) else None for step in steps]


def _in_short(value: object) -> object:
    """A part as its type, a pipeline as those of its steps."""
    if isinstance(value, list) and any(_types(value)):
        return [kind or step for kind, step in zip(_types(value), value)]
    return value.get('type', value) if isinstance(value, dict) else value


def _value(node: ast.expr) -> object:
    """The plain value of an expression; tuples as lists, since mmengine makes one of the other."""
    match node:
        case ast.Call(func=ast.Name(id='dict'), args=args, keywords=keywords):
            merged = {key: value for arg in args for key, value in _value(arg).items()}
            return merged | {keyword.arg: _value(keyword.value) for keyword in keywords}
        case ast.Dict(keys=keys, values=values):
            return {str(_value(key)): _value(value) for key, value in zip(keys, values)}
        case ast.List(elts=elements) | ast.Tuple(elts=elements):
            return [_value(element) for element in elements]
    try:
        return ast.literal_eval(node)
    except ValueError:
        return ast.unparse(node)
