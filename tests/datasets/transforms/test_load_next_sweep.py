import numpy as np
import pytest
import torch
from mmcv.transforms import Compose
from mmdet3d.registry import DATASETS

from cleverdistiller.datasets.transforms import AugmentScan, LoadLiDARSweep, LoadNextSweep
from cleverdistiller.errors import InputError
from cleverdistiller.ops.temporal_pairs import is_ground
from conftest import make_sweep, small_dataset
from temporal_frames import order_of, temporal_pipeline, write_temporal_frames


@pytest.fixture(scope='module')
def frames(tmp_path_factory):
    return write_temporal_frames(tmp_path_factory.mktemp('frames'))


def load(sweep, next_sweep, next2lidar=None, **options) -> dict:
    following = dict(
        lidar_points=dict(lidar_path=str(next_sweep)), next2lidar=np.eye(4) if next2lidar is None else next2lidar
    )
    results = dict(lidar_points=dict(lidar_path=str(sweep)), next_frame=following)
    return LoadNextSweep(**options)(LoadLiDARSweep()(results))


def test_without_motion_every_point_above_ground_pairs_with_itself(frames):
    results = load(frames / '0.bin', frames / '0.bin')
    above = torch.nonzero(~is_ground(results['points'].tensor, 1.0, 0.3))[:, 0]
    assert len(above) > 500
    assert torch.equal(results['temporal_pairs'], torch.stack([above, above], 1))
    assert torch.equal(results['next_points'].tensor, results['points'].tensor)


def test_a_still_world_seen_from_a_moving_car_pairs_with_itself(frames):
    dataset = DATASETS.build(small_dataset(frames, with_next_frame=True))
    results = Compose([dict(type='LoadLiDARSweep'), dict(type='LoadNextSweep')])(dataset.get_data_info(3))
    points, next_points = results['points'].tensor, results['next_points'].tensor
    assert torch.equal(next_points, LoadLiDARSweep()(dataset.get_data_info(2))['points'].tensor)
    of_point, of_next = torch.from_numpy(order_of(3)), torch.from_numpy(order_of(2))  # the same thing in the yard
    above, next_above = (
        set(order[~is_ground(cloud, 1.0, 0.3)].tolist())
        for cloud, order in ((points, of_point), (next_points, of_next))
    )
    pairs = results['temporal_pairs']
    same = of_point[pairs[:, 0]] == of_next[pairs[:, 1]]
    assert set(of_point[pairs[same, 0]].tolist()) == above & next_above
    assert same.float().mean() > 0.99  # others: a neighbour, where the thing itself was ground in one of the frames


def test_what_moved_and_ground_are_left_out(tmp_path):
    sweep = make_sweep(0)
    cube = np.zeros((27, 5), np.float32)
    cube[:, :3] = np.array([5, 0, 0]) + np.stack(np.meshgrid(*[[0, 0.3, 0.6]] * 3), -1).reshape(-1, 3)
    moved_cube = cube + np.float32([0, 0.15, 0, 0, 0])
    np.concatenate([sweep, cube]).tofile(tmp_path / 'a.bin')
    np.concatenate([sweep, moved_cube]).tofile(tmp_path / 'b.bin')
    paired = load(tmp_path / 'a.bin', tmp_path / 'b.bin')['temporal_pairs'][:, 0]
    assert paired.max() < len(sweep) and not set(paired.tolist()) & set(np.flatnonzero(sweep[:, 2] < -1.7).tolist())
    nearer = load(tmp_path / 'a.bin', tmp_path / 'b.bin', max_distance_m=0.2)['temporal_pairs'][:, 0]
    assert (nearer >= len(sweep)).any()


def test_the_last_frame_of_a_scene_has_no_pairs(frames):
    dataset = DATASETS.build(small_dataset(frames, with_next_frame=True, pipeline=temporal_pipeline()))
    inputs = dataset[0]['inputs']
    assert inputs['next_points'].shape == (0, 4) and inputs['temporal_pairs'].shape == (0, 2)
    inputs = dataset[3]['inputs']
    assert len(inputs['next_points']) == len(make_sweep(0)) and len(inputs['temporal_pairs']) > 500


def test_both_sweeps_move_alike_and_jitter_apart(frames):
    results = load(frames / '0.bin', frames / '0.bin')
    raw = results['points'].tensor.clone()
    results = AugmentScan(rotate_prob=1.0)(results)
    matrix = torch.from_numpy(results['lidar_aug_matrix'][:3, :3]).float()
    shifts = [results[key].tensor[:, :3] - raw[:, :3] @ matrix.T for key in ('points', 'next_points')]
    for shift in shifts:
        assert 0.004 < shift.std() < 0.006 and shift.abs().max() < 0.0201
    assert abs(float(torch.corrcoef(torch.stack([shift.flatten() for shift in shifts]))[0, 1])) < 0.05
    assert torch.equal(results['next_points'].tensor[:, 3], raw[:, 3])


def test_a_next_sweep_does_not_change_how_this_one_is_augmented(frames):
    def augmented(pipeline) -> torch.Tensor:
        dataset = DATASETS.build(small_dataset(frames, with_next_frame=True, pipeline=pipeline))
        return dataset[3]['inputs']['points']

    whole = temporal_pipeline()
    assert torch.equal(augmented(whole), augmented([step for step in whole if step['type'] != 'LoadNextSweep']))


def test_a_dataset_that_tells_no_next_frame_is_refused(frames):
    dataset = DATASETS.build(small_dataset(frames, pipeline=temporal_pipeline()))
    with pytest.raises(InputError, match='with_next_frame=True'):
        dataset[0]


def test_an_unreadable_next_sweep_is_named(tmp_path, frames):
    with pytest.raises(InputError, match=r'gone\.bin'):
        load(frames / '0.bin', tmp_path / 'gone.bin')
