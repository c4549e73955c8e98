"""The whole story on a CPU, on made-up data: images teach a LiDAR network, which then needs fewer labels.

python tools/demo.py [--seed 0] [--teacher stand-in|dinov2|FILE] [--processes N] [--clean]

`make demo`, `make demo SEED=1`, `make demo TEACHER=dinov2` and `make demo CHECKPOINT=FILE` call it. It simulates a
nuScenes and a KITTI set, takes a teacher, pretrains three students, and transfers them and random weights to
segmentation and detection. Everything goes to work_dirs/demo, whose report.html tells what came out; another seed or
teacher has a folder of its own, such as work_dirs/demo_seed1. --clean removes that folder.

The teacher is a stand-in by default: a small vision transformer trained on the masks of other simulated images. dinov2
is the real ViT-S from timm's hub, FILE its weights on disk. None of them is ever taken in another's place.

Each stage is a command that the report prints. A stage whose outputs are there and unchanged is skipped; one that was
stopped, even by a kill, goes on with the same command and ends with the same numbers. Several stages run at a time,
each on one thread, so that the numbers do not depend on how many processors there are.
"""

import os

# Before numpy and torch read them: no thread may run when a stage starts as a copy of this process.
os.environ.update(OMP_NUM_THREADS='1', MKL_NUM_THREADS='1', OPENBLAS_NUM_THREADS='1')

import argparse
import json
import shlex
import shutil
from collections.abc import Iterable
from pathlib import Path

import cleverdistiller  # noqa: F401  (once, for every stage)
from _packaged import clear_errors
from _stages import Stage, StageRunner
from _transfer_runs import locked
from cleverdistiller.errors import InputError
from cleverdistiller.fileio import replace_when_complete

LABELS = dict(
    random='random weights', scalr='linear head (ScaLR)', mlp='MLP head', cleverdistiller='MLP head and occupancy'
)
STUDENTS = ('scalr', 'mlp', 'cleverdistiller')
DETECTED = ('random', 'cleverdistiller')
DRAWS = 2  # of the labelled frames and the starts of a segmentor
EPOCHS, SEGMENT_EPOCHS = 10, 10  # as the configs have it
FRAME = '4'  # of the validation set, in pictures
FEW, FEW_KITTI = 10, 50  # per cent of the frames with labels
DINOV2 = 'vit_small_patch14_dinov2.lvd142m'
NUSCENES = 'configs/pretrain/cleverdistiller_minkunet34_vits_50e_nuscenes.py'
PRETRAIN = 'configs/demo/{}_minkunet14_standin_10e_simulated.py'
TEACHER = 'configs/demo/teacher_vit_simulated.py'
PROBE = 'configs/demo/lp_minkunet14_100_nuscenes_simulated.py'
FINETUNE = f'configs/demo/ft_minkunet14_{FEW}_nuscenes_simulated.py'
DETECTOR = f'configs/demo/pointrcnn_minkunet14_{FEW_KITTI}_kitti_simulated.py'
GIB_A_PROCESS = 3

TEXTS = {
    'stand-in': 'A stand-in for a foundation model: a small vision transformer that was trained on the masks of other '
    'simulated images, of streets that no student saw. It never saw a LiDAR point. On real images it is worth nothing.',
    'dinov2': "The real DINOv2 ViT-S/14 from timm's hub, trained by its authors on 142 million real images. The images "
    'that it sees here are simulated.',
    'file': 'DINOv2 ViT-S/14 with the weights of {}. The images that it sees here are simulated.',
}
COLUMNS = [
    dict(
        key='rankme', title='RankMe', quantity='of the features', metric='rank/rankme', higher_is_better=None,
        note='How many directions the features use. It needs no label; random features use many, too.',
    ),
    dict(
        key='lp', title='linear probe', quantity='mIoU', metric='seg/miou', higher_is_better=True, unit='%',
        note='The network stays as it was pretrained; one linear layer learns from all labels.',
    ),
    dict(
        key='ft', title='few labels', quantity='mIoU', metric='seg/miou', higher_is_better=True, unit='%',
        note=f'Everything learns from {FEW} % of the labelled frames.',
    ),
    dict(
        key='det', title='detection', quantity='3D AP', metric='kitti/mean/3d/AP_R40/moderate', higher_is_better=True,
        unit='%', note=f'PointRCNN from {FEW_KITTI} % of the labelled frames: mean over classes, moderate, R40.',
    ),
]  # fmt: skip


