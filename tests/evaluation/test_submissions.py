"""What is written for the test servers, read and scored by others' definitions."""

import json
import math
import zipfile
from itertools import cycle

import numpy as np
import pytest
from nuscenes import NuScenes
from nuscenes.eval.lidarseg.evaluate import LidarSegEval
from nuscenes.eval.lidarseg.validate_submission import validate_submission
from predicted_frames import disturbed, evaluate, predicted

from cleverdistiller.datasets.label_set import NUSCENES, SEMANTIC_KITTI
from cleverdistiller.errors import InputError
from cleverdistiller.evaluation import NuScenesSegSubmission, SafeSegMetric, SemanticKittiSegSubmission
from cleverdistiller.simulation.writers.nuscenes_labels import CATEGORIES
from nuscenes_root import write_nuscenes_root

EVERY = range(16)
# Raw ids that fill the scans in turn, and the classes that are predicted.
CASES = dict(
    every_category=([range(32)], EVERY),
    ignored_alone_in_a_frame=([[0, 1, 31], [17, 24]], EVERY),
    absent_classes=([[17, 24, 31], [17, 30]], [3, 10, 15]),
    predicted_but_absent=([[17, 24], [24]], [3, 7, 10]),
    there_but_never_predicted=([[17, 24, 28], [9]], [3]),
    single_class_frames=([[24], [30]], [10, 15]),
    single_class=([[24]], [10]),
)
ABSENT = dict(absent_classes=13, predicted_but_absent=13, there_but_never_predicted=12, single_class=15)


@pytest.fixture(scope='module')
def nusc(tmp_path_factory) -> NuScenes:
    root = write_nuscenes_root(tmp_path_factory.mktemp('nuscenes'), lidarseg=True)
    # The devkit wants all 32 categories, and both scenes of mini_val.
    categories = [dict(token=name, name=name, description='', index=index) for index, name in enumerate(CATEGORIES)]
    (root / 'v1.0-mini' / 'category.json').write_text(json.dumps(categories))
    scenes = root / 'v1.0-mini' / 'scene.json'
    scenes.write_text(scenes.read_text().replace('"name": "scene-0061"', '"name": "scene-0916"'))
    return NuScenes('v1.0-mini', str(root), verbose=False)


def mask_files(nusc: NuScenes) -> dict[str, str]:
    """Sweep's token to its label file."""
    return {row['sample_data_token']: f'{nusc.dataroot}/{row["filename"]}' for row in nusc.lidarseg}


@pytest.mark.parametrize('case', CASES)
def test_nuscenes_devkit_gives_the_same_scores_from_our_files(tmp_path, nusc, case):
    raw_ids, classes = CASES[case]
    frames = []
    for (token, path), ids in zip(mask_files(nusc).items(), cycle(raw_ids)):
        raw = np.random.choice(ids, np.fromfile(path, np.uint8).size).astype(np.uint8)
        raw.tofile(path)
        truth = NUSCENES.decode(raw)
        frames.append(predicted(disturbed(truth, list(classes)), truth, sample_data_token=token))
    out = tmp_path / 'submission'
    metrics = [SafeSegMetric(), NuScenesSegSubmission(str(out), 'mini_val')]
    ours = evaluate(metrics, frames, NUSCENES.names)

    validate_submission(nusc, str(out), 'mini_val')
    theirs = LidarSegEval(nusc, str(out), 'mini_val').evaluate()
    assert ours['seg/miou'] == pytest.approx(theirs['miou'], abs=1e-6)
    for name in NUSCENES.names:
        assert ours[f'seg/iou/{name}'] == pytest.approx(theirs['iou_per_class'][name], abs=1e-6, nan_ok=True), name
    if case in ABSENT:
        assert sum(math.isnan(ours[f'seg/iou/{name}']) for name in NUSCENES.names) == ABSENT[case]


def test_the_archive_holds_this_run_s_files_alone(tmp_path):
    frames = [predicted(np.arange(16), sample_data_token=token) for token in 'ab']
    evaluate(NuScenesSegSubmission(str(tmp_path / 'mine'), 'val'), frames, NUSCENES.names)
    numbers = evaluate(NuScenesSegSubmission(str(tmp_path / 'mine'), 'test', use_map=True), frames, NUSCENES.names)
    assert numbers == {'submission/files': 2}
    with zipfile.ZipFile(tmp_path / 'mine.zip') as archive:
        masks = [f'lidarseg/test/{token}_lidarseg.bin' for token in 'ab']
        assert sorted(archive.namelist()) == [*masks, 'test/submission.json']
        assert archive.read(masks[0]) == bytes(range(1, 17))
        meta = json.loads(archive.read('test/submission.json'))['meta']
    assert {name for name, used in meta.items() if used} == {'use_lidar', 'use_map', 'use_external'}
    evaluate(NuScenesSegSubmission(str(tmp_path / 'loose'), zip=False), frames, NUSCENES.names)
    assert (tmp_path / 'loose').is_dir() and not (tmp_path / 'loose.zip').exists()


