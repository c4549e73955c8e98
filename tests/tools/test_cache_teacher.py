"""tools/cache_teacher.py and --teacher-cache as a user calls them."""

import json
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from mmdet3d.registry import DATASETS, MODELS
from mmengine.config import Config
from mmengine.dataset import pseudo_collate

from cleverdistiller.engine.cached_config import with_teacher_cache
from cleverdistiller.teacher_cache import CacheRecord, Shard, TeacherCache
from conftest import REPO, small_model
from runs import run_script, train, write_config

TOOL = REPO / 'tools' / 'cache_teacher.py'
SHARDS = ('--shard-size', '3', '--batch-size', '2', '--workers', '0')
pytestmark = pytest.mark.needs_sparse_conv

# Dies, as by kill -9, when half of a shard is written.
DIES = """
import os, pathlib, runpy, signal, sys
write = pathlib.Path.write_bytes
def dies(path, content):
    if 'shard_00001' not in path.name:
        return write(path, content)
    write(path, content[:len(content) // 2])
    os.kill(os.getpid(), signal.SIGKILL)
pathlib.Path.write_bytes = dies
sys.path.insert(0, sys.argv.pop(1))
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name='__main__')
"""


@pytest.fixture(scope='module')
def place(tmp_path_factory, frames_dir) -> SimpleNamespace:
    """A config of ten epochs of two iterations, and its cache; do not change them."""
    folder = tmp_path_factory.mktemp('cached')
    config = write_config(folder, frames_dir, 10, **{'model.teacher.half_features': True})
    cache = folder / 'cache'
    run_script(TOOL, config, '--out', cache, *SHARDS)
    return SimpleNamespace(config=config, cache=cache, frames=frames_dir)


