from types import SimpleNamespace

import pytest
import torch

from cleverdistiller.engine.hooks import SafeCheckpointHook
from cleverdistiller.errors import InputError


def runner_in(work_dir, resume=True, load_from=None):
    return SimpleNamespace(work_dir=str(work_dir), _resume=resume, _load_from=load_from)


class NeedsUnpickling:
    pass


def test_resume_skips_a_file_cut_short_and_finds_the_newest_whole_one(tmp_path):
    for epoch in (9, 10):
        torch.save(dict(epoch=torch.tensor(epoch)), tmp_path / f'epoch_{epoch}.pth')
    (tmp_path / '.epoch_11.pth.77.tmp').write_bytes(b'half')
    (tmp_path / 'last_checkpoint').write_text('')  # killed while rewriting it
    SafeCheckpointHook().before_run(runner_in(tmp_path))
    assert (tmp_path / 'last_checkpoint').read_text() == str(tmp_path / 'epoch_10.pth')


def test_a_first_run_has_nothing_to_check(tmp_path):
    SafeCheckpointHook().before_run(runner_in(tmp_path))
    assert not (tmp_path / 'last_checkpoint').exists()


def test_a_checkpoint_with_foreign_objects_is_refused(tmp_path):
    torch.save(dict(state_dict=NeedsUnpickling()), tmp_path / 'theirs.pth')
    with pytest.raises(InputError, match='remedy'):
        SafeCheckpointHook().before_run(runner_in(tmp_path, load_from=str(tmp_path / 'theirs.pth')))


def test_a_missing_checkpoint_is_named(tmp_path):
    with pytest.raises(InputError, match=r'nowhere\.pth'):
        SafeCheckpointHook().before_run(runner_in(tmp_path, load_from='nowhere.pth'))


def test_one_kept_checkpoint_is_refused():
    with pytest.raises(InputError, match='at least 2'):
        SafeCheckpointHook(max_keep_ckpts=1)
