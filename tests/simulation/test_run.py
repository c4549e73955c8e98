"""The runner: same bytes for any number of workers and kills, and refusals that destroy nothing."""

import dataclasses
import importlib.util
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections import namedtuple
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cleverdistiller.errors import InputError
from cleverdistiller.simulation.run import PROGRESS, SimulatedSet, simulate
from cleverdistiller.simulation.sensors.rigs import KITTI, NUSCENES, WAYMO, Rig
from cleverdistiller.simulation.writers.kitti_writer import KittiWriter
from cleverdistiller.simulation.writers.nuscenes_writer import NuScenesWriter

WANTED = SimulatedSet('kitti', scenes=2, frames=2, seed=3)


def small(rig: Rig) -> Rig:
    """An eighth of the picture's rows and columns, 200 columns of the revolution."""
    cameras = tuple(
        dataclasses.replace(
            camera,
            size_hw=(camera.size_hw[0] // 8, camera.size_hw[1] // 8),
            cam2img=np.diag([1 / 8, 1 / 8, 1]) @ camera.cam2img,
        )
        for camera in rig.cameras
    )
    lidar = dataclasses.replace(rig.lidar, columns=200)
    return dataclasses.replace(rig, lidar=lidar, cameras=cameras, sweeps_between=min(rig.sweeps_between, 2))


class SmallKitti(KittiWriter):
    rig = small(KITTI)


class SmallNuScenes(NuScenesWriter):
    rig = small(NUSCENES)


SMALL_WAYMO = []
if importlib.util.find_spec('waymo_open_dataset'):  # not on the newer stack
    from cleverdistiller.simulation.writers.waymo_writer import WaymoWriter

    class SmallWaymo(WaymoWriter):
        rig = small(WAYMO)

    SMALL_WAYMO = [SmallWaymo]


class Failing(SmallKitti):
    def write_frame(self, frame, scene):
        if (frame.scene, frame.index) == (1, 1):
            raise OSError(28, 'No space left on device')
        return super().write_frame(frame, scene)


class Telling(SmallKitti):
    def write_frame(self, frame, scene):
        (self.root.parent / f'{frame.scene}_{frame.index}').touch()
        return super().write_frame(frame, scene)


def contents(root: Path) -> dict[str, bytes]:
    return {str(path.relative_to(root)): path.read_bytes() for path in sorted(root.rglob('*')) if path.is_file()}


@pytest.fixture(scope='module')
def whole(tmp_path_factory) -> dict[str, bytes]:
    """What an undisturbed run with one worker writes."""
    out = tmp_path_factory.mktemp('whole') / 'set'
    assert simulate(WANTED, out, 1, SmallKitti)
    return contents(out)


def test_two_workers_write_the_same_bytes(tmp_path, whole):
    assert simulate(WANTED, tmp_path / 'set', 2, SmallKitti)
    assert contents(tmp_path / 'set') == whole
    assert len(whole) > 12 and json.loads(whole['simulation.json'])['complete']


@pytest.mark.parametrize('kind', [SmallNuScenes, *SMALL_WAYMO])
def test_the_other_formats_do_not_know_how_many_workers_there_are_either(tmp_path, kind):
    wanted = SimulatedSet(kind.format, scenes=2, frames=2, seed=1)
    for workers in (1, 2):
        assert simulate(wanted, tmp_path / str(workers), workers, kind)
    assert contents(tmp_path / '1') == contents(tmp_path / '2')


def test_a_kill_between_the_last_steps_leaves_nothing_behind(tmp_path, whole):
    out = tmp_path / 'set'
    simulate(WANTED, out, 2, SmallKitti)
    (out / PROGRESS).mkdir()
    assert not simulate(WANTED, out, 2, SmallKitti)
    manifest = json.loads((out / 'simulation.json').read_text())
    (out / 'simulation.json').write_text(json.dumps(dict(manifest, complete=False)))
    (out / 'training' / '.label.txt.1.tmp').write_text('half')
    assert simulate(WANTED, out, 2, SmallKitti)  # its records are gone: all anew
    assert contents(out) == whole


def test_a_manifest_cut_short_by_a_kill_is_no_obstacle(tmp_path, whole):
    (tmp_path / 'set').mkdir()
    (tmp_path / 'set' / '.simulation.json.77.tmp').write_text('{')
    assert simulate(WANTED, tmp_path / 'set', 2, SmallKitti)
    assert contents(tmp_path / 'set') == whole


@pytest.mark.parametrize('content', ['[]', '{}', 'null', '{'])
def test_a_strange_manifest_is_something_else(tmp_path, content):
    (tmp_path / 'simulation.json').write_text(content)
    with pytest.raises(InputError, match='holds no simulated set'):
        simulate(WANTED, tmp_path, workers=1)


def test_a_complete_set_is_left_alone(tmp_path, whole):
    out = tmp_path / 'set'
    simulate(WANTED, out, 2, SmallKitti)
    before = {path: path.stat().st_mtime_ns for path in out.rglob('*')}
    assert not simulate(WANTED, out, 2, SmallKitti)
    assert {path: path.stat().st_mtime_ns for path in out.rglob('*')} == before


def test_a_run_that_failed_goes_on_where_it_was(tmp_path, whole):
    out = tmp_path / 'set'
    with pytest.raises(InputError, match=r'No space left.*\n.*\n.*finished frames are kept'):
        simulate(WANTED, out, 1, Failing)
    assert not json.loads((out / 'simulation.json').read_text())['complete']
    kept = sorted(path.name for path in (out / PROGRESS).glob('*.pkl'))
    assert kept == ['00000_00000.pkl', '00000_00001.pkl', '00001_00000.pkl']
    assert simulate(WANTED, out, 2, Telling)
    assert [path.name for path in tmp_path.iterdir() if path.is_file()] == ['1_1']  # what was missing, no more
    assert contents(out) == whole


def rows(out: Path, table: str) -> list[dict]:
    return json.loads((out / 'v1.0-mini' / f'{table}.json').read_text())


def test_lighter_nuscenes_has_small_images_with_their_intrinsics_and_keyframes_alone(tmp_path):
    wanted = SimulatedSet('nuscenes', scenes=1, frames=2, seed=1, image_scale=0.5, sweeps=False)
    simulate(wanted, tmp_path / 'set', 1, SmallNuScenes)
    data = rows(tmp_path / 'set', 'sample_data')
    assert all(row['is_key_frame'] for row in data) and not (tmp_path / 'set' / 'sweeps').exists()
    focal = {
        row['camera_intrinsic'][0][0] for row in rows(tmp_path / 'set', 'calibrated_sensor') if row['camera_intrinsic']
    }
    assert focal == {camera.cam2img[0, 0] / 2 for camera in SmallNuScenes.rig.cameras}
    images = [row for row in data if row['fileformat'] == 'jpg']
    assert len(images) == 12
    for row in images:
        with Image.open(tmp_path / 'set' / row['filename']) as image:
            assert image.size == (100, 56) == (row['width'], row['height'])
    manifest = json.loads((tmp_path / 'set' / 'simulation.json').read_text())
    assert manifest['image_scale'] == 0.5 and not manifest['sweeps']
    with pytest.raises(InputError, match=r'image_scale 0\.5, sweeps False'):
        simulate(dataclasses.replace(wanted, sweeps=True), tmp_path / 'set', 1, SmallNuScenes)


def test_a_set_from_before_there_were_options_is_known_again(tmp_path, whole):
    simulate(WANTED, tmp_path / 'set', 2, SmallKitti)
    manifest = json.loads((tmp_path / 'set' / 'simulation.json').read_text())
    assert set(manifest) == {'simulated', 'note', 'format', 'scenes', 'frames', 'seed', 'version', 'complete'}
    assert not simulate(WANTED, tmp_path / 'set', 2, SmallKitti)
    with pytest.raises(InputError, match=r'image_scale 1\.0'):
        simulate(dataclasses.replace(WANTED, image_scale=0.5), tmp_path / 'set', 2, SmallKitti)


@pytest.mark.parametrize('kind', [SmallKitti, *SMALL_WAYMO])
@pytest.mark.parametrize('option', [dict(image_scale=0.5), dict(sweeps=False)], ids=['image_scale', 'sweeps'])
def test_formats_that_cannot_be_lighter_say_so_and_leave_nothing(tmp_path, kind, option):
    wanted = SimulatedSet(kind.format, scenes=2, frames=2, seed=0, **option)
    with pytest.raises(InputError, match=f'with --format {kind.format}'):
        simulate(wanted, tmp_path / 'set', 1, kind)
    assert not (tmp_path / 'set').exists()


@pytest.mark.parametrize('scale', [0, 0.05, 1.5, float('nan')])
def test_a_scale_out_of_range_is_named(tmp_path, scale):
    with pytest.raises(InputError, match=r'0\.1 to 1'):
        simulate(dataclasses.replace(WANTED, image_scale=scale), tmp_path / 'set', 1, SmallKitti)


KILLED = """
import sys
sys.path[:0] = {paths!r}
import test_run
test_run.simulate(test_run.WANTED, test_run.Path({out!r}), 2, test_run.SmallKitti)
"""


def test_a_killed_run_leaves_no_process_and_ends_the_same(tmp_path, whole):
    out = tmp_path / 'set'
    script = KILLED.format(paths=[str(Path(__file__).parent), str(Path(__file__).parent.parent)], out=str(out))
    process = subprocess.Popen([sys.executable, '-c', script], start_new_session=True)
    deadline = time.monotonic() + 240
    while not list(out.glob(f'{PROGRESS}/*.pkl')):
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.05)
    os.kill(process.pid, signal.SIGKILL)  # the main process alone
    process.wait()
    for _ in range(100):
        try:
            os.killpg(process.pid, 0)
        except ProcessLookupError:
            break
        time.sleep(0.1)
    else:
        pytest.fail('workers outlived the main process')
    assert not json.loads((out / 'simulation.json').read_text())['complete']
    simulate(WANTED, out, 2, SmallKitti)
    assert contents(out) == whole


