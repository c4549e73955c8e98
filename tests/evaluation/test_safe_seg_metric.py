import json
import math
import zipfile

import numpy as np
import pytest
import torch.distributed as dist
import torch.multiprocessing as mp
from mmdet3d.evaluation import SegMetric
from mmengine.logging import MMLogger
from predicted_frames import disturbed, evaluate, predicted

from cleverdistiller.errors import InputError
from cleverdistiller.evaluation import SafeSegMetric, SemanticKittiSegSubmission
from test_distributed import free_port

CLASSES = ('car', 'bus', 'road', 'tree')
K = len(CLASSES)


def frames(count: int = 3) -> list:
    """With ignored points; there is no bus."""
    np.random.seed(7)
    truths = [np.random.choice([0, 2, 3, K], 200 + i) for i in range(count)]
    return [predicted(disturbed(truth, [0, 2, 3]), truth, frame_id=f'08/{i:06d}') for i, truth in enumerate(truths)]


def test_equals_mmdet3d_s_metric():
    scans = frames()
    ours = evaluate(SafeSegMetric(), scans, CLASSES)
    theirs = SegMetric()
    theirs.dataset_meta = dict(label2cat=dict(enumerate(CLASSES)), ignore_index=K)
    theirs.process({}, [scan.to_dict() for scan in scans])
    expected = theirs.evaluate(3)
    names = {'miou': 'miou', 'acc': 'accuracy', 'acc_cls': 'mean_accuracy', **{name: f'iou/{name}' for name in CLASSES}}
    assert ours == {f'seg/{names[key]}': pytest.approx(value, nan_ok=True) for key, value in expected.items()}
    assert math.isnan(ours['seg/iou/bus'])


def test_absent_classes_as_zero():
    skipped, zero = (evaluate(SafeSegMetric(absent=absent), frames(), CLASSES) for absent in ('skip', 'zero'))
    assert zero['seg/iou/bus'] == 0 and zero['seg/miou'] == pytest.approx(skipped['seg/miou'] * 3 / 4)
    with pytest.raises(InputError, match='absent'):
        SafeSegMetric(absent='nan')


def test_keeps_one_matrix_and_starts_anew():
    metric, scans = SafeSegMetric(), frames()
    first = evaluate(metric, scans, CLASSES)
    assert metric.results == [] and metric.confusion is not None
    evaluate(metric, scans[:1], CLASSES)
    assert evaluate(metric, scans, CLASSES) == pytest.approx(first, nan_ok=True)
    for scan in scans:
        metric.process({}, [scan.to_dict()])
    assert metric.results == [] and metric.confusion.shape == (K, K)


def test_prints_every_class(tmp_path):
    MMLogger.get_instance('table', log_file=str(tmp_path / 'log'))
    truth = np.array([0, 0, 0, 2, K])
    evaluate(SafeSegMetric(), [predicted(np.array([0, 0, 2, 2, 0]), truth)], CLASSES)
    rows = [line.split() for line in (tmp_path / 'log').read_text().splitlines()]
    assert ['car', '66.67', '3'] in rows and ['bus', '-', '0'] in rows and ['mean', '58.33', '4'] in rows


def test_a_frame_that_does_not_fit_its_labels_is_named():
    truth = np.zeros(5, int)
    for prediction, complaint in ((np.zeros(4, int), '4 predictions for 5 labels'), (np.full(5, K), 'from 4 to 4')):
        with pytest.raises(InputError, match=f'08/000007 .*{complaint}'):
            evaluate(SafeSegMetric(), [predicted(prediction, truth, frame_id='08/000007')], CLASSES)


def test_no_labels_and_counted_twice_are_told():
    with pytest.raises(InputError, match=r'scan\.bin.* without labels'):
        evaluate(SafeSegMetric(), [predicted(np.zeros(5, int), lidar_path='scan.bin')], CLASSES)
    with pytest.raises(InputError, match='without one labelled point'):
        evaluate(SafeSegMetric(), [predicted(np.zeros(5, int), np.full(5, K))], CLASSES)
    metric = SafeSegMetric()
    with pytest.raises(InputError, match=r'3 scored frames of a set of 2(.|\n)*round_up=False'):
        evaluate(metric, frames(), CLASSES, size=2)
    assert metric.frames == 0


def rank(number: int, port: int, out) -> None:
    dist.init_process_group('gloo', f'tcp://127.0.0.1:{port}', rank=number, world_size=2)
    submission = SemanticKittiSegSubmission(str(out / 'kitti'), collect_dir=str(out / 'parts'))
    numbers = evaluate([SafeSegMetric(), submission], frames()[number::2], CLASSES, size=3)
    (out / f'{number}.json').write_text(json.dumps(numbers))
    nothing = frames(1) if number else []  # a rank may have no frame at all
    evaluate(SafeSegMetric(), nothing, CLASSES, size=1)
    # No destroy_process_group: torch 2.1's waits, holding the interpreter's lock, for a thread that may want that lock.
    dist.barrier()


def test_two_ranks_give_the_scores_of_one(tmp_path):
    # Forked: each rank of mp.spawn would import everything anew.
    mp.start_processes(rank, (free_port(), tmp_path), nprocs=2, start_method='fork')
    expected = {**evaluate(SafeSegMetric(), frames(), CLASSES), 'submission/files': 3}
    for number in range(2):
        found = json.loads((tmp_path / f'{number}.json').read_text())
        assert found == pytest.approx(expected, nan_ok=True)
    with zipfile.ZipFile(tmp_path / 'kitti.zip') as archive:
        assert archive.namelist() == [f'sequences/08/predictions/00000{i}.label' for i in range(3)]
