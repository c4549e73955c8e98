import errno
import math
import os
import pickle
import shutil
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from cleverdistiller.errors import DiskFullError, InputError
from cleverdistiller.fileio import (
    check_finite,
    check_state_dict,
    read_checkpoint,
    read_metadata,
    read_state_dict,
    read_student,
    remove_leftovers,
    replace_when_complete,
)

TENSORS = {'a': torch.arange(6.0).reshape(2, 3), 'b': torch.ones(1)}


class Trap:
    """Unpickling it writes a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return os.system, (f'touch {self.path}',)


def test_a_failing_writer_leaves_the_old_file_and_no_rubbish(tmp_path):
    path = tmp_path / 'file'
    path.write_text('old')
    with pytest.raises(RuntimeError), replace_when_complete(path) as temporary:
        temporary.write_text('half')
        raise RuntimeError
    assert path.read_text() == 'old' and list(tmp_path.iterdir()) == [path]
    with replace_when_complete(path) as temporary:
        temporary.write_text('new')
        assert path.read_text() == 'old'
    assert path.read_text() == 'new' and list(tmp_path.iterdir()) == [path]


def write_bytes(path: Path) -> None:
    path.write_bytes(bytes(1000))


def write_array(path: Path) -> None:
    with open(path, 'wb') as file:
        np.savez_compressed(file, found=np.zeros(1000))


def write_safetensors(path: Path) -> None:
    """A stand-in for its words: it renames a file of its own into place, which cannot be a full device."""
    raise RuntimeError(f'Error while serializing: IoError(Os {{ code: 28, message: "{os.strerror(errno.ENOSPC)}" }})')


def write_chained(path: Path) -> None:
    try:
        path.write_bytes(bytes(1000))
    except OSError as error:
        raise RuntimeError('file write failed') from error


@pytest.mark.skipif(not Path('/dev/full').exists(), reason='no device that is always full')
@pytest.mark.parametrize('earlier', [False, True])
@pytest.mark.parametrize('write', [write_bytes, write_array, write_safetensors, write_chained])
def test_a_full_disk_is_one_error_and_the_earlier_file_stays(tmp_path, write, earlier):
    path = tmp_path / 'epoch_2.pth'
    if earlier:
        path.write_bytes(bytes(2_500_000))
    (tmp_path / f'.{path.name}.{os.getpid()}.tmp').symlink_to('/dev/full')
    with pytest.raises(DiskFullError) as refused, replace_when_complete(path) as temporary:
        write(temporary)
    text = str(refused.value)
    assert f'{path}, for which there is no room' in text and 'MB are free' in text and 'remedy: free some' in text
    assert ('the earlier one of 2.5 MB' in text) == earlier
    assert list(tmp_path.iterdir()) == [path] * earlier and (not earlier or path.stat().st_size == 2_500_000)


def test_a_full_disk_that_a_writer_hides_is_found_by_its_room(tmp_path, monkeypatch):
    monkeypatch.setattr(shutil, 'disk_usage', lambda folder: SimpleNamespace(free=4096))
    with pytest.raises(DiskFullError, match=r'after 1\.0 MB of it'), replace_when_complete(tmp_path / 'f') as temporary:
        temporary.write_bytes(bytes(1_000_000))
        raise OSError('250000 requested and 1000 written')  # numpy's words


def test_other_errors_of_a_writer_stay_what_they_are(tmp_path):
    for error in (OSError(errno.EIO, 'broken'), RuntimeError('too small'), InputError('got', 'more', 'mend')):
        with pytest.raises(type(error)) as raised, replace_when_complete(tmp_path / 'f'):
            raise error
        assert raised.value is error


def test_a_full_disk_is_told_between_processes_and_to_those_who_expect_an_oserror():
    error = DiskFullError('a', 'b', 'c', errno.EDQUOT)
    assert isinstance(error, OSError) and error.strerror == os.strerror(errno.EDQUOT)
    assert str(pickle.loads(pickle.dumps(error))) == str(error) == 'got: a\n  expected: b\n  remedy: c'


def test_content_is_on_the_disk_before_the_name_and_the_name_before_anything_else(tmp_path, monkeypatch):
    done = []

    def noted(call):
        def calls(*args):
            of = os.readlink(f'/proc/self/fd/{args[0]}') if isinstance(args[0], int) else args[0]
            done.append((call.__name__, 'file' if str(of).endswith('.tmp') else 'folder', (tmp_path / 'a').exists()))
            return call(*args)

        return calls

    monkeypatch.setattr(os, 'fsync', noted(os.fsync))
    monkeypatch.setattr(os, 'replace', noted(os.replace))
    with replace_when_complete(tmp_path / 'a') as temporary:
        temporary.write_text('new')
    assert done == [('fsync', 'file', False), ('replace', 'file', False), ('fsync', 'folder', True)]


@pytest.mark.parametrize('number, known', [(errno.EINVAL, True), (errno.EBADF, True), (errno.EIO, False)])
def test_a_file_system_that_cannot_keep_names_apart_is_no_fault_but_a_broken_disk_is(
    tmp_path, monkeypatch, number, known
):
    stock = os.fsync

    def fsync(descriptor):
        if os.path.isdir(f'/proc/self/fd/{descriptor}'):
            raise OSError(number, 'of a folder')
        stock(descriptor)

    monkeypatch.setattr(os, 'fsync', fsync)
    with nullcontext() if known else pytest.raises(OSError), replace_when_complete(tmp_path / 'a') as temporary:
        temporary.write_text('new')
    assert (tmp_path / 'a').read_text() == 'new'


def test_leftovers_of_some_files_or_of_all_are_removed_and_nothing_else(tmp_path):
    names = ['a.pth', '.a.pth.7.tmp', '.b.pth.7.tmp', 'below/.a.pth.7.tmp', 'c.tmp', '.hidden']
    (tmp_path / 'below').mkdir()
    for name in names:
        (tmp_path / name).touch()

    def left() -> set[str]:
        return {str(path.relative_to(tmp_path)) for path in tmp_path.rglob('*') if path.is_file()}

    remove_leftovers(tmp_path, 'a.pth')
    assert set(names) - left() == {'.a.pth.7.tmp'}
    remove_leftovers(tmp_path)
    assert set(names) - left() == {'.a.pth.7.tmp', '.b.pth.7.tmp'}
    remove_leftovers(tmp_path, recursive=True)
    assert left() == {'a.pth', 'c.tmp', '.hidden'}
    remove_leftovers(tmp_path / 'nowhere')


@pytest.mark.parametrize('envelope', [None, 'state_dict', 'model', 'teacher'])
def test_tensors_come_out_of_the_usual_envelopes(tmp_path, envelope):
    torch.save({envelope: TENSORS, 'epoch': 3} if envelope else TENSORS, tmp_path / 'w.pth')
    found = read_state_dict(tmp_path / 'w.pth')
    assert found.keys() == TENSORS.keys() and all(torch.equal(found[k], TENSORS[k]) for k in TENSORS)


def test_safetensors_are_read(tmp_path):
    save_file(TENSORS, tmp_path / 'w.safetensors')
    assert torch.equal(read_checkpoint(tmp_path / 'w.safetensors')['a'], TENSORS['a'])


@pytest.mark.parametrize('name', ['w.pth', 'w.safetensors'])
@pytest.mark.parametrize('kept', [0, 7, 0.5, 0.99])
def test_a_truncated_file_is_named_with_a_remedy(tmp_path, name, kept):
    path = tmp_path / name
    save_file(TENSORS, path) if name.endswith('safetensors') else torch.save(TENSORS, path)
    whole = path.read_bytes()
    path.write_bytes(whole[: kept if isinstance(kept, int) else int(len(whole) * kept)])
    with pytest.raises(InputError, match='remedy') as error:
        read_checkpoint(path)
    assert name in str(error.value)


def test_a_file_that_would_run_code_is_refused_unopened(tmp_path):
    torch.save(dict(state_dict=TENSORS, extra=Trap(tmp_path / 'sprung')), tmp_path / 'theirs.pth')
    with pytest.raises(InputError, match='safetensors'):
        read_checkpoint(tmp_path / 'theirs.pth')
    assert not (tmp_path / 'sprung').exists()
    torch.load(tmp_path / 'theirs.pth', weights_only=False)  # the trap does spring where code may run
    assert (tmp_path / 'sprung').exists()


def test_a_file_of_the_old_torch_format_cut_anywhere_is_named_with_a_remedy(tmp_path):
    path = tmp_path / 'w.pth'
    torch.save(TENSORS, path, _use_new_zipfile_serialization=False)
    whole = path.read_bytes()
    for kept in range(len(whole)):
        path.write_bytes(whole[:kept])
        with pytest.raises(InputError, match=r'(?s)w\.pth.*remedy'):
            read_checkpoint(path)


@pytest.mark.parametrize('name', ['w.pth', 'w.safetensors'])
@pytest.mark.parametrize(
    ('content', 'what'),
    [
        (b'', 'empty'),
        (b'<html>404</html>', 'a web page'),
        (b'\n<!DOCTYPE html>\n<html lang="en"><body>Caf\xc3\xa9', 'a web page'),
        (b'<?xml version="1.0"?><Error><Code>AccessDenied</Code></Error>', 'a web page'),
        (b'version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 3\n', 'a pointer of Git LFS'),
        (b'hello world', "a text that begins with 'hello world'"),
        (b'{"error": "not found"}', 'a text that begins'),
        (b'\x1f\x8b\x08\x00\x00\x00\x00\x00', 'a compressed archive'),
        (b'\x89HDF\r\n\x1a\n' + bytes(500), 'cannot be read'),
        (b'PK\x03\x04' + bytes(500), 'cannot be read'),
    ],
)
def test_a_file_of_another_kind_is_said_to_be_that(tmp_path, name, content, what):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match=f'(?s){name}, which .*remedy') as refused:
        read_checkpoint(tmp_path / name)
    assert what in str(refused.value) and 'author' not in str(refused.value)


@pytest.mark.parametrize('name', ['w.pth', 'w.safetensors', 'w.bin', 'W.SAFETENSORS'])
def test_content_says_how_a_file_is_read_whatever_it_is_called(tmp_path, name):
    for save, metadata in (
        (lambda path: save_file(TENSORS, path, metadata=dict(seed='7')), dict(seed='7')),
        (lambda path: torch.save(dict(meta=dict(seed='7'), state_dict=TENSORS), path), dict(seed='7')),
        (lambda path: torch.save(TENSORS, path, _use_new_zipfile_serialization=False), {}),
    ):
        save(tmp_path / name)
        found = read_state_dict(tmp_path / name)
        assert found.keys() == TENSORS.keys() and all(torch.equal(found[k], TENSORS[k]) for k in TENSORS)
        assert read_metadata(tmp_path / name) == metadata


def test_what_is_no_path_is_refused():
    with pytest.raises(InputError, match='5 for a file of weights'):
        read_checkpoint(5)


@pytest.mark.parametrize('wrapped', ['module.{}', '_orig_mod.{}', 'module._orig_mod.{}', '_orig_mod.module.{}'])
def test_the_prefixes_of_wrappers_are_taken_off(tmp_path, wrapped):
    for owner in ('', 'student.'):
        torch.save({wrapped.format(owner + name): value for name, value in TENSORS.items()}, tmp_path / 'w.pth')
        assert read_student(tmp_path / 'w.pth').keys() == TENSORS.keys()
    torch.save({f'student.{wrapped.format(name)}': value for name, value in TENSORS.items()}, tmp_path / 'w.pth')
    assert read_student(tmp_path / 'w.pth').keys() == TENSORS.keys()


def test_a_module_of_that_name_beside_others_is_no_wrapper(tmp_path):
    torch.save({'module.a': torch.ones(1), 'b': torch.ones(1)}, tmp_path / 'w.pth')
    assert set(read_state_dict(tmp_path / 'w.pth')) == {'module.a', 'b'}


@pytest.mark.parametrize('content', [[1, 2], {}, {'epoch': 3}])
def test_a_file_without_tensors_is_refused(tmp_path, content):
    torch.save(content, tmp_path / 'w.pth')
    with pytest.raises(InputError, match=r'w\.pth'):
        read_state_dict(tmp_path / 'w.pth')


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(InputError, match='not a file'):
        read_checkpoint(tmp_path / 'nothing.pth')


def test_a_misfit_lists_what_is_wrong():
    check_state_dict(TENSORS, TENSORS, 'f', 'the net', 'r')
    with pytest.raises(InputError) as error:
        check_state_dict({'a': torch.ones(3), 'c': torch.ones(1)}, TENSORS, 'f.pth', 'the net', 'the remedy')
    for text in ('1 missing (b)', '1 unexpected (c)', 'a (3,) instead of (2, 3)', 'f.pth', 'the remedy'):
        assert text in str(error.value)


MANY = {f'layer{number}.conv.weight': torch.ones(1) for number in range(100)}


def misfit(found: dict, wanted: dict) -> str:
    with pytest.raises(InputError) as refused:
        check_state_dict(found, wanted, 'f.pth', 'the net', 'the remedy')
    assert len(str(refused.value).splitlines()) <= 5 and len(str(refused.value)) < 1000
    return str(refused.value)


@pytest.mark.parametrize('prefix', ['backbone.', 'model.encoder.', 'layer0.'])
@pytest.mark.parametrize('others', [0, 40])
def test_a_prefix_is_named_in_the_place_of_all_tensors(prefix, others):
    prefixed = {prefix + name: value for name, value in MANY.items()}
    prefixed |= {f'head.{number}': torch.ones(1) for number in range(others)}
    text = misfit(prefixed, MANY)
    assert f'with the prefix {prefix!r}' in text and 'layer7' not in text and 'the remedy' in text
    text = misfit(MANY, prefixed)  # an exported student where a whole model is expected
    assert f'without the prefix {prefix!r}' in text and 'layer7' not in text and 'the remedy' in text


def test_a_long_misfit_shows_some_names_of_each_kind_and_counts_the_rest():
    other = {f'other{number}': torch.ones(1) for number in range(1000)}
    text = misfit(other, MANY)
    assert '100 missing (layer0.conv.weight, layer1' in text and 'and 95 more' in text and 'prefix' not in text
    assert '1000 unexpected (other0, other1' in text and 'and 995 more' in text
    text = misfit({name: torch.ones(2) for name in MANY}, MANY)
    assert 'layer0.conv.weight (2,) instead of (1,)' in text and 'and 95 more' in text


@pytest.mark.parametrize('number', [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_weights_that_are_not_finite_are_refused_by_the_first_name(number, dtype):
    tensors = {'steps': torch.tensor(3), 'first': torch.zeros(4), 'second': torch.zeros(2, 3).to(dtype), 'meta': 'text'}
    check_finite(tensors, 'f.pth')
    tensors['second'][1, 2] = number
    tensors['third'] = torch.full((5,), number)
    with pytest.raises(InputError, match=r'f\.pth with 1 of 6 numbers of second NaN or infinite'):
        check_finite(tensors, 'f.pth')


def test_a_misfit_that_is_not_finite_either_is_refused_as_a_misfit_and_a_fit_as_not_finite():
    bad = {'a': TENSORS['a'] * math.nan, 'b': TENSORS['b']}
    assert '1 unexpected (c)' in misfit({**bad, 'c': torch.ones(1)}, TENSORS)
    assert '6 of 6 numbers of a NaN' in misfit(bad, TENSORS)
