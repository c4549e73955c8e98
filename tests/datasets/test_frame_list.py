"""Frame lists: what is written is read, and nothing but the training set they were made for accepts them."""

import dataclasses
import json
from pathlib import Path

import pytest

from cleverdistiller.datasets.frame_list import FrameList, fingerprint
from cleverdistiller.errors import InputError
from conftest import REPO

IDS = [f'{sequence:02d}/{frame:06d}' for sequence in (3, 1) for frame in range(4)]
LIST = FrameList('semantickitti', 'uniform', 2, '25', len(IDS), fingerprint(IDS), ('01/000002', '03/000001'))
EDITED = dataclasses.replace(LIST, frames=('01/000002', '99/000000'))  # by hand: the fingerprint is still right


def test_it_comes_back_as_written_with_one_frame_a_line(tmp_path):
    path = tmp_path / 'splits' / 'list.json'
    LIST.write(path)
    assert FrameList.read(path) == LIST
    assert '  "01/000002",\n' in path.read_text() and path.read_text().endswith('}\n')


def test_it_is_called_after_its_rule():
    assert LIST.name == 'uniform2_25'
    assert dataclasses.replace(LIST, mode='stride', seed=0, percent='0.5').name == 'stride_0.5'


def test_rows_point_at_the_frames_in_the_order_of_the_training_set():
    assert LIST.rows('semantickitti', IDS, 'infos.pkl') == [1, 6]
    assert LIST.rows('semantickitti', IDS[::-1], 'infos.pkl') == [1, 6]
    assert LIST.rows('semantickitti', sorted(IDS), 'infos.pkl') == [2, 5]


def test_the_fingerprint_is_of_the_frames_and_not_of_their_order():
    assert fingerprint(IDS) == fingerprint(sorted(IDS))
    others = [IDS[:-1], [*IDS[:-1], '01/000009'], [IDS[0] + IDS[1], *IDS[2:]]]
    assert len({fingerprint(ids) for ids in (IDS, *others)}) == 4


@pytest.mark.parametrize(
    'frame_list, dataset, ids, said',
    [
        (LIST, 'scribblekitti', IDS, 'of semantickitti for scribblekitti'),
        (LIST, 'semantickitti', IDS[:-1], 'of a training set of 8 frames for one of 7'),
        (LIST, 'semantickitti', [*IDS[:6], '01/000012', IDS[7]], 'of other frames, such as 01/000002'),
        (LIST, 'semantickitti', [*IDS[:-1], '01/000009'], 'of a training set with other frames'),
        # Edited by hand: the training set is right, a frame is not in it.
        (
            dataclasses.replace(LIST, frames=('01/000002', '99/000000')),
            'semantickitti',
            IDS,
            'of other frames, such as 99/000000',
        ),
    ],
)
def test_another_training_set_is_refused(frame_list, dataset, ids, said):
    with pytest.raises(InputError, match=f'uniform2_25 {said}') as refused:
        frame_list.rows(dataset, ids, 'infos.pkl')
    assert 'tools/splits.py infos.pkl' in str(refused.value)


@pytest.mark.parametrize(
    'change, said',
    [
        (dict(frames=[]), 'without frames'),
        (dict(frames=['01/000002', '01/000002']), 'come twice'),
        (dict(frames=[2, 5]), 'no name'),
        (dict(frames=None), 'cannot be read'),
        (dict(colour='red'), 'cannot be read'),
    ],
)
def test_a_damaged_list_is_refused(tmp_path, change, said):
    path = tmp_path / 'list.json'
    path.write_text(json.dumps({**json.loads(LIST.to_json()), **change}))
    with pytest.raises(InputError, match=rf'list\.json.*{said}') as refused:
        FrameList.read(path)
    assert 'make it again' in str(refused.value)


@pytest.mark.parametrize('content', ['', '[]', 'null', '{}', LIST.to_json()[:-20], '\0\0', b'\xff\xfe'])
def test_a_file_of_something_else_is_refused(tmp_path, content):
    path = tmp_path / 'list.json'
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(InputError, match=r'list\.json, which cannot be read'):
        FrameList.read(path)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(InputError, match=r'none\.json, which is not a file'):
        FrameList.read(tmp_path / 'none.json')
    with pytest.raises(InputError, match=rf'none\.json, .* not a file in {Path.cwd()}, nor one shipped in {REPO}'):
        FrameList.read('configs/splits/none.json')


SHIPPED = sorted(path.relative_to(REPO) for path in (REPO / 'configs' / 'splits').rglob('*.json'))


def test_a_shipped_list_is_found_from_any_directory(tmp_path, monkeypatch):
    assert len(SHIPPED) > 10
    monkeypatch.chdir(tmp_path)
    for path in SHIPPED:
        assert FrameList.read(str(path)) == FrameList.read(REPO / path)


def test_a_list_of_the_same_name_in_the_working_directory_comes_first(tmp_path, monkeypatch):
    LIST.write(tmp_path / SHIPPED[0])
    monkeypatch.chdir(tmp_path)
    assert FrameList.read(SHIPPED[0]) == LIST
