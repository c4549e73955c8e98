"""What KITTI's lists, labels and calibrations may look like."""

import pytest

from cleverdistiller.datasets.frame_list import FrameList, fingerprint
from cleverdistiller.datasets.kitti_files import calibration_fault, label_fault, read_splits
from cleverdistiller.errors import InputError
from conftest import REAL_DATA, REPO
from kitti_root import DONT_CARE

LISTS = REPO / 'configs' / 'splits' / 'kitti'
CAR = 'Car 0.00 0 1.85 387.63 181.54 423.81 203.12 1.67 1.87 3.69 -16.53 2.39 58.49 1.57'
MATRIX = ' '.join(['1.0'] * 12)
CALIBRATION = [f'{name}: {MATRIX}' for name in ('P0', 'P1', 'P2', 'P3')] + [
    'R0_rect: ' + ' '.join(['1.0'] * 9),
    f'Tr_velo_to_cam: {MATRIX}',
    f'Tr_imu_to_velo: {MATRIX}',
]


@pytest.mark.parametrize(
    'rows, fault',
    [
        ([], None),
        ([CAR, CAR, DONT_CARE, DONT_CARE], None),
        ([CAR.replace('1.57', 'inf')], 'row 1, a Car, has a value that is NaN, infinite or no number'),
        ([CAR, CAR.replace('58.49', 'far')], 'row 2, a Car, has a value'),
        ([CAR.replace('Car', 'car')], 'row 1 is of the unknown class car'),
        ([CAR + ' 0.9'], 'row 1 has 16 columns'),
        ([CAR, ''], 'row 2 has 0 columns'),
        ([CAR, CAR.replace(' 0 ', '  0 ')], 'row 2 has something else than one blank between columns'),
        ([CAR.replace(' ', '\t')], 'row 1 has something else than one blank'),
        ([CAR.replace(' 0 ', '  ')], 'row 1 has 14 columns'),
        ([f' {CAR} '], None),
        ([CAR.replace('1.67', '-1')], 'negative size'),
        ([DONT_CARE, CAR], 'row 2, a Car, comes after a DontCare'),
    ],
)
def test_labels(rows, fault):
    found = label_fault(''.join(f'{row}\n' for row in rows))
    assert found == fault if fault is None else fault in found


@pytest.mark.parametrize(
    'change, fault',
    [
        (lambda rows: rows, None),
        (lambda rows: rows[:4], 'without R0_rect, Tr_velo_to_cam, Tr_imu_to_velo'),
        (lambda rows: rows[::-1], 'rows Tr_imu_to_velo, '),
        (lambda rows: [*rows[:5], rows[5][:-4], rows[6]], 'Tr_velo_to_cam is not 12 finite numbers'),
        (lambda rows: [rows[0].replace('1.0', 'nan', 1), *rows[1:]], 'P0 is not 12 finite numbers'),
    ],
)
def test_calibrations(change, fault):
    found = calibration_fault('\n'.join(change(CALIBRATION)) + '\n\n')
    assert found == fault if fault is None else fault in found


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
