"""What KITTI's lists, labels and calibrations may look like."""

import re

import pytest

from cleverdistiller.datasets.frame_list import FrameList, fingerprint
from cleverdistiller.datasets.kitti_files import MATRICES, file_fault, read_calibration, read_labels, read_splits
from cleverdistiller.errors import InputError
from conftest import REAL_DATA, REPO
from kitti_root import DONT_CARE

LISTS = REPO / 'configs' / 'splits' / 'kitti'
CAR = 'Car 0.00 0 1.85 387.63 181.54 423.81 203.12 1.67 1.87 3.69 -16.53 2.39 58.49 1.57'
CALIBRATION = [f'P{camera}: 700 0 620 {camera} 0 700 187 0.2 0 0 1 0.003' for camera in range(4)] + [
    'R0_rect: 1 0 0 0 1 0 0 0 1',
    'Tr_velo_to_cam: 0 -1 0 0 0 0 -1 -0.08 1 0 0 -0.27',
    'Tr_imu_to_velo:' + ' 0' * 12,  # nothing reads it
]


@pytest.mark.parametrize(
    'rows, fault',
    [
        ([CAR.replace('1.57', 'inf')], 'row 1, a Car, has a value that is NaN, infinite or no number'),
        ([CAR, CAR.replace('58.49', 'far')], 'row 2, a Car, has a value'),
        ([CAR.replace('Car', 'Lorry')], 'row 1 is of the unknown class Lorry'),
        ([CAR + ' 0.9'], 'row 1 has 16 columns'),
        ([CAR, '', CAR.replace(' 0 ', '  ')], 'row 3 has 14 columns'),
        ([CAR.replace('1.67', '-1')], 'a size that is zero or negative'),
        ([CAR.replace('3.69', '0.00')], 'a size that is zero or negative'),
        ([CAR.replace('3.69', '3690')], 'a size of 3690 instead of metres'),
        ([CAR.replace('58.49', '4.9e6')], 'a place 4.9e\\+06 m from the camera'),
        ([CAR.replace('58.49 1.57', '58.49 270')], 'the rotation 270, which is no angle'),
        ([CAR.replace('1.85', '106')], 'alpha 106, which is no angle'),
        ([CAR.replace(' 0 ', ' 0.5 ')], 'the occlusion 0.5 instead of'),
        ([CAR.replace(' 0 ', ' 80 ')], 'the occlusion 80 instead of'),
        ([CAR.replace('0.00', '30.0')], 'the truncation 30 instead of'),
        ([CAR.replace('387.63 181.54 423.81', '423.81 181.54 387.63')], 'a box in the image whose right'),
    ],
)
def test_what_no_label_can_say_is_refused_by_file_and_row(tmp_path, rows, fault):
    path = tmp_path / 'label_2' / '000001.txt'
    path.parent.mkdir()
    path.write_text(''.join(f'{row}\n' for row in rows))
    with pytest.raises(InputError, match=rf'000001\.txt, (.|\n)*{fault}(.|\n)*remedy'):
        read_labels(path)
    assert re.search(fault, file_fault(path))


@pytest.mark.parametrize(
    'change',
    [
        lambda text: text,
        lambda text: text.replace(' ', '  '),
        lambda text: text.replace(' ', '\t'),
        lambda text: '\n \n' + text.replace('\n', '\n\n'),
        lambda text: text.replace('\n', ' \r\n'),
        lambda text: '\ufeff' + text,
        lambda text: text.replace('Car 0.00 0 ', 'Car 0 0.0 '),
        lambda text: text.replace('58.49', '5.849e+01'),
        lambda text: text.replace('Car', 'car').replace('DontCare', 'DONTCARE'),
        lambda text: text.rstrip('\n'),
        lambda text: ''.join(sorted(text.splitlines(keepends=True), reverse=True)),  # regions first
    ],
)
def test_labels_are_read_as_tolerantly_as_the_benchmark_does(tmp_path, change):
    path = tmp_path / 'label_2' / '000001.txt'
    path.parent.mkdir()
    path.write_bytes(change(f'{CAR}\n{DONT_CARE}\n').encode())
    assert file_fault(path) is None
    found = read_labels(path)
    assert found.name.tolist() == ['Car', 'DontCare'] and found.is_object.tolist() == [True, False]
    assert found.occluded.tolist() == [0, -1] and found.occluded.dtype.kind == 'i'
    numbers = [float(number) for number in CAR.split()[1:]]
    row = [found.truncated[0], found.occluded[0], found.alpha[0], *found.box_px[0], *found.size_hwl_m[0]]
    assert [*row, *found.bottom_cam_m[0], found.rotation_y[0]] == numbers


def test_a_frame_without_objects_has_an_empty_file(tmp_path):
    (tmp_path / 'label_2').mkdir()
    path = tmp_path / 'label_2' / '000001.txt'
    path.write_text('\n')
    assert len(read_labels(path).name) == 0 and read_labels(path).size_hwl_m.shape == (0, 3)
    path.unlink()
    with pytest.raises(InputError, match=r'no .*000001\.txt'):
        read_labels(path)
    assert file_fault(path) == 'missing'