@pytest.mark.parametrize(
    'change, message',
    [
        (dict(scenes=0), '--scenes 0'),
        (dict(frames=-1), '--frames -1'),
        (dict(seed=-1), '--seed -1'),
        (dict(format='av2'), 'one of nuscenes, kitti, semantickitti, waymo, images'),
    ],
)
def test_bad_numbers_are_named(change, message):
    with pytest.raises(InputError, match=message):
        dataclasses.replace(WANTED, **change)


def test_a_folder_that_holds_something_else_is_not_touched(tmp_path):
    (tmp_path / 'thesis.txt').write_text('years of work')
    with pytest.raises(InputError, match=r'no simulated set.*\n.*\n.*nothing in it was touched'):
        simulate(WANTED, tmp_path, workers=1)
    assert contents(tmp_path) == {'thesis.txt': b'years of work'}


def test_another_set_is_not_overwritten(tmp_path):
    (tmp_path / 'simulation.json').write_text(json.dumps(dict(WANTED.manifest, seed=4, complete=True)))
    with pytest.raises(InputError, match='scenes 2, frames 2, seed 4'):
        simulate(WANTED, tmp_path, workers=1)


def test_a_file_is_no_folder(tmp_path):
    (tmp_path / 'set').write_text('')
    with pytest.raises(InputError, match='is a file'):
        simulate(WANTED, tmp_path / 'set', workers=1)


def test_too_small_a_disk_is_told_before_anything_is_written(tmp_path, monkeypatch):
    usage = namedtuple('usage', 'total used free')
    monkeypatch.setattr(shutil, 'disk_usage', lambda path: usage(2**30, 2**30 - 2**20, 2**20))
    with pytest.raises(InputError, match=r'0\.0 GiB free'):
        simulate(WANTED, tmp_path / 'set', workers=1)
    assert not (tmp_path / 'set').exists()


def test_no_worker_is_refused(tmp_path):
    with pytest.raises(InputError, match='--workers 0'):
        simulate(WANTED, tmp_path / 'set', workers=0)
