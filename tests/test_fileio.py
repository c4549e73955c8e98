import os
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from cleverdistiller.errors import InputError
from cleverdistiller.fileio import check_state_dict, read_checkpoint, read_state_dict, replace_when_complete

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


@pytest.mark.parametrize('content', [b'<html>404</html>', b'hello world'])
def test_a_file_that_is_no_checkpoint_is_named_with_a_remedy(tmp_path, content):
    (tmp_path / 'w.pth').write_bytes(content)
    with pytest.raises(InputError, match=r'(?s)w\.pth.*remedy'):
        read_checkpoint(tmp_path / 'w.pth')


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
