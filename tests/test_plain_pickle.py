"""What a pickle of another's may ask for: values, containers, numpy's numbers; nothing that could run code."""

import ast
import builtins
import pickle
from collections import Counter, OrderedDict, defaultdict
from pathlib import Path

import numpy as np
import pytest

from cleverdistiller.datasets.info_file import read_infos
from cleverdistiller.datasets.split_data_base_sampler import _read_database
from cleverdistiller.errors import InputError
from cleverdistiller.plain_pickle import PlainUnpickler, read_plain_pickle
from cleverdistiller.visualization.readers import info
from conftest import REPO

TEXT = b'\x8c'  # SHORT_BINUNICODE


def text(word: str) -> bytes:
    return TEXT + bytes([len(word)]) + word.encode()


def call(module: str, name: str, *arguments: str) -> bytes:
    """A pickle that calls ``module.name`` with texts; of protocol 4, where dots in ``name`` lead to attributes."""
    told = b'(' + b''.join(map(text, arguments)) + b't'
    return b'\x80\x04' + text(module) + text(name) + b'\x93' + told + b'R.'


@pytest.fixture
def trap(tmp_path) -> Path:
    """A file that is there once a payload ran."""
    return tmp_path / 'ran'


def payloads(trap: Path) -> dict[str, bytes]:
    code = f'open({str(trap)!r}, "w").close()'
    touch = f'touch {trap}'
    return {
        'posix.system': call('posix', 'system', touch),
        'os.system': call('os', 'system', touch),
        'subprocess.getoutput': call('subprocess', 'getoutput', touch),
        'builtins.eval': call('builtins', 'eval', code),
        'builtins.exec': call('builtins', 'exec', code),
        '__builtin__.eval': b'c__builtin__\neval\n(' + b'V' + code.encode() + b'\ntR.',
        'builtins.getattr': b'\x80\x04cbuiltins\ngetattr\n(cnumpy\nndarray\n' + text('__class__') + b'tR.',
        'builtins.__import__': call('builtins', '__import__', 'antigravity'),
        'builtins.dict.fromkeys': call('builtins', 'dict.fromkeys', 'ab'),
        'numpy.core.multiarray._reconstruct.__class__': call('numpy.core.multiarray', '_reconstruct.__class__', 'a'),
        'numpy.core.multiarray.overrides.os.system': call('numpy.core.multiarray', 'overrides.os.system', touch),
        'numpy.testing._private.utils.runstring': b'\x80\x04'
        + text('numpy.testing._private.utils')
        + text('runstring')
        + b'\x93('
        + text(code)
        + b'}tR.',
        'numpy.load': call('numpy', 'load', str(trap)),
        'numpy.f2py.crackfortran.myeval': call('numpy.f2py.crackfortran', 'myeval', code),
        'numpy.distutils.exec_command.exec_command': call('numpy.distutils.exec_command', 'exec_command', touch),
        'functools.partial': call('functools', 'partial', 'a'),
        'collections.Counter': pickle.dumps(Counter('ab')),
        # No code, but as bad: bytes that numpy takes for pointers to objects or unpacks to gigabytes.
        "numpy arrays of 'O'": call('numpy', 'dtype', 'O'),
        "numpy arrays of 'i4,O'": call('numpy', 'dtype', 'i4,O'),
        "numpy arrays of 'O8'": pickle.dumps(np.array(['a', None])),
        "numpy arrays of 'V12'": pickle.dumps(np.zeros(1, 'i4,f8')),
        "_codecs.encode to 'hex'": call('_codecs', 'encode', 'a', 'hex'),
    }


@pytest.mark.parametrize('asked', payloads(Path('nowhere')))
def test_no_payload_runs_and_what_it_asked_for_is_named(tmp_path, trap, asked):
    path = tmp_path / 'infos.pkl'
    path.write_bytes(payloads(trap)[asked])
    with pytest.raises(InputError) as error:
        read_plain_pickle(path, 'an info file', 'make it again')
    assert f'{path}, which asks for {asked}\n' in str(error.value) and 'make it again' in str(error.value)
    assert not trap.exists()


def test_the_payloads_would_run_elsewhere(trap):
    for asked in (
        'posix.system',
        'builtins.eval',
        '__builtin__.eval',
        'numpy.core.multiarray.overrides.os.system',
        'numpy.testing._private.utils.runstring',
    ):
        pickle.loads(payloads(trap)[asked])
        trap.unlink()
    assert pickle.loads(payloads(trap)['builtins.getattr']) is type


@pytest.mark.parametrize('read', ['infos', 'database', 'view'])
def test_each_reader_of_a_users_pickle_refuses_a_payload(tmp_path, trap, read):
    path = tmp_path / 'made_elsewhere.pkl'
    path.write_bytes(payloads(trap)['posix.system'])
    readers = dict(
        infos=lambda: read_infos(str(path), 'a tool'),
        database=lambda: _read_database(str(path)),
        view=lambda: info.read(tmp_path, 0),
    )
    with pytest.raises(InputError, match=r'(?s)made_elsewhere\.pkl, which asks for posix\.system.*remedy:'):
        readers[read]()
    assert not trap.exists()