@pytest.mark.parametrize(
    'change, fault',
    [
        (lambda rows: rows[:4], 'without R0_rect, Tr_velo_to_cam, Tr_imu_to_velo'),
        (lambda rows: [*rows[:5], rows[5][:-4], rows[6]], 'Tr_velo_to_cam is not 12 finite numbers'),
        (lambda rows: [*rows[:5], rows[5] + ' 1', rows[6]], 'Tr_velo_to_cam is not 12 finite numbers'),
        (lambda rows: [rows[0].replace('700', 'nan', 1), *rows[1:]], 'P0 is not 12 finite numbers'),
        (lambda rows: [*rows, rows[2]], 'P2 comes twice'),
        (lambda rows: [*rows[:5], 'Tr_velo_to_cam:' + ' 0' * 12, rows[6]], 'Tr_velo_to_cam does not turn'),
        (lambda rows: [*rows[:4], 'R0_rect: 1 0 0 0 1 0 0 0 -1', *rows[5:]], 'R0_rect does not turn'),  # mirrors
        (lambda rows: [*rows[:2], 'P2:' + ' 0' * 12, *rows[3:]], 'P2 is no projection'),
    ],
)
def test_impossible_calibrations_are_refused_by_file_and_key(tmp_path, change, fault):
    path = tmp_path / 'calib' / '000001.txt'
    path.parent.mkdir()
    path.write_text('\n'.join(change(CALIBRATION)) + '\n\n')
    assert fault in file_fault(path)
    with pytest.raises(InputError, match=rf'000001\.txt, {fault}'):
        read_calibration(path)


@pytest.mark.parametrize(
    'change',
    [
        lambda text: text,
        lambda text: text.replace(': ', ':  '),
        lambda text: text.replace(': ', ':\t'),
        lambda text: text.replace(': ', ' : '),
        lambda text: text.replace(': ', ' '),
        lambda text: '\n' + text.replace('R0_rect', '\n R0_rect'),
        lambda text: text.replace('\n', ' \r\n'),
        lambda text: '\n'.join(text.splitlines()[::-1]),
        lambda text: text + 'calib_time: 09-Jan-2012 13:57:47\n',
    ],
)
def test_calibrations_are_read_whatever_the_white_space_and_order(tmp_path, change):
    path = tmp_path / 'calib' / '000001.txt'
    path.parent.mkdir()
    path.write_text(change('\n'.join(CALIBRATION) + '\n'))
    found = read_calibration(path)
    assert file_fault(path) is None and list(found) == list(MATRICES)
    for row in CALIBRATION:
        name, numbers = row.split(': ')
        assert found[name].shape == MATRICES[name] and found[name].ravel().tolist() == [*map(float, numbers.split())]


def test_the_usual_splits(tmp_path):
    (tmp_path / 'testing').mkdir()
    splits = read_splits(tmp_path, None, LISTS / 'train.txt')
    assert {name: len(frames) for name, frames in splits.items()} == dict(train=3712, val=3769, test=7518)
    assert splits['train'][:3] == ['000000', '000003', '000007'] and splits['val'][-1] == '007480'
    assert not set(splits['train']) & set(splits['val'])


@pytest.mark.parametrize('text, said', [('3\n', "row '3'"), ('000001\n000001\n', '000001 twice'), ('', 'no frames')])
def test_bad_lists(tmp_path, text, said):
    (tmp_path / 'train.txt').write_text(text)
    with pytest.raises(InputError, match=said.replace('no frames', 'without frames')):
        read_splits(tmp_path, tmp_path, LISTS / 'train.txt')


def test_the_shipped_lists_are_parts_of_the_usual_training_split():
    train = (LISTS / 'train.txt').read_text().split()
    sizes = {}
    for path in LISTS.glob('*.json'):
        found = FrameList.read(path)
        assert set(found.frames) < set(train) and path.stem == found.name
        assert (found.of, found.fingerprint, found.dataset) == (len(train), fingerprint(train), 'kitti')
        sizes[path.stem] = len(found.frames)
    assert sizes == {
        f'{kind.format(draw)}_{percent}' + (f'_{draw}' if kind == 'public' else ''): count
        for kind, counts in dict(public=(185, 371, 742), **{'uniform{}': (186, 371, 742)}).items()
        for percent, count in zip((5, 10, 20), counts)
        for draw in range(3)
    }


def test_the_public_lists_are_as_published():
    folder = REAL_DATA / 'kitti_splits'
    if not folder.is_dir():
        pytest.skip(f'no published lists in {folder}: set CLEVERDISTILLER_REAL_DATA')
    for percent in (5, 10, 20):
        for draw in range(3):
            published = (folder / f'train_{percent}pct_{draw}.txt').read_text().split()
            assert list(FrameList.read(LISTS / f'public_{percent}_{draw}.json').frames) == published
