"""What macOS leaves beside data, ``._NAME`` and ``.DS_Store``, is nobody's frame, record file, image or checkpoint."""

import ast
import pickle
import re
from pathlib import Path

import pytest

from cleverdistiller.datasets import MaskedImages
from cleverdistiller.datasets.scan_index import LAYOUTS, find_scans
from cleverdistiller.datasets.waymo_detection_files import Conversion, read_part
from cleverdistiller.datasets.waymo_record_files import split_record_files
from cleverdistiller.fileio import visible_paths
from cleverdistiller.visualization.readers import kitti, semantickitti
from cleverdistiller.visualization.readers.files import record_files
from cleverdistiller.visualization.readers.read_frame import FORMATS
from conftest import REPO
from kitti_root import write_kitti_root
from masked_images import write_masked_images
from scan_roots import SETS, write_scan_root

# Those that look for hidden files, or must see all there is.
LISTS_ALL = {
    'fileio.py: folder.glob(pattern)',
    'run.py: threads.iterdir()',
    "build_mmcv.py: Path(temporary).glob('mmcv-*.whl')",
    'demo.py: plan.out.iterdir()',
}


def litter(root: Path) -> None:
    """Put beside everything what a copy through a Mac leaves, and a folder of it."""
    for path in sorted(root.rglob('*')):
        path.with_name(f'._{path.name}').write_bytes(b'\0\5\x16\7')
    for folder in [root, *(path for path in sorted(root.rglob('*')) if path.is_dir())]:
        (folder / '.DS_Store').write_bytes(b'\0\0\0\1Bud1')
        (folder / '.Trashes').mkdir()
        (folder / '.Trashes' / f'000000{folder.suffix or ".bin"}').touch()


def write_files(root: Path, *names: str) -> list[Path]:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(bytes(16))
    return [root / name for name in names]


def test_hidden_files_and_folders_are_not_listed(tmp_path):
    names = ['a/1.bin', 'a/10.bin', 'a/2.bin', 'b/1.bin', 'b.bin']
    wanted = write_files(tmp_path / '.cache' / 'set', *names)  # the root itself may be hidden
    root = tmp_path / '.cache' / 'set'
    litter(root)
    assert visible_paths(root, '*/*.bin') == sorted(wanted[:4])
    assert visible_paths(root) == [root / 'a', root / 'b', root / 'b.bin']
    assert visible_paths(root, '**/*.bin') == sorted(wanted)
    assert visible_paths(root / 'a', '[!x]*.bin') == sorted(wanted[:3])
    assert visible_paths(root / 'nowhere', '*') == visible_paths(root / 'b.bin', '*') == []


@pytest.mark.parametrize('dataset', SETS)
def test_the_scans_of_a_set_are_the_same(tmp_path, dataset):
    write_scan_root(dataset, tmp_path)
    before = find_scans(LAYOUTS[dataset], tmp_path)
    litter(tmp_path)
    assert find_scans(LAYOUTS[dataset], tmp_path) == before


def test_waymos_record_files_and_objects_are_the_same(tmp_path):
    wanted = write_files(tmp_path / 'root', 'training/a.tfrecord', 'training/b.tfrecord')
    record = dict(lidar_points=dict(lidar_path='training/c/points/1.bin'), num_points=0)
    objects = [dict(path=f'gt_database/c/1_Car_{index}.bin') for index in range(2)]
    out = tmp_path / 'set'
    write_files(out, *(each['path'] for each in objects))
    (out / record['lidar_points']['lidar_path']).parent.mkdir(parents=True)
    (out / record['lidar_points']['lidar_path']).touch()
    part = dict(source_bytes=16, returns=2, records=[record], objects=objects, database=True)
    [part_file] = write_files(out, '.parts/training/a.pkl')
    part_file.write_bytes(pickle.dumps(part))
    litter(tmp_path)
    part_file.write_bytes(pickle.dumps(part))
    assert split_record_files(tmp_path / 'root', 'training') == record_files(tmp_path / 'root') == wanted
    assert read_part(wanted[0], Conversion(out)) == part
    (out / objects[0]['path']).unlink()
    assert read_part(wanted[0], Conversion(out)) is None


def test_images_with_masks_are_the_same(tmp_path):
    write_masked_images(tmp_path)
    litter(tmp_path)
    parts = [MaskedImages(str(tmp_path), part) for part in ('train', 'val')]
    assert [len(part) for part in parts] == [4, 2]


def test_the_frames_that_are_drawn_are_the_same(tmp_path):
    write_kitti_root(tmp_path / 'kitti')
    write_scan_root('semantickitti', tmp_path / 'semantickitti')
    readers = dict(kitti=kitti.read, semantickitti=semantickitti.read)
    before = {name: read(tmp_path / name, 1).title for name, read in readers.items()}
    litter(tmp_path)
    assert {name: read(tmp_path / name, 1).title for name, read in readers.items()} == before


def test_hidden_files_alone_make_no_format(tmp_path):
    write_files(tmp_path, '._infos.pkl', '._a.tfrecord', 'training/._a.tfrecord', 'sequences/.Trash/velodyne/1.bin')
    write_files(tmp_path, '.hidden/v1.0-mini/sample.json')
    assert [name for name, (fits, _) in FORMATS.items() if fits(tmp_path)] == []


def test_no_other_code_of_ours_lists_folders():
    """Who lists a folder with data in it asks :func:`visible_paths`."""
    names = ('glob', 'rglob', 'iglob', 'iterdir', 'listdir', 'scandir', 'os.walk', 'list_dir_or_file')
    found = {
        f'{path.name}: {ast.unparse(node)}'.replace('"', "'")  # Pythons differ in the quotes around nested ones
        for path in [*(REPO / 'projects').rglob('*.py'), *(REPO / 'tools').rglob('*.py')]
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call) and re.search(rf'(^|\.)({"|".join(names)})$', ast.unparse(node.func))
    }
    assert found == LISTS_ALL
