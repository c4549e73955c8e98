"""What the demo does: every stage with its command, and what the report says about it."""

import shlex
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from _stages import Stage

LABELS = dict(random='random weights', scalr='linear head (ScaLR)', mlp='MLP head', cleverdistiller='CleverDistiller')
STUDENTS = ('scalr', 'mlp', 'cleverdistiller')
DETECTED = ('random', 'cleverdistiller')
DRAWS = 2  # of the labelled frames and of the starts of each segmentor
FEW, FEW_KITTI = 10, 50  # per cent of the frames with labels
FRAMES = '4 14'  # of the validation set, one of each of its streets, in pictures
EPOCHS, FEW_EPOCHS = 6, 15  # of pretraining and of few labels, as their configs have it

TEACHER = 'configs/demo/teacher_vit_simulated.py'
PRETRAIN = f'configs/demo/{{}}_minkunet14_standin_{EPOCHS}e_simulated.py'
PROBE = 'configs/demo/lp_minkunet14_100_nuscenes_simulated.py'
FINETUNE = f'configs/demo/ft_minkunet14_{FEW}_nuscenes_simulated.py'
DETECTOR = f'configs/demo/pointrcnn_minkunet14_{FEW_KITTI}_kitti_simulated.py'
NUSCENES = 'configs/pretrain/cleverdistiller_minkunet34_vits_50e_nuscenes.py'
DINOV2 = 'vit_small_patch14_dinov2.lvd142m'

TEACHERS = {
    'stand-in': 'A stand-in for a foundation model: a small vision transformer, trained on the masks of simulated '
    'images of other streets, which no student saw. It never saw a LiDAR point. On real images it is worth nothing.',
    'dinov2': "The real DINOv2 ViT-S/14 from timm's hub, trained by its authors on 142 million real images. The images "
    'that it sees here are simulated.',
    'file': 'DINOv2 ViT-S/14 with the weights of {}. The images that it sees here are simulated.',
}
COLUMNS = (
    dict(key='rankme', title='RankMe', quantity='of the features', metric='rank/rankme', higher_is_better=None)
    | dict(note='How many directions the features use, measured without labels. Random features use many, too.'),
    dict(key='lp', title='linear probing', quantity='mIoU', metric='seg/miou', higher_is_better=True, unit='%')
    | dict(note='The network stays as it was pretrained; one linear layer learns from all labels.'),
    dict(key='ft', title='few labels', quantity='mIoU', metric='seg/miou', higher_is_better=True, unit='%')
    | dict(note=f'The whole network learns from {FEW} % of the labelled frames.'),
    dict(key='det', title='detection', quantity='3D AP', metric='kitti/mean/3d/AP_R40/moderate', higher_is_better=True)
    | dict(unit='%', note=f'PointRCNN, {FEW_KITTI} % of the labelled frames; mean of the classes, moderate, R40.'),
)


class Picture(NamedTuple):
    """A picture of the report, and the command and stages that make it."""

    name: str
    title: str
    caption: str
    command: str
    after: tuple[str, ...]


