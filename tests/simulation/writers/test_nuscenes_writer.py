"""The root that NuScenesWriter leaves, opened by nuscenes-devkit, mmdet3d's converter and this repo's index."""

import dataclasses
import importlib
import json
import sys
import warnings
from itertools import pairwise
from pathlib import Path

import matplotlib.pyplot as plt
import mmdet3d
import mmengine
import numpy as np
import pytest
from nuscenes.eval.lidarseg.utils import LidarsegClassMapper
from nuscenes.nuscenes import NuScenes
from nuscenes.utils import splits
from nuscenes.utils.color_map import get_colormap
from nuscenes.utils.data_classes import LidarPointCloud
from nuscenes.utils.geometry_utils import points_in_box, transform_matrix
from PIL import Image
from pyquaternion import Quaternion
from scipy.ndimage import maximum_filter, minimum_filter

from cleverdistiller.errors import InputError
from cleverdistiller.simulation.frame import CameraImage, LidarScan, ObjectState, SimulatedFrame
from cleverdistiller.simulation.sensors.recording import simulate_frame
from cleverdistiller.simulation.sensors.rigs import NUSCENES, Rig, rigid, turn_z
from cleverdistiller.simulation.surfaces import SurfaceClass
from cleverdistiller.simulation.world.scene import Scene
from cleverdistiller.simulation.writers.nuscenes_labels import LIDARSEG_ID, attribute_of, visibility_of
from cleverdistiller.simulation.writers.nuscenes_writer import NuScenesWriter, official_scene_names
from conftest import REPO

SCENES, FRAMES, SEED = 2, 3, 7
PARKED = {SurfaceClass.BICYCLE}
HIDDEN = (1, 2)  # frame and instance that the sweep misses
UNSEEN = 5  # instance that no sweep hits