def content_of(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def scalars(work_dir: Path) -> list[dict]:
    lines = next(work_dir.glob('*/vis_data/scalars.json')).read_text().splitlines()
    return [row for row in map(json.loads, lines) if 'loss' in row]


def refused(capsys, *arguments) -> str:
    with pytest.raises(SystemExit) as left:
        run_script(*arguments)
    error = capsys.readouterr().err
    assert left.value.code == 2 and 'remedy' in error and 'Traceback' not in error
    return error.rpartition('error: ')[2]


def test_the_losses_of_twenty_iterations_are_those_from_images(tmp_path, place, capfd):
    train(place.config, tmp_path / 'images')
    train(place.config, tmp_path / 'cached', '--teacher-cache', str(place.cache))
    assert 'in the place of images' in capfd.readouterr().out
    images, cached = scalars(tmp_path / 'images'), scalars(tmp_path / 'cached')
    assert len(images) == len(cached) == 20
    terms = ('loss', 'loss_distill', 'loss_occupancy', 'loss_intensity')
    largest = max(abs(ours[term] - theirs[term]) for ours, theirs in zip(images, cached) for term in terms)
    assert largest < 1e-5
    assert images[0]['loss'] != images[-1]['loss']
    text = (tmp_path / 'cached' / place.config.name).read_text()
    assert 'CachedTeacher' in text and 'LoadTeacherFeatures' in text


def test_rows_are_the_rounded_features_of_the_training_s_teacher(place):
    cfg = Config.fromfile(place.config)
    torch.manual_seed(0)  # as the training's seed
    model = MODELS.build(cfg.model)
    cached = with_teacher_cache(cfg, str(place.cache))
    dataset, other = (DATASETS.build(each.train_dataloader.dataset) for each in (cfg, cached))
    for row in range(4):
        inputs = model.data_preprocessor(pseudo_collate([dataset[row]]), False)['inputs']
        expected, found = model.teacher_features(inputs).patches, other[row]['inputs']['teacher_features'].patches
        assert expected.dtype == found.dtype == torch.float16
        # Another number of images at once may move the last bit of a float32, and then, rarely, that of a float16.
        assert (found.float() - expected.float()).abs().max() <= 2**-10 * expected.float().abs().max()
        assert (found != expected).float().mean() < 0.01


def test_says_sizes_first_and_writes_nothing_twice(tmp_path, place, capsys):
    run_script(TOOL, place.config, '--out', tmp_path / 'cache', *SHARDS)
    said = capsys.readouterr().out
    assert '8 of 8 images to write' in said and 'GiB are free' in said and 'relative error patches' in said
    assert f'--teacher-cache {tmp_path / "cache"}' in said
    first = content_of(tmp_path / 'cache')
    assert {name: each for name, each in first.items() if 'shard' in name} == {
        name: each for name, each in content_of(place.cache).items() if 'shard' in name
    }
    shard = tmp_path / 'cache' / Shard.name(0)
    before = shard.stat().st_mtime_ns
    run_script(TOOL, place.config, '--out', tmp_path / 'cache', *SHARDS)
    assert '0 of 8 images to write' in capsys.readouterr().out and shard.stat().st_mtime_ns == before


def test_killed_in_the_middle_of_a_shard_and_started_again_it_ends_with_the_same_bytes(tmp_path, place):
    out = tmp_path / 'cache'
    command = [sys.executable, '-c', DIES, str(REPO / 'tools'), TOOL, place.config, '--out', out, *SHARDS]
    died = subprocess.run(list(map(str, command)), capture_output=True, text=True)
    assert died.returncode == -signal.SIGKILL, died.stderr[-2000:]
    left = content_of(out)
    assert sorted(left)[1:] == ['cache.json', Shard.name(0)] and next(iter(sorted(left))).endswith('.tmp')
    run_script(TOOL, place.config, '--out', out, *SHARDS)
    assert content_of(out) == content_of(place.cache)


def test_two_ranks_write_what_one_writes(tmp_path, place, monkeypatch):
    monkeypatch.setenv('WORLD_SIZE', '2')
    for rank in '01':
        monkeypatch.setenv('RANK', rank)
        run_script(TOOL, place.config, '--out', tmp_path / 'cache', *SHARDS)
        written = [path.name for path in (tmp_path / 'cache').glob('shard*')]
        assert len(written) == (2 if rank == '0' else 3)
    assert content_of(tmp_path / 'cache') == content_of(place.cache)


def test_verify_mends_a_damaged_shard_and_an_outdated_one(tmp_path, place, capfd):
    frames = shutil.copytree(place.frames, tmp_path / 'frames')
    cache = shutil.copytree(place.cache, tmp_path / 'cache')
    moved = ('--cfg-options', f'train_dataloader.dataset.data_root={frames}')
    damaged = cache / Shard.name(2)
    whole = damaged.read_bytes()
    damaged.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    shutil.copy(frames / 'CAM_BACK_3.jpg', frames / 'CAM_FRONT_0.jpg')
    run_script(TOOL, place.config, '--out', cache, *SHARDS, *moved)
    assert '0 of 8 images' in capfd.readouterr().out
    run_script(TOOL, place.config, '--out', cache, *SHARDS, '--verify', *moved)
    said = capfd.readouterr().out
    assert 'CAM_FRONT_0.jpg, which has changed' in said and f'{Shard.name(2)} is written again' in said
    assert damaged.read_bytes() == whole
    TeacherCache(cache, str(frames)).load([str(frames / 'CAM_FRONT_0.jpg')])


def test_what_the_config_asks_for_is_cached_in_the_form_that_is_asked_for(tmp_path, place, capsys):
    head = dict(projection_head=dict(type='MLPHead', hidden_channels=8), distillation_loss=dict(type='L2FeatureLoss'))
    auxiliaries = [dict(type='BlockMatching', **head), dict(type='ClassTokenMatching', **head)]
    del auxiliaries[1]['distillation_loss']
    config = write_config(tmp_path, place.frames, 1, **{'model.auxiliaries': auxiliaries})
    run_script(TOOL, config, '--out', tmp_path / 'int8', '--form', 'int8', *SHARDS)
    record = CacheRecord.read(tmp_path / 'int8')
    assert record.features == ['patches', 'block_-2', 'class_token'] == list(record.relative_error)
    assert 'relative error patches' in capsys.readouterr().out and 0 < record.relative_error['patches'] < 0.02
    train(config, tmp_path / 'work', '--teacher-cache', str(tmp_path / 'int8'))
    [first, *_] = scalars(tmp_path / 'work')
    assert first['loss_distill'] > 0 and first['loss_block'] > 0 and first['loss_class_token'] > 0


@pytest.mark.parametrize(
    'options, said',
    [
        (('--batch-size', '0'), '--batch-size 0'),
        (('--form', 'pca', '--components', '999'), '--components 999'),
        (('--cfg-options', 'train_dataloader.dataset.pipeline.1.hflip_prob=0.5'), 'hflip_prob'),
        (('--cfg-options', 'train_dataloader.dataset.pipeline.1.size_hw=(32, 64)'), '(32, 64)'),
        (('--cfg-options', 'train_dataloader.dataset.pipeline=[]'), 'configs/pretrain'),
    ],
)
def test_bad_arguments_get_one_clear_error(tmp_path, place, capsys, options, said):
    assert said in refused(capsys, TOOL, place.config, '--out', tmp_path / 'cache', *options)
    assert not list(tmp_path.glob('cache/*'))


def test_too_small_a_disk_and_another_teacher_get_one_clear_error(tmp_path, place, capsys, monkeypatch):
    with monkeypatch.context() as patched:
        patched.setattr('shutil.disk_usage', lambda folder: SimpleNamespace(free=1000))
        error = refused(capsys, TOOL, place.config, '--out', tmp_path / 'cache', *SHARDS)
        assert 'GiB free' in error and not list(tmp_path.glob('cache/shard*'))
    train_tool = REPO / 'tools' / 'train.py'
    cached = ('--work-dir', tmp_path, '--teacher-cache', place.cache)
    changes = ('--cfg-options', 'model.teacher.features=post_norm', 'randomness.seed=7')
    error = refused(capsys, train_tool, place.config, *cached, *changes)
    assert "features='pre_norm'" in error and "features='post_norm'" in error and 'weights_sha256' in error
    assert 'CONFIG before' in refused(capsys, train_tool, *cached, place.config)
    assert 'cache.json' in refused(capsys, train_tool, place.config, '--teacher-cache', tmp_path / 'nowhere')


def test_a_config_whose_auxiliary_needs_images_is_refused(tmp_path, place, capsys):
    teacher = small_model()['teacher']
    auxiliary = dict(
        type='AnotherTeacher',
        teacher=teacher,
        projection_head=dict(type='MLPHead', hidden_channels=8),
        distillation_loss=dict(type='L2FeatureLoss'),
    )
    config = write_config(tmp_path, place.frames, 1, **{'model.auxiliaries': [auxiliary]})
    assert 'looks at the images itself' in refused(capsys, TOOL, config, '--out', tmp_path / 'cache')


def test_a_cached_config_s_own_cache_can_be_made(tmp_path, place):
    """A leaf may name the cache itself."""
    path = tmp_path / place.config.name
    with_teacher_cache(Config.fromfile(place.config), str(tmp_path / 'cache')).dump(path)
    run_script(TOOL, path, '--out', tmp_path / 'cache', *SHARDS)
    assert content_of(tmp_path / 'cache') == content_of(place.cache)
