"""The SemanticKITTI layout, read back by hand and through mmdet3d's dataset class."""

from pathlib import Path

import mmdet3d
import numpy as np
import pytest
from mmdet3d.datasets import SemanticKittiDataset
from mmengine.config import Config

from cleverdistiller.errors import InputError
from cleverdistiller.simulation.sensors.rigs import KITTI
from cleverdistiller.simulation.surfaces import SurfaceClass
from cleverdistiller.simulation.writers.semantickitti_writer import IDS, SemanticKittiWriter, point_labels
from kitti_frames import car, driven, make_frame, thing

OFFICIAL = Config.fromfile(
    Path(mmdet3d.__file__).parent / '.mim' / 'configs' / '_base_' / 'datasets' / 'semantickitti.py'
)


def write(root, scenes, frames):
    """``frames`` of each scene: the car drives 2 m between them, past a standing and a moving car."""
    writer = SemanticKittiWriter(root, scenes, frames, seed=5)
    records = []
    for scene in range(scenes):
        records.append([])
        for index in range(frames):
            pose = driven(2 * index, yaw=0.5)
            objects = [car(ego2world=pose), car(ego2world=pose, instance=2, left_m=-4, speed_mps=9)]
            frame = make_frame(objects, points=20 + index, scene=scene, index=index, ego2world=pose, seed=scene)
            records[-1].append(writer.write_frame(frame, scene=None))
    writer.finish(records)
    return writer


def test_labels_are_class_and_instance_in_one_word(tmp_path):
    write(tmp_path, scenes=1, frames=1)
    folder = tmp_path / 'sequences' / '00'
    labels = np.fromfile(folder / 'labels' / '000000.label', '<u4')
    assert labels.tolist() == [40] * 20 + [10 | 1 << 16] * 20 + [252 | 2 << 16] * 20
    assert len(np.fromfile(folder / 'velodyne' / '000000.bin', '<f4')) == 4 * len(labels)


@pytest.mark.parametrize(
    ('surface', 'speed_mps', 'label'),
    [
        (SurfaceClass.PEDESTRIAN, 0.0, 30 | 1 << 16),
        (SurfaceClass.PEDESTRIAN, 1.2, 254 | 1 << 16),
        (SurfaceClass.PEDESTRIAN, 0.4, 30 | 1 << 16),
        (SurfaceClass.BUS, 8.0, 257 | 1 << 16),
        (SurfaceClass.BICYCLIST, 4.0, 253 | 1 << 16),
        (SurfaceClass.MOTORCYCLE, 0.0, 15 | 1 << 16),
        (SurfaceClass.TRAFFIC_CONE, 0.0, 99),
    ],
)
def test_moving_things_have_their_own_ids(surface, speed_mps, label):
    frame = make_frame([thing(surface, 15, 0, (2, 1, 1), speed_mps=speed_mps)], points={1: 3})
    assert point_labels(frame).tolist() == [label] * 3


def test_a_point_of_an_unknown_object_is_an_error():
    frame = make_frame([car()])
    frame.scan.instance[-1] = 77
    with pytest.raises(KeyError, match='77'):
        point_labels(frame)


def test_every_class_has_an_id_that_mmdet3d_knows_and_maps_alike():
    assert set(IDS) == set(SurfaceClass)
    mapping = OFFICIAL.labels_map
    for still, moving in IDS.values():
        assert mapping[still] == mapping[moving]
    names = OFFICIAL.class_names
    trained = {surface: mapping[still] for surface, (still, _) in IDS.items()}
    assert {names[trained[surface]] for surface in (SurfaceClass.ROAD, SurfaceClass.LANE_MARKING)} == {'road'}
    assert {names[trained[surface]] for surface in (SurfaceClass.CURB, SurfaceClass.SIDEWALK)} == {'sidewalk'}
    assert names[trained[SurfaceClass.TERRAIN]] == 'terrian'
    assert names[trained[SurfaceClass.PEDESTRIAN]] == 'person'
    assert set(trained.values()) == set(range(20))  # all 19 classes can occur, and what is ignored


def test_poses_take_points_of_later_frames_into_the_first_camera(tmp_path):
    write(tmp_path, scenes=1, frames=3)
    folder = tmp_path / 'sequences' / '00'
    poses = np.loadtxt(folder / 'poses.txt').reshape(-1, 3, 4)
    lines = dict(line.split(': ') for line in (folder / 'calib.txt').read_text().splitlines())
    assert list(lines) == ['P0', 'P1', 'P2', 'P3', 'Tr']
    lidar2cam = np.array(lines['Tr'].split(), float).reshape(3, 4)
    assert np.array_equal(poses[0], np.eye(4)[:3])
    assert poses[2, :, 3] == pytest.approx([0, 0, 4], abs=0.1)  # the camera looks ahead, a little upwards
    # A point of the world, seen from the first and from the last frame.
    world = np.array([230.0, 310.0, 2.0, 1.0])
    in_lidar = [np.linalg.solve(driven(2 * k, 0.5) @ KITTI.lidar.lidar2ego, world) for k in (0, 2)]
    moved = poses[2] @ np.append(lidar2cam @ in_lidar[1], 1)
    assert moved == pytest.approx(lidar2cam @ in_lidar[0], abs=1e-4)
    assert np.loadtxt(folder / 'times.txt') == pytest.approx([0, 0.1, 0.2])


def test_the_last_scene_is_the_validation_sequence(tmp_path):
    assert write(tmp_path, scenes=3, frames=1).sequences == (0, 1, 8)
    assert sorted(path.name for path in (tmp_path / 'sequences').iterdir()) == ['00', '01', '08']
    assert 'SIMULATED' in (tmp_path / 'README.txt').read_text()
    assert SemanticKittiWriter(tmp_path, 11, 1, seed=0).sequences == (0, 1, 2, 3, 4, 5, 6, 7, 9, 10, 8)


def test_twelve_scenes_are_refused(tmp_path):
    with pytest.raises(InputError, match='remedy: take 11 scenes with more frames'):
        SemanticKittiWriter(tmp_path, 12, 1, seed=0)


@pytest.mark.parametrize(('split', 'sizes'), [('train', [60, 63, 60, 63]), ('val', [60, 63])])
def test_mmdet3d_reads_it(tmp_path, split, sizes):
    write(tmp_path, scenes=3, frames=2)
    dataset = SemanticKittiDataset(
        data_root=str(tmp_path),
        ann_file=f'semantickitti_infos_{split}.pkl',
        metainfo=OFFICIAL.metainfo,
        pipeline=OFFICIAL.test_pipeline,
        ignore_index=19,
    )
    samples = [dataset[i] for i in range(len(dataset))]
    assert [len(sample['inputs']['points']) for sample in samples] == sizes
    third = sizes[1] // 3
    mask = samples[1]['data_samples'].gt_pts_seg.pts_semantic_mask
    assert mask.tolist() == [8] * third + [0] * third * 2  # road, cars that stand or move