VALUES = dict(
    containers=[(1, 2.5, None, True), {3, 'a'}, frozenset('ab'), {'a': [b'', b'\xff\x00', bytearray(b'12')]}],
    builtins=[True, bytearray(), b'', 1j, {}, 1.0, frozenset(), 1, [], set(), '', ()],
    ordered=OrderedDict(a=1j),
    factories=[defaultdict(list), defaultdict(int), defaultdict(str)],
    scalars=[np.float32(0.1), np.int64(-3), np.bool_(True), np.str_('Car'), np.float16(2)],
    arrays=[
        np.arange(6.0).reshape(2, 3),
        np.asfortranarray(np.arange(6, dtype='>i2').reshape(2, 3)),
        np.array(['Car', 'Van']),
        np.array([b'a', b'bc']),
        np.zeros((0, 7), np.float32),
        np.array([True, False]),
        np.array(3, np.uint64),
        np.array([1 + 2j]),
        np.array(['2024-01-02'], 'M8[ns]'),
    ],
)


@pytest.mark.parametrize('protocol', range(pickle.HIGHEST_PROTOCOL + 1))
def test_plain_values_come_back_as_they_were_from_every_protocol(tmp_path, protocol):
    path = tmp_path / 'values.pkl'
    path.write_bytes(pickle.dumps(VALUES, protocol))
    found = read_plain_pickle(path, '', '')
    np.testing.assert_equal(found, VALUES)
    assert [type(value) for value in found['scalars']] == [type(value) for value in VALUES['scalars']]
    assert [factory['new'] for factory in found['factories']] == [[], 0, '']
    for here, there in zip(found['arrays'], pickle.loads(path.read_bytes())['arrays']):
        assert here.dtype == there.dtype and here.strides == there.strides and here.flags == there.flags


@pytest.mark.parametrize('protocol', [2, 4, 5])
def test_what_the_other_numpy_wrote_is_read(tmp_path, protocol):
    values = [np.arange(3.0), np.float32(7)]
    ours, other = ('numpy.core', 'numpy._core') if np.__version__ < '2' else ('numpy._core', 'numpy.core')
    content = pickle.dumps(values, protocol)
    for module in ('multiarray', 'numeric'):
        old, new = (f'{core}.{module}' for core in (ours, other))
        content = content.replace(text(old), text(new)).replace(f'c{old}\n'.encode(), f'c{new}\n'.encode())
    if protocol >= 4:  # frames tell their length, and no reader needs them
        assert content[2:3] == b'\x95'
        content = content[:2] + content[11:]
    assert other.encode() in content and ours.encode() + b'.' not in content
    (tmp_path / 'other.pkl').write_bytes(content)
    np.testing.assert_equal(read_plain_pickle(tmp_path / 'other.pkl', '', ''), values)


@pytest.mark.parametrize('content', [b'', b'\x80\x04', b'PK\x03\x04', b'\x80\x04]\x94(', b'\x80\x04\x95\0\0'])
def test_a_damaged_pickle_is_named_with_its_remedy(tmp_path, content):
    path = tmp_path / 'damaged.pkl'
    path.write_bytes(content)
    with pytest.raises(InputError, match=r'(?s)damaged\.pkl, which cannot be read.*an info file.*make it again'):
        read_plain_pickle(path, 'an info file', 'make it again')


def test_more_names_are_allowed_for_one_reader_alone(tmp_path):
    path = tmp_path / 'counted.pkl'
    path.write_bytes(pickle.dumps([Counter('aab'), np.array(['a', None])]))
    allowed = {('collections', 'Counter'): Counter, ('numpy', 'dtype'): np.dtype}
    counted, objects = read_plain_pickle(path, '', '', allowed)
    assert counted == Counter('aab') and objects.tolist() == ['a', None]
    with pytest.raises(InputError, match=r'collections\.Counter'):
        read_plain_pickle(path, '', '')


def test_none_of_the_allowed_is_a_way_to_others(tmp_path):
    """Each name that builtins has, asked for in both ways: types of values pass, what runs code does not."""
    passed = set()
    for name in dir(builtins):
        path = tmp_path / 'name.pkl'
        path.write_bytes(b'\x80\x04' + text('builtins') + text(name) + b'\x93.')
        try:
            passed.add(read_plain_pickle(path, '', ''))
        except InputError as error:
            assert f'builtins.{name}' in str(error)
    assert len(passed) == 12 and passed <= {type(value) for value in VALUES['builtins']}


LOADERS = ('pickle.load', 'pickle.loads', 'pickle.Unpickler', 'mmengine.load', 'torch.load', 'np.load', 'joblib.load')


def test_no_other_code_of_ours_unpickles():
    """The rest of the house reads pickles through :class:`PlainUnpickler` alone."""
    assert issubclass(PlainUnpickler, pickle.Unpickler)
    safe = dict(weights_only='True', allow_pickle='False')
    found = []
    for path in [*(REPO / 'projects').rglob('*.py'), *(REPO / 'tools').rglob('*.py')]:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom) and node.module in ('pickle', 'mmengine', 'mmengine.fileio', 'torch'):
                assert not {alias.name for alias in node.names} & {'load', 'loads', 'Unpickler'}, path
            if isinstance(node, ast.Call) and ast.unparse(node.func) in LOADERS:
                options = {key.arg: ast.unparse(key.value) for key in node.keywords}
                if not any(options.get(name) == value for name, value in safe.items()):
                    found.append(f'{path.name}: {ast.unparse(node)}')
            if isinstance(node, ast.Call) and ast.unparse(node.func).endswith(('read_pickle', 'yaml.load')):
                found.append(f'{path.name}: {ast.unparse(node)}')
    assert found == []
