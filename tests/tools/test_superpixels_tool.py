"""tools/superpixels.py as a user calls it."""

import shutil
from pathlib import Path

import pytest
from mmengine.config import Config

from cleverdistiller.datasets import superpixel_cache
from conftest import REPO, small_dataset, small_pipeline
from runs import run_script

TOOL = REPO / 'tools' / 'superpixels.py'


@pytest.fixture
def config(tmp_path, frames_dir) -> Path:
    """A config over a copy of the made-up frames, seven times in an epoch."""
    root = shutil.copytree(frames_dir, tmp_path / 'frames')
    pipeline = small_pipeline()
    cache = dict(cache_dir=f'{root}/superpixels', num_segments=10, sigma=1.0)
    pipeline.insert(2, dict(type='LoadSuperpixels', **cache))
    dataset = small_dataset(root, repeat=7, pipeline=pipeline)
    path = tmp_path / 'config.py'
    Config(dict(default_scope='mmdet3d', train_dataloader=dict(dataset=dataset))).dump(path)
    return path


def kept(config: Path) -> dict[Path, tuple[int, bytes]]:
    return {path: (path.stat().st_mtime_ns, path.read_bytes()) for path in config.parent.rglob('*.png')}


def test_says_what_is_missing_and_computes_that_alone(config, capsys):
    run_script(TOOL, config, '--workers', 2)
    assert '8 of 8 images' in capsys.readouterr().out
    first = kept(config)
    assert len(first) == 8

    gone, damaged, *_ = first
    gone.unlink()
    damaged.write_bytes(damaged.read_bytes()[:300])
    run_script(TOOL, config, '--workers', 1)
    assert '1 of 8 images' in capsys.readouterr().out
    second = kept(config)
    assert second.keys() == first.keys() and second[gone][1] == first[gone][1]
    assert all(second[path] == first[path] for path in first.keys() - {gone, damaged})
    assert len(second[damaged][1]) == 300

    run_script(TOOL, config, '--verify')
    assert '0 of 8 images' in capsys.readouterr().out
    third = kept(config)
    assert third[damaged][1] == first[damaged][1]
    assert all(third[path] == second[path] for path in first.keys() - {damaged})


def test_an_image_that_cannot_be_read_ends_it_with_one_error(config, capsys):
    image = config.parent / 'frames' / 'CAM_BACK_3.jpg'
    image.write_bytes(image.read_bytes()[:500])
    with pytest.raises(SystemExit):
        run_script(TOOL, config, '--workers', 2)
    error = capsys.readouterr().err
    assert 'CAM_BACK_3.jpg, which cannot be decoded' in error and 'Traceback' not in error


@pytest.mark.parametrize(
    'options, said',
    [
        (('--workers', 0), '--workers 0'),
        (('--cfg-options', 'train_dataloader.dataset.pipeline=[]'), 'slidr_'),
    ],
)
def test_bad_arguments_get_one_clear_error(config, capsys, monkeypatch, options, said):
    monkeypatch.setattr(superpixel_cache, 'slic_superpixels', None)  # not reached
    with pytest.raises(SystemExit) as left:
        run_script(TOOL, config, *options)
    error = capsys.readouterr().err
    assert left.value.code == 2 and said in error and 'remedy' in error and 'Traceback' not in error