class DemoPlan:
    """The demo of one seed and one teacher, in a folder of its own.

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
        # For every command that builds the teacher.
        self.teacher_options = ''
        if self.kind != 'stand-in':
            weights = 'hub' if self.kind == 'dinov2' else shlex.quote(teacher)
            options = f'model.teacher.name={DINOV2} model.teacher.arch=None model.teacher.weights={weights}'
            options += ' model.teacher.features=pre_norm'
            self.teacher_options = f' --cfg-options {options}'

    def stages(self) -> list[Stage]:
        """All but the report, in an order in which each comes after what it reads."""
        return [
            *self.simulated(),
            *self.prepared(),
            *self.pretrained(),
            *self.segmented(),
            *self.detected(),
            *self.ranks(),
            *(
                Stage(
                    f'pictures/{each.name}',
                    f'Picture: {each.title}',
                    each.command,
                    (self._png(each.name),),
                    12,
                    each.after,
                )
                for each in self.pictures()
            ),
        ]

    def simulated(self) -> list[Stage]:
        """Three sets, whose streets all differ."""
        stages = []
        for name, what, size, seed, expected_s in (
            (
                'images',
                'images of other streets, for the teacher',
                '--scenes 16 --frames 5 --image-scale 0.5',
                1000,
                120,
            ),
            ('nuscenes', 'a nuScenes set', '--scenes 8 --frames 10 --image-scale 0.5 --no-sweeps', 0, 120),
            ('kitti', 'a KITTI set', '--scenes 8 --frames 6', 500, 70),
        ):
            root = self.data / name
            command = f'tools/simulate.py --out {root} --format {name} {size} --seed {seed + self.seed} --workers 1'
            stages.append(
                Stage(f'simulate/{name}', f'Simulate {what}', command, (root / 'simulation.json',), expected_s)
            )
        return stages if self.kind == 'stand-in' else stages[1:]

    def prepared(self) -> list[Stage]:
        """Info files, and which few frames have labels."""
        stages = []
        for name, command, made, percent in (
            ('nuscenes', 'tools/prepare_nuscenes.py {} --version v1.0-mini', ('infos_train', 'infos_val'), FEW),
            ('kitti', 'tools/prepare_kitti.py {}', ('infos_train', 'infos_val', 'dbinfos_train'), FEW_KITTI),
        ):
            root = self.data / name
            files = tuple(root / f'{name}_{part}.pkl' for part in made)
            after = (f'simulate/{name}',)
            stages.append(Stage(f'prepare/{name}', f'Index the {name} set', command.format(root), files, 8, after))
            for draw in self.draws:
                chosen = self._list(name, draw, percent)
                command = f'tools/splits.py {files[0]} --percent {percent} --seed {draw} --out {chosen.parent}'
                title = f'Choose {percent} % of the frames of {name}, draw {draw}'
                stages.append(Stage(f'split/{name}_{draw}', title, command, (chosen,), 1, (f'prepare/{name}',)))
        return stages

    def pretrained(self) -> list[Stage]:
        """The teacher and the students."""
        stages, after = [], ['prepare/nuscenes']
        if self.kind == 'stand-in':
            made = ('teacher.safetensors', 'val_results.json')
            title = 'Teach the stand-in what things look like, from images alone'
            stages.append(self._training('teacher', title, TEACHER, self.seed, '', made, 180, ['simulate/images']))
            after.append('teacher')
        reads = (Path(self.teacher),) if self.kind == 'file' else ()
        for method in STUDENTS:
            title, made = f'Pretrain without labels: {LABELS[method]}', ('student.safetensors', f'epoch_{EPOCHS}.pth')
            options = self.teacher_options.removeprefix(' --cfg-options')
            expected_s = 270 if self.kind == 'stand-in' else 3600
            name, config = f'pretrain/{method}', PRETRAIN.format(method)
            stages.append(self._training(name, title, config, self.seed, options, made, expected_s, after, reads))
        return stages

    def segmented(self) -> list[Stage]:
        """Linear probes and few labels, from every start."""
        stages = []
        for draw in self.draws:
            frames = f' train_dataloader.dataset.frame_list={self._list("nuscenes", draw, FEW)}'
            for method in LABELS:
                student = f' model.student_weights={self._student(method)}'
                made = ('val_results.json',)
                title, name = f'Linear probe: {LABELS[method]}, draw {draw}', f'lp/{method}_seed{draw}'
                after = ['prepare/nuscenes', *self._after(method)]
                stages.append(self._training(name, title, PROBE, draw, student, made, 48, after))
                title, name = f'{FEW} % of the labels: {LABELS[method]}, draw {draw}', f'ft/{method}_seed{draw}'
                made, after = (*made, f'epoch_{FEW_EPOCHS}.pth'), [*after, f'split/nuscenes_{draw}']
                stages.append(self._training(name, title, FINETUNE, draw, student + frames, made, 45, after))
        return stages

    def detected(self) -> list[Stage]:
        """PointRCNN from random weights and from the whole method's student."""
        stages, draw = [], self.draws[0]
        frames = f' train_dataloader.dataset.frame_list={self._list("kitti", draw, FEW_KITTI)}'
        for method in DETECTED:
            name = f'det/{method}_seed{draw}'
            options = f' model.backbone.student_weights={self._student(method)}{frames}'
            options += f' val_evaluator.predictions_file={self.out / name}/found.npz'
            title, made = f'PointRCNN, {FEW_KITTI} % of the labels: {LABELS[method]}', ('val_results.json', 'found.npz')
            after = ['prepare/kitti', f'split/kitti_{draw}', *self._after(method)]
            stages.append(self._training(name, title, DETECTOR, draw, options, made, 230, after))
        return stages

    def ranks(self) -> list[Stage]:
        """RankMe of every start."""
        stages, config = [], PRETRAIN.format('cleverdistiller')
        for method in LABELS:
            measured, source = self.out / f'pretrain/{method}.rankme.json', self._student(method) or 'random'
            command = f'tools/rankme.py {config} {source} --out {measured} --cfg-options randomness.seed={self.seed}'
            after = ('prepare/nuscenes', *self._after(method))
            stages.append(Stage(f'rankme/{method}', f'RankMe: {LABELS[method]}', command, (measured,), 12, after))
        return stages

    def pictures(self) -> list[Picture]:
        """What a reader looks at."""
        draw, frame = self.draws[0], FRAMES.split()[0]
        whole, linear = (
            f'{PRETRAIN.format(method)} {self.out}/pretrain/{method}/epoch_{EPOCHS}.pth'
            for method in ('cleverdistiller', 'scalr')
        )
        return [
            self._picture(
                'pairs',
                'LiDAR points on the images',
                'What pretraining has: each LiDAR point, coloured by its distance, lies on a pixel, so that a network '
                'that sees the point can be asked for what the image network says of the pixel. No label is used.',
                f'pairs {PRETRAIN.format("cleverdistiller")} --index 12',
                ['prepare/nuscenes'],
            ),
            self._picture(
                'features',
                'Features of teacher and students in the same colours',
                'A colour is a kind of feature, the same in all panels. Where a student paints points as the teacher '
                'paints the image, it sees like the teacher, on a street that neither was trained on.',
                f'features {whole} --against {linear} --index {frame} --cameras CAM_FRONT CAM_BACK_LEFT CAM_BACK_RIGHT',
                ['pretrain/cleverdistiller', 'pretrain/scalr'],
                self.teacher_options,
            ),
            self._picture(
                'similarity',
                'What is similar to the crossed place',
                "As the paper's Fig. A2: how similar everything is to three places, for the teacher in the image and "
                'for the student in the point cloud. Things of the same kind should light up together.',
                f'similarity {whole} --index {frame}',
                ['pretrain/cleverdistiller'],
                self.teacher_options,
            ),
            *(
                self._picture(
                    f'errors_{method}',
                    f'Segmentation from {FEW} % of the labels: {LABELS[method]}',
                    f'Truth, prediction and what is wrong, from above, on two streets of the validation set. {hint}',
                    f'errors {FINETUNE} {self.out}/ft/{method}_seed{draw}/epoch_{FEW_EPOCHS}.pth --index {FRAMES}',
                    [f'ft/{method}_seed{draw}'],
                )
                for method, hint in (
                    ('random', 'Compare with the next picture.'),
                    ('cleverdistiller', 'Fewer errors than in the picture before is what pretraining is for.'),
                )
            ),
            self._picture(
                'detections',
                'Detections from above and in the image',
                'PointRCNN on the pretrained network, on a street that it was not trained on: which objects it found, '
                'missed, or took something else for, in the colours of the legend.',
                f'detections {DETECTOR} {self.out}/det/cleverdistiller_seed{draw}/found.npz --score 0.3',
                [f'det/cleverdistiller_seed{draw}'],
            ),
        ]

    def told(self, seconds: dict[str, float]) -> dict:
        """``demo.json``, as ``tools/report.py`` wants it.

        Args:
            seconds (dict[str, float]): That each stage took, by its name.

        Returns:
            dict: Plain values.
        """
        stand_in = self.kind == 'stand-in'
        return dict(
            seed=self.seed,
            simulated=True,
            teacher=dict(
                kind=self.kind,
                name='a small vision transformer, patch 14' if stand_in else DINOV2,
                text=TEACHERS[self.kind].format(self.teacher),
                numbers='teacher/val_results.json' if stand_in else None,
            ),
            baseline='random',
            main='cleverdistiller',
            columns=COLUMNS,
            methods=[dict(name=method, label=LABELS[method], results=self._results(method)) for method in LABELS],
            curves=self._curves(),
            pictures=[
                dict(file=f'pictures/{each.name}.png', title=each.title, caption=each.caption, command=self.shown(each))
                for each in self.pictures()
            ],
            stages=[
                dict(name=each.name, title=each.title, command=self.shown(each), seconds=seconds[each.name])
                for each in self.stages()
            ],
            next_steps=[
                dict(title='The same on other streets', command=f'make demo SEED={self.seed + 1}'),
                dict(title='The same with the real DINOv2', command='make demo TEACHER=dinov2'),
                dict(title='Pretrain on nuScenes', command=f'python tools/train.py {NUSCENES}'),
            ],
        )

    def report(self) -> Stage:
        """The last stage, which reads ``demo.json``."""
        made = (self.out / 'report.html', self.out / 'report.json')
        return Stage(
            'report', 'Write the report', f'tools/report.py {self.out}', made, 20, reads=(self.out / 'demo.json',)
        )

    def shown(self, each: Stage | Picture) -> str:
        """Its command as a user would type it."""
        return f'DEMO={self.out} python {each.command}'

    def _training(
        self,
        name: str,
        title: str,
        config: str,
        seed: int,
        options: str,
        made: Iterable[str],
        expected_s: float,
        after: Iterable[str],
        reads: tuple[Path, ...] = (),
    ) -> Stage:
        """A training in the folder of its name. What counts is the validation after its last epoch."""
        work = self.out / name
        command = f'tools/train.py {config} --work-dir {work} --cfg-options randomness.seed={seed}{options}'
        return Stage(name, title, command, tuple(work / file for file in made), expected_s, tuple(after), reads, work)

    def _picture(
        self, name: str, title: str, caption: str, command: str, after: Iterable[str], options: str = ''
    ) -> Picture:
        return Picture(
            name, title, caption, f'tools/visualize.py {command} --out {self._png(name)}{options}', tuple(after)
        )

    def _png(self, name: str) -> Path:
        return self.out / 'pictures' / f'{name}.png'

    def _list(self, name: str, draw: int, percent: int) -> Path:
        return self.data / 'splits' / name / f'uniform{draw}_{percent}.json'

    def _student(self, method: str) -> Path | None:
        return None if method == 'random' else self.out / 'pretrain' / method / 'student.safetensors'

    def _after(self, method: str) -> list[str]:
        return [] if method == 'random' else [f'pretrain/{method}']

    def _results(self, method: str) -> dict[str, list[str] | None]:
        """Files of each column."""
        lp, ft = ([f'{task}/{method}_seed{draw}/val_results.json' for draw in self.draws] for task in ('lp', 'ft'))
        detected = [f'det/{method}_seed{self.draws[0]}/val_results.json'] if method in DETECTED else None
        return dict(rankme=[f'pretrain/{method}.rankme.json'], lp=lp, ft=ft, det=detected)

    def _curves(self) -> list[dict]:
        """Losses of the pretrainings, of one segmentor from each start, and of the detectors."""
        draw = self.draws[0]
        logs = [
            ('pretraining: distance of the features', method, f'pretrain/{method}', 'loss_distill')
            for method in STUDENTS
        ]
        logs += [(f'{FEW} % of the labels', method, f'ft/{method}_seed{draw}', 'loss') for method in LABELS]
        logs += [('detection', method, f'det/{method}_seed{draw}', 'loss') for method in DETECTED]
        return [
            dict(label=method, file_glob=f'{folder}/*/vis_data/scalars.json', keys=[key], panel=panel)
            for panel, method, folder, key in logs
        ]