# semantic-kitti.yaml: its training ids 1..19 as raw ids.
KITTI_IDS = (10, 11, 15, 18, 20, 30, 31, 32, 40, 44, 48, 49, 50, 51, 70, 71, 72, 80, 81)


def kitti_definition(truths: list[np.ndarray], predictions: list[np.ndarray]) -> tuple[float, np.ndarray]:
    """np_ioueval as SemanticKITTI publishes its method: 20 classes, 0 is ignored; raw ids of both sides."""
    confusion = np.zeros((20, 20))  # a row for each predicted class
    number = {0: 0, **{raw: i for i, raw in enumerate(KITTI_IDS, start=1)}}
    for truth, prediction in zip(truths, predictions):
        for true, predicted_id in zip(truth, prediction):
            confusion[number[predicted_id], number[true]] += 1
    confusion[:, 0] = 0
    hits = np.diag(confusion)
    iou = hits / (confusion.sum(0) + confusion.sum(1) - hits + 1e-15)
    return iou[1:].mean(), iou[1:]


@pytest.mark.parametrize(
    ('raw_ids', 'classes'),
    [
        ([(0, *KITTI_IDS)] * 2, range(19)),  # all classes, ignored points
        ([(0,), (10, 40, 0)], range(19)),  # a frame without labels, absent classes that are predicted
        ([(40,), (10, 40)], [0, 8]),  # absent classes, a single-class frame
    ],
)
def test_semantic_kitti_s_definition_gives_the_same_scores_from_our_files(tmp_path, raw_ids, classes):
    raw = [np.random.choice(ids, 300) for ids in raw_ids]
    truths = [SEMANTIC_KITTI.decode(ids) for ids in raw]
    frames = [
        predicted(disturbed(truth, list(classes)), truth, frame_id=f'08/{i:06d}') for i, truth in enumerate(truths)
    ]
    metrics = [SafeSegMetric(absent='zero'), SemanticKittiSegSubmission(str(tmp_path / 'kitti'))]
    ours = evaluate(metrics, frames, SEMANTIC_KITTI.names)

    with zipfile.ZipFile(tmp_path / 'kitti.zip') as archive:
        names = [f'sequences/08/predictions/{i:06d}.label' for i in range(2)]
        assert archive.namelist() == names
        written = [np.frombuffer(archive.read(name), np.uint32) for name in names]
    miou, iou = kitti_definition(raw, written)
    assert ours['seg/miou'] == pytest.approx(miou, abs=1e-6)
    assert [ours[f'seg/iou/{name}'] for name in SEMANTIC_KITTI.names] == pytest.approx(list(iou), abs=1e-6)


@pytest.mark.parametrize(
    ('metric', 'meta', 'complaint'),
    [
        (NuScenesSegSubmission, dict(sample_data_token=None), r'scan\.bin(.|\n)*prepare_nuscenes'),
        (NuScenesSegSubmission, {}, 'sample_data_token'),
        (SemanticKittiSegSubmission, dict(frame_id='fog/000001'), r'scan\.bin with the frame id fog'),
        (SemanticKittiSegSubmission, {}, 'frame id None'),
    ],
)
def test_frames_without_their_name_are_refused(tmp_path, metric, meta, complaint):
    with pytest.raises(InputError, match=complaint):
        evaluate(metric(str(tmp_path)), [predicted(np.zeros(3, int), lidar_path='scan.bin', **meta)], ())


@pytest.mark.parametrize('wrong', [-1, 16])
def test_predictions_of_another_dataset_are_refused(tmp_path, wrong):
    frame = predicted(np.array([0, wrong]), lidar_path='scan.bin', sample_data_token='a')
    with pytest.raises(InputError, match=rf'{wrong}.* for scan\.bin'):
        evaluate(NuScenesSegSubmission(str(tmp_path)), [frame], NUSCENES.names)
    assert list(tmp_path.rglob('*.bin')) == []