def shrunken_rig(shrink: int) -> Rig:
    scale = np.diag([1 / shrink, 1 / shrink, 1])
    cameras = tuple(
        dataclasses.replace(
            camera, size_hw=tuple(side // shrink for side in camera.size_hw), cam2img=scale @ camera.cam2img
        )
        for camera in NUSCENES.cameras
    )
    lidar = dataclasses.replace(NUSCENES.lidar, columns=271)
    return dataclasses.replace(NUSCENES, lidar=lidar, cameras=cameras, sweeps_between=2)


SMALL_RIG = shrunken_rig(10)
DRIVE_RIG = shrunken_rig(4)  # fine enough for depth to be compared pixel by pixel


class SmallWriter(NuScenesWriter):
    rig = SMALL_RIG


class DriveWriter(NuScenesWriter):
    rig = DRIVE_RIG


class Yard:
    """A scene as far as the writer asks: 160 x 160 m with a road along x."""

    def __init__(self, index: int) -> None:
        self.index = index

    def drivable_map(self, metres_per_pixel: float) -> np.ndarray:
        side = round(160 / metres_per_pixel)
        drivable = np.zeros((side, side), bool)
        drivable[round(70 / metres_per_pixel) : round(84 / metres_per_pixel)] = True
        return drivable


def ego2world(time_s: float) -> np.ndarray:
    """Along x at 5 m/s, turning and nodding a little."""
    nod = 0.02 * np.sin(time_s)
    tilt = np.array([[np.cos(nod), 0, np.sin(nod)], [0, 1, 0], [-np.sin(nod), 0, np.cos(nod)]])
    return rigid(turn_z(0.1 + 0.2 * time_s) @ tilt, (75 + 5 * time_s, 80.0, 0.1))


def states(time_s: float) -> tuple[ObjectState, ...]:
    rows = [
        # class, middle, length width height, yaw, speed
        (SurfaceClass.CAR, (88, 82, 0.8), (4.2, 1.8, 1.6), 0.4, 3.0),
        (SurfaceClass.PEDESTRIAN, (80, 86, 0.9), (0.6, 0.7, 1.8), 2.0, 0.0),
        (SurfaceClass.BICYCLE, (70, 76, 0.6), (1.7, 0.6, 1.2), -1.0, 0.0),
        (SurfaceClass.TRAFFIC_CONE, (84, 74, 0.3), (0.4, 0.4, 0.6), 0.0, 0.0),
        (SurfaceClass.BUS, (110, 110, 1.6), (11.0, 2.5, 3.2), 0.0, 0.0),
    ]
    objects = []
    for instance, (surface, middle, size, yaw, speed) in enumerate(rows, start=1):
        velocity = speed * np.array([np.cos(yaw), np.sin(yaw), 0])
        centre = np.array(middle) + velocity * time_s
        objects.append(ObjectState(0.0, instance, surface, centre, np.array(size), yaw, velocity, surface in PARKED))
    return tuple(objects)


def scan_at(time_s: float, hidden: tuple[int, ...], rng: np.random.Generator) -> LidarScan:
    """Ground around the car, and 10 + instance points within each object."""
    ground = np.column_stack([rng.uniform(60, 100, (300, 2)), np.zeros(300)])
    points, surface, instance = [ground], [np.full(300, SurfaceClass.ROAD)], [np.zeros(300)]
    for state in states(time_s):
        if state.instance in hidden:
            continue
        count = 10 + state.instance
        inside = rng.uniform(-0.49, 0.49, (count, 3)) * state.size_lwh_m
        points.append(inside @ state.object2world[:3, :3].T + state.centre_world_m)
        surface.append(np.full(count, state.surface))
        instance.append(np.full(count, state.instance))
    world2lidar = np.linalg.inv(ego2world(time_s) @ SMALL_RIG.lidar.lidar2ego)
    points_lidar_m = np.concatenate(points) @ world2lidar[:3, :3].T + world2lidar[:3, 3]
    count = len(points_lidar_m)
    return LidarScan(
        time_s=time_s,
        ego2world=ego2world(time_s),
        points_lidar_m=points_lidar_m.astype(np.float32),
        intensity=rng.uniform(0, 1, count).astype(np.float32),
        ring=rng.integers(0, 32, count).astype(np.uint8),
        column=np.arange(count, dtype=np.uint16),
        fired_s=np.zeros(count, np.float32),
        range_m=np.linalg.norm(points_lidar_m, axis=1).astype(np.float32),
        surface=np.concatenate(surface).astype(np.uint8),
        instance=np.concatenate(instance).astype(np.uint16),
        echo=np.zeros(count, np.uint8),
    )


def image_at(time_s: float, size_hw: tuple[int, int], visible_px: dict, rng: np.random.Generator) -> CameraImage:
    return CameraImage(
        time_s=time_s,
        ego2world=ego2world(time_s),
        rgb=rng.integers(0, 255, (*size_hw, 3), dtype=np.uint8),
        depth_m=np.full(size_hw, np.inf, np.float32),
        surface=np.zeros(size_hw, np.uint8),
        instance=np.zeros(size_hw, np.uint16),
        visible_px=visible_px,
    )


def hand_made_frame(scene: int, index: int) -> SimulatedFrame:
    rng = np.random.default_rng([scene, index])
    time_s = index * 0.5
    hidden = (UNSEEN, *(instance for frame, instance in [HIDDEN] if frame == index))
    visible = {'CAM_FRONT': {1: (30, 50), 2: (99, 100)}, 'CAM_FRONT_LEFT': {1: (0, 50)}}
    return SimulatedFrame(
        scene=scene,
        index=index,
        time_s=time_s,
        scan=scan_at(time_s, hidden, rng),
        images={
            camera.name: image_at(time_s + camera.delay_s, camera.size_hw, visible.get(camera.name, {}), rng)
            for camera in SMALL_RIG.cameras
        },
        objects=states(time_s),
        sweeps=tuple(scan_at(time_s - 0.5 + ago, hidden, rng) for ago in (0.2, 0.35)) if index else (),
    )


@pytest.fixture(scope='module')
def root(tmp_path_factory) -> Path:
    """Two scenes of three hand-made frames; do not change it."""
    folder = tmp_path_factory.mktemp('simulated_nuscenes')
    writer = SmallWriter(folder, SCENES, FRAMES, SEED)
    records = [
        [writer.write_frame(hand_made_frame(scene, index), Yard(scene)) for index in range(FRAMES)]
        for scene in range(SCENES)
    ]
    writer.finish(records)
    return folder


@pytest.fixture(scope='module')
def nusc(root) -> NuScenes:
    return NuScenes('v1.0-mini', str(root), verbose=False)


@pytest.fixture(scope='module')
def drive(tmp_path_factory) -> tuple[NuScenes, SimulatedFrame]:
    """One frame of the real simulation, over a stand-in for its map, which takes seconds to draw."""
    folder = tmp_path_factory.mktemp('drive')
    frame = simulate_frame(Scene(seed=0, index=0, duration_s=0.5), DRIVE_RIG, 0)
    writer = DriveWriter(folder, scenes=1, frames=1, seed=0)
    writer.finish([[writer.write_frame(frame, Yard(0))]])
    return NuScenes('v1.0-mini', str(folder), verbose=False), frame


def annotation(nusc: NuScenes, sample: dict, category: str) -> dict:
    (row,) = [
        row
        for row in map(lambda t: nusc.get('sample_annotation', t), sample['anns'])
        if row['category_name'] == category
    ]
    return row


def pose_matrix(row: dict) -> np.ndarray:
    return transform_matrix(np.array(row['translation']), Quaternion(row['rotation']))


def sensor_to_global(nusc: NuScenes, data: dict) -> np.ndarray:
    mounting = nusc.get('calibrated_sensor', data['calibrated_sensor_token'])
    return pose_matrix(nusc.get('ego_pose', data['ego_pose_token'])) @ pose_matrix(mounting)


def lidar_data(nusc: NuScenes, sample: dict) -> dict:
    return nusc.get('sample_data', sample['data']['LIDAR_TOP'])


def read_points(nusc: NuScenes, data: dict) -> np.ndarray:
    return np.fromfile(Path(nusc.dataroot) / data['filename'], np.float32).reshape(-1, 5)


def test_devkit_opens_it_without_a_word(root, capsys):
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        nusc = NuScenes('v1.0-mini', str(root), verbose=False)
    said = capsys.readouterr()
    assert (said.out, said.err) == ('', '')
    assert len(nusc.sample) == SCENES * FRAMES
    assert [scene['name'] for scene in nusc.scene] == [splits.mini_train[0], splits.mini_val[0]]


def test_everything_says_that_it_is_simulated(nusc):
    for log, scene in zip(nusc.log, nusc.scene):
        assert 'imulated' in scene['description'] and scene['name'] in scene['description']
        assert all('simulated' in log[field] for field in ('logfile', 'vehicle', 'location'))
    assert all('simulated' in data['filename'] for data in nusc.sample_data)


def test_tokens_are_hex_and_unique(nusc):
    for table in set(nusc.table_names) - {'visibility'}:
        tokens = [row['token'] for row in getattr(nusc, table)]
        assert len(set(tokens)) == len(tokens), table
        assert all(len(bytes.fromhex(token)) == 16 for token in tokens), table


def test_channels_are_chained_in_time(nusc):
    starts = [data for data in nusc.sample_data if not data['prev']]
    assert len(starts) == SCENES * (1 + len(SMALL_RIG.cameras))
    visited = 0
    for data in starts:
        chain = [data]
        while chain[-1]['next']:
            chain.append(nusc.get('sample_data', chain[-1]['next']))
            assert chain[-1]['prev'] == chain[-2]['token']
        visited += len(chain)
        assert all(a['timestamp'] < b['timestamp'] for a, b in pairwise(chain))
        assert len({row['filename'].split('__')[0].split('/')[-1] for row in chain}) == 1  # of one log
        assert {row['channel'] for row in chain} == {data['channel']}
        for earlier, later in pairwise(chain):  # sweeps belong to the keyframe after them
            assert earlier['is_key_frame'] or earlier['sample_token'] == later['sample_token']
        keys = [row['is_key_frame'] for row in chain]
        assert keys == ([True, *[False, False, True] * 2] if data['channel'] == 'LIDAR_TOP' else [True] * FRAMES)
    assert visited == len(nusc.sample_data)


def test_samples_are_chained_and_timed_by_their_sweep(nusc):
    for scene in nusc.scene:
        sample, times = nusc.get('sample', scene['first_sample_token']), []
        while True:
            times.append(sample['timestamp'])
            assert lidar_data(nusc, sample)['timestamp'] == sample['timestamp']
            front = nusc.get('sample_data', sample['data']['CAM_FRONT'])
            assert front['timestamp'] == sample['timestamp'] - 35_500
            if not sample['next']:
                break
            sample = nusc.get('sample', sample['next'])
        assert sample['token'] == scene['last_sample_token'] and len(times) == scene['nbr_samples'] == FRAMES
        assert np.diff(times).tolist() == [500_000, 500_000]


def test_poses_are_those_of_each_records_own_time(nusc):
    rig = {'LIDAR_TOP': SMALL_RIG.lidar.lidar2ego, **{camera.name: camera.cam2ego for camera in SMALL_RIG.cameras}}
    for data in nusc.sample_data:
        scene = nusc.get('scene', nusc.get('sample', data['sample_token'])['scene_token'])
        start_us = nusc.get('sample', scene['first_sample_token'])['timestamp']
        expected = ego2world((data['timestamp'] - start_us) / 1e6) @ rig[data['channel']]
        assert np.allclose(sensor_to_global(nusc, data), expected, rtol=0, atol=1e-12)
    for camera in SMALL_RIG.cameras:
        rows = [
            row for row in nusc.calibrated_sensor if nusc.get('sensor', row['sensor_token'])['channel'] == camera.name
        ]
        assert [row['camera_intrinsic'] for row in rows] == [camera.cam2img.tolist()] * SCENES


def test_point_files(nusc):
    data = lidar_data(nusc, nusc.sample[1])
    scan = hand_made_frame(0, 1).scan
    points = read_points(nusc, data)
    assert np.array_equal(points[:, :3], scan.points_lidar_m)
    assert np.array_equal(points[:, 3], np.round(points[:, 3])) and 200 < points[:, 3].max() <= 255
    assert np.abs(points[:, 3] / 255 - scan.intensity).max() <= 0.5 / 255 + 1e-6
    assert np.array_equal(points[:, 4], scan.ring)
    assert LidarPointCloud.from_file(nusc.get_sample_data_path(data['token'])).nbr_points() == len(scan)
    sweep = nusc.get('sample_data', data['prev'])
    assert np.array_equal(read_points(nusc, sweep)[:, :3], hand_made_frame(0, 1).sweeps[-1].points_lidar_m)


def test_masks_label_each_point(nusc, capsys):
    data = lidar_data(nusc, nusc.sample[0])
    mask = np.fromfile(Path(nusc.dataroot) / nusc.get('lidarseg', data['token'])['filename'], np.uint8)
    assert np.bincount(mask).nonzero()[0].tolist() == [2, 12, 14, 17, 24]
    assert (mask == 17).sum() == 11 and len(mask) == len(read_points(nusc, data))
    nusc.get_sample_lidarseg_stats(nusc.sample[0]['token'])
    said = capsys.readouterr().out.split('\n')
    assert any(line.split() == ['17', 'vehicle.car', 'n=', '11'] for line in said)


def test_labels_are_those_of_the_challenge(nusc):
    """Over the devkit's own map of fine to coarse classes."""
    assert [row['name'] for row in sorted(nusc.category, key=lambda row: row['index'])] == list(get_colormap())
    mapper = LidarsegClassMapper(nusc)
    coarse_name = {index: name for name, index in mapper.coarse_name_2_coarse_idx_mapping.items()}
    coarse = [coarse_name[mapper.fine_idx_2_coarse_idx_mapping[fine]] for fine in LIDARSEG_ID]
    road, side, made, green = 'driveable_surface', 'sidewalk', 'manmade', 'vegetation'
    flat = ['ignore', road, road, road, side, side, 'other_flat', 'terrain']
    standing = [made, made, made, green, green, made, made, made]
    wheels = [
        'car',
        'truck',
        'bus',
        'trailer',
        'construction_vehicle',
        'motorcycle',
        'motorcycle',
        'bicycle',
        'bicycle',
    ]
    assert coarse == flat + standing + wheels + ['pedestrian', 'traffic_cone', 'barrier']


def test_boxes_contain_the_points_of_their_instance(nusc):
    for sample, frame in zip(nusc.sample[:FRAMES], (hand_made_frame(0, index) for index in range(FRAMES))):
        data = lidar_data(nusc, sample)
        _, boxes, _ = nusc.get_sample_data(data['token'])
        points = read_points(nusc, data)[:, :3].T
        inside = np.stack([points_in_box(box, points) for box in boxes])
        owned = np.stack([frame.scan.instance == i for i in np.unique(frame.scan.instance) if i])
        assert len(boxes) == 4 - (frame.index == HIDDEN[0])
        # Ground points may be inside as well, at a box's very bottom; points of another object are not.
        assert (inside | ~owned).all() and not (inside & (frame.scan.instance > 0) & ~owned).any()
        counts = [nusc.get('sample_annotation', box.token)['num_lidar_pts'] for box in boxes]
        assert counts == inside.sum(1).tolist()


def test_annotations(nusc):
    first, second, third = nusc.sample[:FRAMES]
    car = annotation(nusc, first, 'vehicle.car')
    assert car['size'] == [1.8, 4.2, 1.6] and car['num_radar_pts'] == 0
    assert nusc.get('visibility', car['visibility_token'])['level'] == 'v0-40'  # 30 of 100 pixels
    walker = annotation(nusc, first, 'human.pedestrian.adult')
    assert nusc.get('visibility', walker['visibility_token'])['level'] == 'v80-100'
    attributes = {
        nusc.get('sample_annotation', token)['category_name']: [
            nusc.get('attribute', name)['name'] for name in nusc.get('sample_annotation', token)['attribute_tokens']
        ]
        for token in first['anns']
    }
    assert attributes == {
        'vehicle.car': ['vehicle.moving'],
        'human.pedestrian.adult': ['pedestrian.standing'],
        'vehicle.bicycle': ['cycle.without_rider'],
        'movable_object.trafficcone': [],
    }
    speed = [3 * np.cos(0.4), 3 * np.sin(0.4), 0]
    assert np.allclose(nusc.box_velocity(annotation(nusc, second, 'vehicle.car')['token']), speed)
    assert walker['next'] == annotation(nusc, third, 'human.pedestrian.adult')['token']  # over the gap
    instance = nusc.get('instance', walker['instance_token'])
    assert (instance['nbr_annotations'], instance['first_annotation_token']) == (2, walker['token'])
    assert instance['last_annotation_token'] == walker['next']


@pytest.mark.parametrize(
    ('surface', 'speed', 'parked', 'attribute'),
    [
        (SurfaceClass.CAR, 0.0, True, 'vehicle.parked'),
        (SurfaceClass.BUS, 0.1, False, 'vehicle.stopped'),
        (SurfaceClass.TRAILER, 4.0, False, 'vehicle.moving'),
        (SurfaceClass.BICYCLIST, 4.0, False, 'cycle.with_rider'),
        (SurfaceClass.MOTORCYCLE, 0.0, True, 'cycle.without_rider'),
        (SurfaceClass.PEDESTRIAN, 1.0, False, 'pedestrian.moving'),
        (SurfaceClass.BARRIER, 0.0, False, None),
    ],
)
def test_attributes(surface, speed, parked, attribute):
    state = ObjectState(0.0, 1, surface, np.zeros(3), np.ones(3), 0.0, np.array([speed, 0, 0]), parked)
    assert attribute_of(state) == attribute


@pytest.mark.parametrize(
    ('visible_px', 'level'),
    [([], '1'), ([(39, 100)], '1'), ([(40, 100)], '2'), ([(60, 60), (0, 40)], '3'), ([(8, 10)], '4'), ([(0, 0)], '1')],
)
def test_visibility_is_of_all_cameras_together(visible_px, level):
    rng = np.random.default_rng(0)
    images = [image_at(0.0, (2, 2), {4: pixels, 9: (5, 5)}, rng) for pixels in visible_px]
    assert visibility_of(4, images) == level


@pytest.mark.skipif(np.lib.NumpyVersion(np.__version__) >= '2.5.0', reason='the devkit takes arrays of one for numbers')
def test_devkit_draws_it(nusc, tmp_path):
    token = nusc.sample[1]['token']
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        warnings.filterwarnings('ignore', 'NEAREST is deprecated')  # the devkit's own, of Pillow 9.2
        nusc.render_sample(token, out_path=str(tmp_path / 'sample.png'), verbose=False)
        nusc.render_pointcloud_in_image(token, show_lidarseg=True, out_path=str(tmp_path / 'cloud.png'), verbose=False)
    plt.close('all')
    for name in ('sample.png', 'cloud.png'):
        assert np.asarray(Image.open(tmp_path / name).convert('L')).std() > 10


def test_map_masks_lie_under_the_car(nusc):
    for log, scene in zip(nusc.log, nusc.scene):
        mask = nusc.get('map', log['map_token'])['mask']
        assert mask.is_on_mask([80.0, 80.0, 80.0], [80.0, 92.0, 74.0]).tolist() == [True, False, False]
        assert scene['log_token'] == log['token']


def test_this_repos_index_takes_it(root, tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(REPO / 'tools'))
    written = importlib.import_module('prepare_nuscenes').prepare(root, 'v1.0-mini', tmp_path)
    assert written == {tmp_path / 'nuscenes_infos_train.pkl': FRAMES, tmp_path / 'nuscenes_infos_val.pkl': FRAMES}
    last = mmengine.load(tmp_path / 'nuscenes_infos_val.pkl')['data_list'][-1]
    assert [('sweeps/' in sweep['lidar_points']['lidar_path']) for sweep in last['lidar_sweeps']] == [
        *[True, True, False] * 2
    ]


def test_mmdet3ds_converter_takes_it(root, tmp_path, monkeypatch):
    """Its second step looks for the tables in ./data/nuscenes, whatever it is told."""
    monkeypatch.syspath_prepend(str(Path(mmdet3d.__file__).parent / '.mim'))
    monkeypatch.delitem(sys.modules, 'tools', raising=False)
    converters = 'tools.dataset_converters'
    convert = importlib.import_module(f'{converters}.nuscenes_converter').create_nuscenes_infos
    update = importlib.import_module(f'{converters}.update_infos_to_v2').update_pkl_infos
    (tmp_path / 'data').mkdir()
    (tmp_path / 'data' / 'nuscenes').symlink_to(root)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr('mmengine.dump', into(tmp_path, mmengine.dump))
    convert('data/nuscenes', 'nuscenes', 'v1.0-mini')
    update('nuscenes', out_dir='out', pkl_path=str(tmp_path / 'nuscenes_infos_val.pkl'))
    first = mmengine.load(tmp_path / 'nuscenes_infos_val.pkl')['data_list'][0]
    assert sorted(thing['bbox_label_3d'] for thing in first['instances']) == [0, 5, 7, 8]
    assert all(thing['bbox_3d_isvalid'] for thing in first['instances'])
    assert first['pts_semantic_mask_path'].endswith('_lidarseg.bin')


def into(folder: Path, dump):
    """Write what the converters write to ``folder``, not into the shared root."""
    return lambda content, path, *options: dump(content, folder / Path(path).name, *options)


@pytest.mark.parametrize('channel', [camera.name for camera in DRIVE_RIG.cameras])
def test_devkits_projection_agrees_with_the_cameras_own_depth(drive, channel):
    """A camera sees what a ray met, or something nearer: the LiDAR stands higher and looks over things.

    Nothing else lets a point lie before what the camera sees. With the sweep's ego pose in place of each camera's own,
    a tenth to a quarter of the front camera's points would.
    """
    nusc, frame = drive
    data = nusc.sample[0]['data']
    uv_px, depth_m, _ = nusc.explorer.map_pointcloud_to_image(data['LIDAR_TOP'], data[channel])
    u, v = np.floor(uv_px[:2]).astype(int)
    image = frame.images[channel]
    nearest, farthest = (pick(image.depth_m, size=3)[v, u] for pick in (minimum_filter, maximum_filter))
    assert len(u) > 500
    assert ((depth_m > nearest - 0.1) & (depth_m < farthest + 0.1)).mean() > 0.7
    assert (depth_m < nearest - 0.1).mean() < 0.04  # with one pose for all: 0.12 to 0.26


def test_simulated_boxes_contain_the_points_of_their_instance(drive):
    """A tenth more room: things move while the beams pass over them, and ranges are noisy."""
    nusc, frame = drive
    data = lidar_data(nusc, nusc.sample[0])
    points, instance = read_points(nusc, data)[:, :3].T, frame.scan.instance
    hit = [state for state in frame.objects if (instance == state.instance).any()]
    _, boxes, _ = nusc.get_sample_data(data['token'])
    assert len(boxes) == len(hit) > 10
    inside = [points_in_box(box, points[:, instance == state.instance], 1.1) for box, state in zip(boxes, hit)]
    assert np.concatenate(inside).mean() > 0.99


def test_same_bytes_when_written_twice(root, tmp_path):
    writer = SmallWriter(tmp_path, SCENES, FRAMES, SEED)
    frame = hand_made_frame(0, 0)
    record = writer.write_frame(frame, Yard(0))
    written = {path: path.read_bytes() for path in tmp_path.rglob('*') if path.is_file()}
    assert json.dumps(record) == json.dumps(writer.write_frame(frame, Yard(0)))
    assert len(written) == 1 + 1 + 1 + 6  # sweep, mask, map, images
    for path, content in written.items():
        assert path.read_bytes() == content == (root / path.relative_to(tmp_path)).read_bytes()


def test_tables_are_the_same_when_finished_twice(root, tmp_path):
    writer = SmallWriter(tmp_path, 1, 2, SEED)
    records = [[writer.write_frame(hand_made_frame(0, index), Yard(0)) for index in range(2)]]
    writer.finish(records)
    first = {path.name: path.read_bytes() for path in (tmp_path / 'v1.0-mini').iterdir()}
    writer.finish(records)
    assert len(first) == 14
    assert first == {path.name: path.read_bytes() for path in (tmp_path / 'v1.0-mini').iterdir()}


def test_another_seed_has_other_tokens(tmp_path):
    tokens = [
        SmallWriter(tmp_path, SCENES, FRAMES, seed).write_frame(hand_made_frame(0, 0), Yard(0))['sample'][0]['token']
        for seed in (1, 2)
    ]
    assert tokens[0] != tokens[1]


@pytest.mark.parametrize(('scenes', 'val'), [(1, 0), (2, 1), (5, 1), (10, 2), (11, 2), (100, 20), (850, 150)])
def test_scene_names_are_official(scenes, val):
    official = (splits.mini_train, splits.mini_val) if scenes <= 10 else (splits.train, splits.val)
    names = official_scene_names(scenes)
    assert len(set(names)) == scenes
    assert set(names[: scenes - val]) <= set(official[0]) and set(names[scenes - val :]) <= set(official[1])


def test_more_scenes_go_to_trainval(tmp_path):
    assert SmallWriter(tmp_path, 11, 1, 0).version == 'v1.0-trainval'
    with pytest.raises(InputError, match='851 scenes'):
        SmallWriter(tmp_path, 851, 1, 0)