class Demo:
    """Every stage with its command, for one seed and one teacher.

    Args:
        seed (int): Of the roads and of all starts.
        teacher (str): ``stand-in``, ``dinov2``, or a file with DINOv2's weights.
    """

    def __init__(self, seed: int, teacher: str) -> None:
        self.seed, self.teacher = seed, teacher
        self.kind = teacher if teacher in ('stand-in', 'dinov2') else 'file'
        parts = ['demo', *([] if self.kind == 'stand-in' else [self.kind]), *([f'seed{seed}'] if seed else [])]
        self.out = Path('work_dirs') / '_'.join(parts)
        self.data = self.out / 'data'
        self.draws = [DRAWS * seed + draw for draw in range(DRAWS)]

    def stages(self) -> list[Stage]:
        """All but the report, in an order in which each comes after what it reads."""
        return [
            *self.simulated(),
            *self.prepared(),
            *self.pretrained(),
            *self.ranks(),
            *self.segmented(),
            *self.detected(),
            *self.pictures(),
        ]

    def simulated(self) -> list[Stage]:
        """Three sets, whose streets all differ."""
        light = ('--image-scale', '0.5')
        sets = [
            (
                'images',
                'images of other streets, for the teacher',
                1000,
                ('--scenes', '16', '--frames', '5', *light),
                120,
            ),
            ('nuscenes', 'a nuScenes set', 0, ('--scenes', '8', '--frames', '10', *light, '--no-sweeps'), 120),
            ('kitti', 'a KITTI set', 500, ('--scenes', '8', '--frames', '6'), 100),
        ]
        stages = []
        for name, what, seed, size, expected_s in sets:
            root = self.data / name
            command = (
                'tools/simulate.py',
                '--out',
                str(root),
                '--format',
                name,
                *size,
                '--seed',
                str(seed + self.seed),
            )
            done = (root / 'simulation.json',)
            stages.append(Stage(f'simulate/{name}', f'Simulate {what}', (*command, '--workers', '1'), done, expected_s))
        return stages if self.kind == 'stand-in' else stages[1:]

    def prepared(self) -> list[Stage]:
        """Info files, and which few frames have labels."""
        nuscenes, kitti = self.data / 'nuscenes', self.data / 'kitti'
        index = ('tools/prepare_nuscenes.py', str(nuscenes), '--version', 'v1.0-mini')
        infos = tuple(nuscenes / f'nuscenes_infos_{part}.pkl' for part in ('train', 'val'))
        kitti_infos = tuple(kitti / f'kitti_{part}.pkl' for part in ('infos_train', 'infos_val', 'dbinfos_train'))
        stages = [
            Stage('prepare/nuscenes', 'Index the nuScenes set', index, infos, 10, ('simulate/nuscenes',)),
            Stage(
                'prepare/kitti',
                'Index the KITTI set',
                ('tools/prepare_kitti.py', str(kitti)),
                kitti_infos,
                15,
                ('simulate/kitti',),
            ),
        ]
        for name, infos_file, percent in (('nuscenes', infos[0], FEW), ('kitti', kitti_infos[0], FEW_KITTI)):
            for draw in self.draws:
                command = ('tools/splits.py', str(infos_file), '--percent', str(percent), '--seed', str(draw))
                out, title = self._list(name, draw, percent), f'Choose {percent} % of the {name} frames, draw {draw}'
                command = (*command, '--out', str(out.parent))
                stages.append(Stage(f'split/{name}_{draw}', title, command, (out,), 3, (f'prepare/{name}',)))
        return stages

    def pretrained(self) -> list[Stage]:
        """The teacher and the students."""
        stages, after = [], ['prepare/nuscenes']
        if self.kind == 'stand-in':
            work = self.out / 'teacher'
            made = (work / 'teacher.safetensors', work / 'val_results.json')
            title = 'Teach the stand-in what things look like, from images alone'
            stages.append(self._training('teacher', title, TEACHER, work, self.seed, made, 150, ['simulate/images']))
            after.append('teacher')
        for method in STUDENTS:
            work = self.out / 'pretrain' / method
            made = (work / 'student.safetensors', work / f'epoch_{EPOCHS}.pth')
            title, config = f'Pretrain without labels: {LABELS[method]}', PRETRAIN.format(method)
            expected_s = 200 if self.kind == 'stand-in' else 3600
            options = self._teacher_options()
            stages.append(
                self._training(f'pretrain/{method}', title, config, work, self.seed, made, expected_s, after, *options)
            )
        return stages

    def ranks(self) -> list[Stage]:
        """RankMe of every start."""
        stages = []
        for method in LABELS:
            measured = self.out / 'pretrain' / f'{method}.rankme.json'
            source = 'random' if method == 'random' else str(self._student(method))
            command = ('tools/rankme.py', PRETRAIN.format('cleverdistiller'), source, '--out', str(measured))
            command = (*command, '--cfg-options', f'randomness.seed={self.seed}')
            after = ('prepare/nuscenes', *self._after(method))
            stages.append(Stage(f'rankme/{method}', f'RankMe: {LABELS[method]}', command, (measured,), 15, after))
        return stages

    def segmented(self) -> list[Stage]:
        """Linear probes and few labels, from every start."""
        stages = []
        for draw in self.draws:
            frames = f'train_dataloader.dataset.frame_list={self._list("nuscenes", draw, FEW)}'
            for method in LABELS:
                student = f'model.student_weights={self._student(method)}'
                stages.append(self._transfer('lp', 'Linear probe', PROBE, method, draw, 60, student))
                stages.append(
                    self._transfer('ft', f'{FEW} % of the labels', FINETUNE, method, draw, 60, student, frames)
                )
        return stages

    def detected(self) -> list[Stage]:
        """PointRCNN from random weights and from the whole method's student."""
        stages, draw = [], self.draws[0]
        frames = f'train_dataloader.dataset.frame_list={self._list("kitti", draw, FEW_KITTI)}'
        for method in DETECTED:
            student = f'model.backbone.student_weights={self._student(method)}'
            found = f'val_evaluator.predictions_file={self.out}/det/{method}_seed{draw}/found.npz'
            title = f'PointRCNN, {FEW_KITTI} % of the labels'
            stages.append(self._transfer('det', title, DETECTOR, method, draw, 300, student, frames, found))
        return stages

    def pictures(self) -> list[Stage]:
        """What a reader looks at."""
        return [
            Stage(f'pictures/{name}', f'Picture: {title}', command, (self.out / 'pictures' / f'{name}.png',), 15, after)
            for name, title, _, command, after in self._pictures()
        ]

    def _pictures(self) -> list[tuple[str, str, str, tuple[str, ...], tuple[str, ...]]]:
        """Name, title, caption, command and the stages before, of each picture."""
        draw = self.draws[0]
        whole, linear = (
            (PRETRAIN.format(method), str(self.out / 'pretrain' / method / f'epoch_{EPOCHS}.pth'))
            for method in ('cleverdistiller', 'scalr')
        )
        options = self._teacher_options()
        teacher = ('--cfg-options', *options) if options else ()
        found = str(self.out / f'det/cleverdistiller_seed{draw}' / 'found.npz')

        def picture(name, title, caption, kind, *arguments, after, ends=()):
            command = (
                'tools/visualize.py',
                kind,
                *arguments,
                '--out',
                str(self.out / 'pictures' / f'{name}.png'),
                *ends,
            )
            return name, title, caption, command, tuple(after)

        return [
            picture(
                'pairs',
                'LiDAR points on the images',
                'What pretraining has: each LiDAR point (coloured by its distance) lies on a pixel, so the network that '
                'sees the point can be asked for what the image network says about the pixel. No label is used.',
                'pairs', whole[0], '--index', '12', after=['prepare/nuscenes'], ends=teacher,
            ),
            picture(
                'features',
                'Features of teacher and students in the same colours',
                'Each colour is a kind of feature, the same in all panels. Where a student paints the points as the '
                'teacher paints the image, it has learned to see like the teacher, on a street that neither was trained on.',
                'features', *whole, '--against', *linear, '--index', FRAME, after=['pretrain/cleverdistiller', 'pretrain/scalr'], ends=teacher,
            ),
            picture(
                'similarity',
                'What is similar to the crossed place',
                "As the paper's Fig. A2: of three places, how similar everything else is to them, for the teacher in the "
                'image and for the student in the point cloud. Things of the same kind should light up together.',
                'similarity', *whole, '--index', FRAME, after=['pretrain/cleverdistiller'], ends=teacher,
            ),
            *(
                picture(
                    f'errors_{method}',
                    f'Segmentation from {FEW} % of the labels: {LABELS[method]}',
                    'Truth, prediction and what is wrong, from above, on two streets of the validation set. '
                    + ('Compare with the next picture.' if method == 'random' else 'Fewer errors than above are what pretraining is for.'),
                    'errors', FINETUNE, str(self.out / f'ft/{method}_seed{draw}' / f'epoch_{SEGMENT_EPOCHS}.pth'), '--index', FRAME, '14', after=[f'ft/{method}_seed{draw}'],
                )
                for method in DETECTED
            ),
            picture(
                'detections',
                'Detections from above',
                'PointRCNN on the pretrained network, on a street that it was not trained on: which objects it found, '
                'missed, or took something else for, in the colours of the legend.',
                'detections', DETECTOR, found, '--score', '0.3', after=[f'det/cleverdistiller_seed{draw}'],
            ),
        ]  # fmt: skip

    def report(self, records: dict[str, dict]) -> Stage:
        """Tell ``tools/report.py`` what was done, and how to call it.

        Args:
            records (dict[str, dict]): Of :class:`Stages`, by the stage's name.

        Returns:
            Stage: The last one.
        """
        stages = self.stages()
        told = dict(
            seed=self.seed,
            simulated=True,
            teacher=dict(
                kind=self.kind,
                name='vision transformer of 4 blocks, patch 14' if self.kind == 'stand-in' else DINOV2,
                text=TEXTS[self.kind].format(self.teacher),
                numbers='teacher/val_results.json' if self.kind == 'stand-in' else None,
            ),
            baseline='random',
            main='cleverdistiller',
            columns=COLUMNS,
            methods=[dict(name=method, label=LABELS[method], results=self._results(method)) for method in LABELS],
            curves=self._curves(),
            pictures=[
                dict(file=f'pictures/{name}.png', title=title, caption=caption, command=self.shown(command))
                for name, title, caption, command, _ in self._pictures()
            ],
            stages=[
                dict(
                    name=stage.name,
                    title=stage.title,
                    command=self.shown(stage.command),
                    seconds=records[stage.name]['seconds'],
                )
                for stage in stages
            ],
            next_steps=[
                dict(title='Pretrain on nuScenes', command=f'python tools/train.py {NUSCENES}'),
                dict(title='The same demo on other streets', command=f'make demo SEED={self.seed + 1}'),
                dict(title='The same demo with the real DINOv2', command='make demo TEACHER=dinov2'),
            ],
        )
        file = self.out / 'demo.json'
        with replace_when_complete(file) as temporary:
            temporary.write_text(json.dumps(told, indent=2) + '\n')
        made = (self.out / 'report.html', self.out / 'report.json')
        return Stage('report', 'Write the report', ('tools/report.py', str(self.out)), made, 20, reads=(file,))

    def shown(self, command: tuple[str, ...]) -> str:
        """A command as a user would type it."""
        return f'DEMO={self.out} python {shlex.join(command)}'

    def _results(self, method: str) -> dict[str, list[str] | None]:
        def runs(task: str, draws: list[int]) -> list[str]:
            return [f'{task}/{method}_seed{draw}/val_results.json' for draw in draws]

        return dict(
            rankme=[f'pretrain/{method}.rankme.json'],
            lp=runs('lp', self.draws),
            ft=runs('ft', self.draws),
            det=runs('det', self.draws[:1]) if method in DETECTED else None,
        )

    def _curves(self) -> list[dict]:
        """Losses of the pretrainings, of a segmentor and of the detectors."""
        draw = self.draws[0]
        folders = [
            ('pretraining: feature distance', method, f'pretrain/{method}', 'loss_distill') for method in STUDENTS
        ]
        folders += [(f'{FEW} % of the labels', method, f'ft/{method}_seed{draw}', 'loss') for method in LABELS]
        folders += [('detection', method, f'det/{method}_seed{draw}', 'loss') for method in DETECTED]
        return [
            dict(label=method, file_glob=f'{folder}/*/vis_data/scalars.json', keys=[key], panel=panel)
            for panel, method, folder, key in folders
        ]

    def _training(
        self,
        name: str,
        title: str,
        config: str,
        work_dir: Path,
        seed: int,
        made: tuple[Path, ...],
        expected_s: float,
        after: Iterable[str],
        *options: str,
    ) -> Stage:
        settings = ('--cfg-options', f'randomness.seed={seed}', *options)
        command = ('tools/train.py', config, '--work-dir', str(work_dir), *settings)
        reads = (Path(self.teacher),) if self.kind == 'file' and name.startswith('pretrain/') else ()
        return Stage(name, title, command, made, expected_s, tuple(after), reads, work_dir)

    def _transfer(
        self, task: str, title: str, config: str, method: str, draw: int, expected_s: float, *options: str
    ) -> Stage:
        """One training from one start. What counts is the validation after its last epoch."""
        name, data = f'{task}/{method}_seed{draw}', 'kitti' if task == 'det' else 'nuscenes'
        work = self.out / name
        last = f'epoch_{SEGMENT_EPOCHS}.pth'
        made = (work / 'val_results.json', work / ('found.npz' if task == 'det' else last))
        title = f'{title}: {LABELS[method]}, draw {draw}'
        after = [f'prepare/{data}', *([] if task == 'lp' else [f'split/{data}_{draw}']), *self._after(method)]
        return self._training(name, title, config, work, draw, made, expected_s, after, *options)

    def _student(self, method: str) -> Path | None:
        return None if method == 'random' else self.out / 'pretrain' / method / 'student.safetensors'

    def _after(self, method: str) -> list[str]:
        return [] if method == 'random' else [f'pretrain/{method}']

    def _list(self, name: str, draw: int, percent: int) -> Path:
        return self.data / 'splits' / name / f'uniform{draw}_{percent}.json'

    def _teacher_options(self) -> list[str]:
        if self.kind == 'stand-in':
            return []
        weights = 'hub' if self.kind == 'dinov2' else self.teacher
        return [f'model.teacher.name={DINOV2}', 'model.teacher.arch=None', f'model.teacher.weights={weights}']


