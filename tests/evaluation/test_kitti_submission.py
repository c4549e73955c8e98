"""What KITTI's test server gets."""

import zipfile

import numpy as np
import pytest
import torch
from mmdet3d.structures import Box3DMode, CameraInstance3DBoxes
from predicted_boxes import CLASSES, detected, random_boxes, record_of, write_info_file
from predicted_frames import evaluate

from cleverdistiller.datasets.kitti_files import read_calibration
from cleverdistiller.errors import InputError
from cleverdistiller.evaluation import KittiSubmission
from cleverdistiller.visualization.readers.files import square
from conftest import REAL_DATA


def test_files_are_named_after_the_frames_and_lie_in_the_archive_s_root(tmp_path):
    unlabelled = [{**record_of(frame), 'instances': []} for frame in (3, 1200, 7)]
    infos = write_info_file(tmp_path / 'infos.pkl', unlabelled)
    labels = np.array([2, 1, 0])
    frames = [detected('001200', random_boxes(3, labels), labels, [0.5, 0.25, 0.1234567]), detected('000003')]
    numbers = evaluate(KittiSubmission(str(infos), str(tmp_path / 'mine')), frames, CLASSES)
    assert numbers == {'submission/files': 2}
    with zipfile.ZipFile(tmp_path / 'mine.zip') as archive:
        assert archive.namelist() == ['000003.txt', '001200.txt']
        assert archive.read('000003.txt') == b''
        rows = [line.split() for line in archive.read('001200.txt').decode().splitlines()]
    assert [row[0] for row in rows] == ['Car', 'Cyclist', 'Pedestrian'] and {len(row) for row in rows} == {16}
    assert [row[15] for row in rows] == ['0.500000', '0.250000', '0.123457']
    with pytest.raises(InputError, match=r"'000004', which is not in (.|\n)*000003, 001200"):
        evaluate(KittiSubmission(str(infos), str(tmp_path / 'mine')), [detected('000004')], CLASSES)


@pytest.mark.parametrize('number', range(3))
def test_real_labels_taken_to_the_lidar_come_back_as_they_were(tmp_path, number):
    root = REAL_DATA / 'kitti_object' / 'training'
    if not root.is_dir():
        pytest.skip(f'no real frames in {root}: set CLEVERDISTILLER_REAL_DATA')
    lines = (root / 'label_2' / f'{number:06d}.txt').read_text().splitlines()
    labels = [line.split() for line in lines if not line.startswith('DontCare')]
    wanted = np.array([label[1:] for label in labels], float)
    calibration = read_calibration(root / 'calib' / f'{number:06d}.txt')
    lidar2cam = square(calibration['R0_rect']) @ square(calibration['Tr_velo_to_cam'])
    record = record_of(number)
    record['images']['CAM2'].update(lidar2cam=lidar2cam, cam2img=square(calibration['P2']))
    infos = write_info_file(tmp_path / 'infos.pkl', [record])

    boxes_cam = CameraInstance3DBoxes(torch.tensor(wanted[:, [10, 11, 12, 9, 7, 8, 13]]))
    boxes = boxes_cam.convert_to(Box3DMode.LIDAR, np.linalg.inv(lidar2cam)).tensor.numpy()
    kinds = tuple(label[0] for label in labels)
    submission = KittiSubmission(str(infos), str(tmp_path / 'out'), range_m=None)
    evaluate(submission, [detected(f'{number:06d}', boxes, range(len(kinds)), np.ones(len(kinds)))], kinds)
    rows = [line.split() for line in (tmp_path / 'out' / f'{number:06d}.txt').read_text().splitlines()]
    assert [row[0] for row in rows] == list(kinds)
    written = np.array([row[1:15] for row in rows], float)
    np.testing.assert_allclose(written[:, 7:], wanted[:, 7:], atol=2e-4)
    np.testing.assert_allclose(written[:, 2], wanted[:, 2], atol=0.02)  # labels have two digits
    np.testing.assert_allclose(written[:, 3:7], wanted[:, 3:7], atol=12)  # drawn by hand
