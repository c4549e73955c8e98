"""The KITTI layout, read back as its users read it: through mmdet3d's own converter functions."""

import importlib.util
from pathlib import Path

import mmdet3d
import numpy as np
import pytest
from mmdet3d.structures.ops.box_np_ops import box_camera_to_lidar, points_in_rbbox
from PIL import Image

from cleverdistiller.errors import InputError
from cleverdistiller.simulation.sensors.rigs import KITTI_R0_RECT, KITTI_VELO_TO_CAM
from cleverdistiller.simulation.surfaces import SurfaceClass
from cleverdistiller.simulation.writers.kitti_writer import KittiWriter, label_rows, projected_box
from kitti_frames import car, driven, make_frame, thing


def converter():
    """mmdet3d ships its converters beside the package, in a folder that cannot be imported by name."""
    path = Path(mmdet3d.__file__).parent / '.mim' / 'tools' / 'dataset_converters' / 'kitti_data_utils.py'
    spec = importlib.util.spec_from_file_location('kitti_data_utils', path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def write(root, frame, scenes=1):
    return KittiWriter(root, scenes=scenes, frames=4, seed=5).write_frame(frame, scene=None)


def read(root, number=0):
    return converter().get_kitti_image_info(
        str(root), velodyne=True, calib=True, image_ids=[number], num_worker=1, relative_path=True
    )[0]


STREET = (
    car(yaw=0.3),
    thing(SurfaceClass.PEDESTRIAN, 9, -2, (0.6, 0.5, 1.75), yaw=2.0, instance=2),
    thing(SurfaceClass.BICYCLIST, 31, 6, (1.8, 0.6, 1.8), yaw=-1.0, instance=3),
    thing(SurfaceClass.TRUCK, 44, -5, (9.0, 2.5, 3.4), yaw=3.1, instance=4),
)


def test_points_are_rows_of_four_float32_and_the_picture_is_lossless(tmp_path):
    frame = make_frame(STREET)
    write(tmp_path, frame)
    rows = np.fromfile(tmp_path / 'training' / 'velodyne' / '000000.bin', '<f4').reshape(-1, 4)
    assert np.array_equal(rows[:, :3], frame.scan.points_lidar_m)
    assert np.array_equal(rows[:, 3], frame.scan.intensity)
    with Image.open(tmp_path / 'training' / 'image_2' / '000000.png') as image:
        assert image.size == (1242, 375)
        assert np.array_equal(np.asarray(image), frame.images['image_2'].rgb)


def test_calibration_comes_back_through_mmdet3d(tmp_path):
    write(tmp_path, make_frame(STREET))
    calib = read(tmp_path)['calib']
    assert np.array_equal(calib['R0_rect'][:3, :3], KITTI_R0_RECT)
    assert np.array_equal(calib['Tr_velo_to_cam'][:3], KITTI_VELO_TO_CAM)
    # The projection's last column is minus focal length times where the camera is, in metres.
    assert calib['P2'][0, 3] / 721.5377 == pytest.approx(0.0622, abs=1e-3)
    assert (calib['P1'][0, 3] - calib['P0'][0, 3]) / 721.5377 == pytest.approx(-0.5371, abs=1e-3)
    assert (calib['P3'][0, 3] - calib['P2'][0, 3]) / 721.5377 == pytest.approx(-0.5327, abs=1e-3)
    lines = (tmp_path / 'training' / 'calib' / '000000.txt').read_text().splitlines()
    assert lines[2].startswith('P2: 7.215377000000e+02 0.000000000000e+00 6.095593000000e+02 4.485728000000e+01 ')
    assert [line.split(':')[0] for line in lines] == [
        'P0', 'P1', 'P2', 'P3', 'R0_rect', 'Tr_velo_to_cam', 'Tr_imu_to_velo'
    ]  # fmt: skip


def test_a_label_row_by_hand():
    # 20 m ahead and 3 m left of the car's origin; the LiDAR is 1.73 m above the road, the camera 0.27 m before it.
    name, truncated, occluded, *texts = label_rows(make_frame([car()]))[0].split(' ')
    assert (name, truncated, occluded) == ('Car', '0.00', '0')
    assert {len(text.split('.')[1]) for text in texts} == {2}
    numbers = np.array(texts, float)
    assert numbers[5:8].tolist() == [1.5, 1.8, 4.2]
    assert numbers[8:11] == pytest.approx([-3.0, 1.73, 19.73], abs=0.3)
    assert numbers[11] == pytest.approx(-np.pi / 2, abs=0.006)
    assert numbers[0] == pytest.approx(numbers[11] - np.arctan2(numbers[8], numbers[10]), abs=0.011)


@pytest.mark.parametrize('yaw', [0.0, 2.2, -1.4])
def test_points_lie_in_the_boxes_and_boxes_in_the_picture(tmp_path, yaw):
    pose = driven(7, yaw)
    street = [thing_in(pose, one) for one in STREET]
    frame = make_frame(street, points=400, ego2world=pose)
    write(tmp_path, frame)
    info = read(tmp_path)
    annos, calib = info['annos'], info['calib']
    assert annos['name'].tolist() == ['Car', 'Pedestrian', 'Cyclist', 'Truck']
    boxes = np.concatenate([annos['location'], annos['dimensions'], annos['rotation_y'][:, None]], 1)
    in_lidar = box_camera_to_lidar(boxes, calib['R0_rect'], calib['Tr_velo_to_cam'])
    points = np.fromfile(tmp_path / info['point_cloud']['velodyne_path'], '<f4').reshape(-1, 4)
    inside = points_in_rbbox(points, in_lidar)
    for column, one in enumerate(street):
        assert np.array_equal(inside[:, column], frame.scan.instance == one.instance)
    for box, bbox in zip(boxes, annos['bbox']):
        assert obvious_bbox(box, calib['P2']) == pytest.approx(bbox, abs=0.02)


def thing_in(pose, one):
    """The same object for a car elsewhere."""
    yaw = one.yaw_world
    return thing(one.surface, *one.centre_world_m[:2], one.size_lwh_m, yaw, one.instance, ego2world=pose)


def obvious_bbox(box, projection):
    """Project eight corners, one by one."""
    x, y, z, length, height, width, turn = box
    pixels = []
    for along in (-length / 2, length / 2):
        for across in (-width / 2, width / 2):
            for up in (0, height):
                corner = [
                    x + along * np.cos(turn) + across * np.sin(turn),
                    y - up,
                    z - along * np.sin(turn) + across * np.cos(turn),
                    1,
                ]
                u, v, depth, _ = projection @ corner
                pixels.append((u / depth, v / depth))
    u, v = np.array(pixels).T
    return [max(u.min(), 0), max(v.min(), 0), min(u.max(), 1241), min(v.max(), 374)]


def test_a_box_beside_the_car_is_cut_at_the_image_plane():
    corners = np.array([(-3, y, z) for _ in (0, 1) for y in (1.7, 0.2) for z in (-2.0, 4.0)])
    left, top, right, bottom = projected_box(corners)
    assert right == pytest.approx((721.5377 * -3 + 609.5593 * 4 + 44.857) / 4.0027, abs=0.1)
    assert left < -10_000 and bottom > 10_000 and top > 172
    assert projected_box(corners - [0, 0, 5]) is None


@pytest.mark.parametrize(
    ('seen', 'points', 'expected'),
    [
        ((1000, 1000), 9, 'Car 0'),
        ((810, 1000), 9, 'Car 0'),
        ((790, 1000), 9, 'Car 1'),
        ((390, 1000), 9, 'Car 2'),
        ((50, 1000), 9, 'Car 2'),
        ((50, 1000), 0, 'DontCare -1'),  # hidden, and no point to say where
        ((0, 1000), 9, 'Car 3'),
        ((0, 1000), 0, None),
    ],
)
def test_what_the_sensors_see_of_an_object(seen, points, expected):
    rows = label_rows(make_frame([car()], points={1: points}, visible_px={1: seen}))
    assert [' '.join(np.array(row.split())[[0, 2]]) for row in rows] == ([expected] if expected else [])


def test_far_objects_without_points_become_regions_at_the_end():
    far = car(instance=1, ahead_m=75)
    rows = label_rows(make_frame([far, car(instance=2)], points={2: 5}))
    assert [row.split()[0] for row in rows] == ['Car', 'DontCare']
    region = rows[1].split()
    assert region[1:4] == ['-1', '-1', '-10'] and region[8:] == ['-1', '-1', '-1', '-1000', '-1000', '-1000', '-10']
    assert len(region) == 15 and 10 < float(region[7]) - float(region[5]) < 25


@pytest.mark.parametrize(('ahead_m', 'left_m'), [(-20, 0), (10, 25)])
def test_boxes_outside_the_picture_have_no_row(ahead_m, left_m):
    assert label_rows(make_frame([car(ahead_m=ahead_m, left_m=left_m)])) == []


def test_a_box_that_meets_the_picture_without_its_object_has_no_row():
    beside = dict(ahead_m=1.6, left_m=3.3)
    assert len(label_rows(make_frame([car(**beside)], visible_px={1: (0, 5)}))) == 1
    assert label_rows(make_frame([car(**beside)], visible_px={1: (0, 0)})) == []


def test_truncation_is_the_share_outside_the_picture():
    row = label_rows(make_frame([car(ahead_m=6, left_m=5.2, yaw=0)]))[0].split()
    assert float(row[4]) == 0.0 and 0.3 < float(row[1]) < 0.9


@pytest.mark.parametrize(
    ('surface', 'size_lwh_m', 'name'),
    [
        (SurfaceClass.CAR, (4.9, 1.9, 1.9), 'Car'),
        (SurfaceClass.CAR, (5.1, 1.9, 1.9), 'Van'),
        (SurfaceClass.CAR, (4.4, 1.9, 2.0), 'Van'),
        (SurfaceClass.BUS, (11, 2.6, 3.2), 'Misc'),
        (SurfaceClass.TRAILER, (6, 2.4, 3.0), 'Misc'),
        (SurfaceClass.MOTORCYCLIST, (2.1, 0.8, 1.7), 'Misc'),
        (SurfaceClass.BICYCLIST, (1.8, 0.6, 1.8), 'Cyclist'),
        (SurfaceClass.BICYCLE, (1.8, 0.6, 1.1), None),
        (SurfaceClass.TRAFFIC_CONE, (0.4, 0.4, 0.7), None),
        (SurfaceClass.BARRIER, (2.0, 0.5, 1.0), None),
    ],
)
def test_types(surface, size_lwh_m, name):
    rows = label_rows(make_frame([thing(surface, 15, 0, size_lwh_m)]))
    assert [row.split()[0] for row in rows] == ([name] if name else [])


@pytest.mark.parametrize(
    ('scenes', 'train', 'val', 'test'),
    [
        (1, [0], [1], [2]),
        (2, [0, 1, 2], [3, 4], [2]),
        (3, [0, 1, 2, 3, 4, 5], [6, 7], [2]),
        (4, [0, 1, 2, 3, 4, 5], [6, 7, 8], [0, 1, 2]),
        (7, list(range(12)), list(range(12, 18)), [0, 1, 2]),
    ],
)
def test_whole_scenes_go_to_one_split(tmp_path, scenes, train, val, test):
    writer = KittiWriter(tmp_path, scenes=scenes, frames=3, seed=5)
    writer.finish([[dict(labels={'Car': 2})] * 3] * scenes)
    read_ids = lambda split: [int(line) for line in (tmp_path / 'ImageSets' / f'{split}.txt').read_text().splitlines()]
    assert [read_ids(split) for split in ('train', 'val', 'trainval', 'test')] == [train, val, train + val, test]
    note = (tmp_path / 'README.txt').read_text()
    assert 'SIMULATED' in note and f'{6 * scenes} Car' in note


@pytest.mark.parametrize(('scenes', 'frames'), [(1, 2), (2, 1), (3, 1)])
def test_empty_lists_are_refused(tmp_path, scenes, frames):
    with pytest.raises(InputError, match='remedy: take 3 frames of one scene'):
        KittiWriter(tmp_path, scenes, frames, seed=0)


def test_the_test_set_has_no_labels(tmp_path):
    writer = KittiWriter(tmp_path, scenes=4, frames=2, seed=5)
    record = writer.write_frame(make_frame([car()], scene=3, index=1), scene=None)
    assert record == dict(labels={})
    files = sorted(str(path.relative_to(tmp_path)) for path in tmp_path.rglob('*.*'))
    assert files == [f'testing/{name}' for name in ('calib/000001.txt', 'image_2/000001.png', 'velodyne/000001.bin')]


def test_frames_without_objects_can_be_read(tmp_path):
    assert write(tmp_path, make_frame()) == dict(labels={})
    assert read(tmp_path)['annos']['bbox'].shape == (0, 4)


def test_writing_twice_gives_the_same_bytes(tmp_path):
    frame = make_frame(STREET, scene=1, index=1)
    contents = []
    for name in 'ab':
        (tmp_path / name).mkdir()
        write(tmp_path / name, frame, scenes=2)
        files = sorted((tmp_path / name).rglob('000005.*'))
        contents.append({path.relative_to(tmp_path / name): path.read_bytes() for path in files})
    assert contents[0] == contents[1] and len(contents[0]) == 4