def processes() -> int:
    """Stages at a time: one a processor, as far as the memory reaches."""
    memory_gib = os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') / 2**30
    return max(1, min(len(os.sched_getaffinity(0)), int(memory_gib / GIB_A_PROCESS)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--seed', type=int, default=0)
    parser.add_argument('--teacher', default='stand-in', help='stand-in, dinov2, or a file with its weights')
    parser.add_argument('--processes', type=int, default=processes(), help='stages at a time')
    parser.add_argument('--clean', action='store_true', help='remove what this demo made')
    args = parser.parse_args()
    with clear_errors():
        demo = Demo(args.seed, args.teacher)
        if demo.kind == 'file' and not Path(args.teacher).is_file():
            raise InputError(
                f'--teacher {args.teacher}, which is no file',
                'stand-in, dinov2, or a file with weights of DINOv2 ViT-S/14',
                'correct the path, or download the weights first',
            )
        if args.clean:
            shutil.rmtree(demo.out, ignore_errors=True)
            print(f'removed: {demo.out}')
            return
        os.environ['DEMO'] = str(demo.out)
        with locked(demo.out):
            runner = StageRunner(demo.out, args.processes)
            runner.run(demo.stages())
            runner.run([demo.report(runner.records)])
    print(f'{demo.out / "report.html"}: open it in a browser')


if __name__ == '__main__':
    main()
