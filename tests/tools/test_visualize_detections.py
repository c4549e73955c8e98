"""tools/visualize.py detections as a user calls it: predictions on disk and a config, nothing else."""

from pathlib import Path

import numpy as np
import pytest
from mmdet3d.registry import DATASETS
from mmengine.config import Config
from PIL import Image

from cleverdistiller.evaluation.detection_predictions import write_detections
from cleverdistiller.visualization.detection_dataset import view_of
from conftest import REPO
from detection_set import OBJECTS, P2, detections_of, write_detection_set
from runs import run_script

VISUALIZE = REPO / 'tools' / 'visualize.py'


@pytest.fixture
def made(tmp_path) -> tuple[Path, Path]:
    """A config and predictions: the first frame's first car and walker, and something that is not there."""
    dataset = write_detection_set(tmp_path / 'kitti')
    path = tmp_path / 'config.py'
    Config(dict(default_scope='mmdet3d', test_dataloader=dict(dataset=dataset))).dump(path)
    (car, _), _, (walker, _), _ = OBJECTS
    nothing = (30.0, 0, -1.6, 4, 1.6, 1.5, 0)
    first = detections_of('000000', (car, 'Car', 0.9), (walker, 'Pedestrian', 0.8), (nothing, 'Car', 0.25))
    write_detections(tmp_path / 'found.npz', [first, detections_of('000010')])
    return path, tmp_path / 'found.npz'


def test_frames_are_drawn_and_told(made, tmp_path, capsys):
    out = tmp_path / 'drawn.png'
    run_script(VISUALIZE, 'detections', *made, '--frames', '000010', '000000', '--out', out)
    said = capsys.readouterr().out
    assert 'made-up kitti  frame 000000: Car 1 of 2 found, 0 false; Pedestrian 1 of 1 found, 0 false' in said
    assert said.index('000010: Car 0 of 2') < said.index('000000: Car')
    two = Image.open(out)
    run_script(VISUALIZE, 'detections', *made, '--score', 0.2, '--out', out)
    assert '000000: Car 1 of 2 found, 1 false' in capsys.readouterr().out
    assert 2 * Image.open(out).height == two.height


def test_without_the_folder_of_pictures_the_frame_is_drawn_from_above(made, tmp_path):
    with_picture, without = tmp_path / 'with.png', tmp_path / 'without.png'
    run_script(VISUALIZE, 'detections', *made, '--out', with_picture)
    prefix = 'test_dataloader.dataset.data_prefix'
    options = ('--cfg-options', f'{prefix}._delete_=True', f'{prefix}.pts=')
    run_script(VISUALIZE, 'detections', *made, '--out', without, *options)
    first, second = (np.array(Image.open(path)) for path in (with_picture, without))
    assert (first[:, :1100] == second[:, :1100]).all() and (first != second).any()


@pytest.mark.parametrize('takes_pictures', [False, True])
def test_a_frame_has_the_scored_objects_its_points_and_its_picture(tmp_path, takes_pictures):
    config = dict(write_detection_set(tmp_path), modality=dict(use_lidar=True, use_camera=takes_pictures))
    view = view_of(DATASETS.build(config), 1)
    assert view.box_names == ('Car', 'Car', 'Pedestrian')  # not the van
    expected = np.array([box for box, label in OBJECTS if label != 3])
    expected[:, 2] += expected[:, 5] / 2
    differs = view.boxes_lidar_m - expected
    differs[:, 6] = (differs[:, 6] + np.pi) % (2 * np.pi) - np.pi
    np.testing.assert_allclose(differs, 0, atol=1e-5)
    assert view.points_lidar_m.shape == (500, 3)
    [[camera]] = view.camera_rows
    assert (camera.rgb == np.array(Image.open(tmp_path / '1.png'))).all()
    point = np.array([*view.boxes_lidar_m[0, :3], 1])
    by_hand = P2[:3] @ [-point[1], -point[2], point[0], 1]
    through = camera.cam2img @ (camera.lidar2cam @ point)[:3]
    np.testing.assert_allclose(through[:2] / through[2], by_hand[:2] / by_hand[2])


@pytest.mark.parametrize(
    'options, said',
    [
        (('--frames', '000005'), 'frame 000005, which is not in the predictions'),
        (('--frames', '000010', '--cfg-options', 'test_dataloader.dataset.indices=1'), 'not in the test set'),
        (('--reach', '0'), '--reach'),
        (('--out', 'drawn.gif'), 'drawn.gif'),
        (('--cfg-options', 'test_dataloader.dataset.load_eval_anns=False'), 'without ground truth'),
        (('--cfg-options', 'test_dataloader.dataset.type=KittiDataset'), "no 'frame_id'"),
    ],
    ids=lambda value: value[0] if isinstance(value, tuple) else '',
)
def test_what_cannot_be_drawn_is_refused_with_a_remedy(made, tmp_path, capsys, monkeypatch, options, said):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as left:
        run_script(VISUALIZE, 'detections', *made, *options)
    told = capsys.readouterr().err.rpartition('error: ')[2]  # after mmengine's logger, which writes to an older stream
    assert left.value.code == 2 and said in told and 'remedy' in told and 'Traceback' not in told
    assert not list(tmp_path.glob('*.png'))


def test_a_missing_picture_is_named(made, tmp_path, capsys):
    (tmp_path / 'kitti' / '0.png').unlink()
    with pytest.raises(SystemExit):
        run_script(VISUALIZE, 'detections', *made, '--out', tmp_path / 'drawn.png')
    assert '0.png' in capsys.readouterr().err
