"""Detections come back from disk as they were, and what is no such file is told."""

import dataclasses

import numpy as np
import pytest

from cleverdistiller.errors import InputError
from cleverdistiller.evaluation.detection_predictions import FrameDetections, read_detections, write_detections


def detections(frame_id: str, count: int) -> FrameDetections:
    rng = np.random.default_rng(count)
    names = rng.choice(['Pedestrian', 'Cyclist', 'Car'], count)
    return FrameDetections(frame_id, *(rng.normal(size=shape).astype('f4') for shape in ((count, 7), count)), names)


@pytest.mark.parametrize('counts', [(), (0,), (3,), (0, 2, 0, 5, 0)])
def test_what_is_read_is_what_was_written(tmp_path, counts):
    frames = [detections(f'segment/{row}', count) for row, count in enumerate(counts)]
    write_detections(tmp_path / 'found.npz', frames)
    found = read_detections(tmp_path / 'found.npz')
    assert list(found) == [frame.frame_id for frame in frames]
    for frame in frames:
        for field in dataclasses.fields(frame):
            there, here = (getattr(each, field.name) for each in (found[frame.frame_id], frame))
            np.testing.assert_array_equal(there, here)
        read = found[frame.frame_id]
        assert (read.boxes_lidar.dtype, read.scores.dtype, read.names.dtype.kind) == (np.float32, np.float32, 'U')


def test_a_frame_without_boxes_may_have_names_of_any_type(tmp_path):
    write_detections(tmp_path / 'found.npz', [FrameDetections('0', np.zeros((0, 7)), np.zeros(0), np.array([]))])
    assert read_detections(tmp_path / 'found.npz')['0'].names.dtype.kind == 'U'


@pytest.mark.parametrize(
    'changes', [dict(scores=np.zeros(2)), dict(names=np.array('Car')), dict(boxes_lidar=np.zeros(7))]
)
def test_arrays_that_do_not_fit_together_are_refused(changes):
    with pytest.raises(InputError, match='detections in frame 7: boxes'):
        dataclasses.replace(detections('7', 3), **changes)


def test_numbers_that_are_none_are_refused():
    with pytest.raises(InputError, match='frame 7 that are NaN or infinite'):
        dataclasses.replace(detections('7', 2), scores=np.array([0.5, np.nan]))


def test_a_frame_that_comes_twice_is_refused_and_nothing_written(tmp_path):
    with pytest.raises(InputError, match='frame b twice'):
        write_detections(tmp_path / 'found.npz', [detections(name, 1) for name in 'abcb'])
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize('kind', ['missing', 'truncated', 'text', 'other arrays', 'counts of other boxes', 'pickled'])
def test_what_is_no_file_of_detections_is_named(tmp_path, kind):
    path = tmp_path / 'found.npz'
    write_detections(path, [detections('0', 3), detections('1', 2)])
    arrays = dict(np.load(path))
    if kind == 'missing':
        path.unlink()
    elif kind == 'truncated':
        path.write_bytes(path.read_bytes()[:300])
    elif kind == 'text':
        path.write_text('{}')
    elif kind == 'other arrays':
        np.savez(path, scores=np.zeros(3))
    elif kind == 'counts of other boxes':
        np.savez(path, **{**arrays, 'scores': arrays['scores'][:4]})
    elif kind == 'pickled':
        np.savez(path, **{**arrays, 'names': arrays['names'].astype(object)})
    with pytest.raises(InputError, match=r'found\.npz') as error:
        read_detections(path)
    assert 'predictions_file' in str(error.value)
