"""Samples a second of pretraining, where a step's time goes, and its peak memory.

python benchmarks/pretrain_throughput.py [--teachers s b l] [--features images cached] [--precisions fp16 bf16]
    [--size small|full] [--batch-size B] [--points N] [--cameras V] [--steps 5]
    [--compile-teacher] [--checkpoint-student]

On a GPU at full size: the shipped config, 16 scans of 34,688 points with six cameras. On a CPU a small one: two scans,
two cameras, MinkUNet-14, float32. Scans are made up, the teacher's weights random: what a step costs does not hang on
them. With `cached` features the images are replaced by random float16 features of the right size, which stand for those
that tools/cache_teacher.py wrote. Loading from disk is not in it: see data_pipeline.py.

Prints one JSON line with a run for each combination. `parts` are timed with the device waited for between them, forward
and backward together; `step_ms` without. On CUDA `waits` counts where a step makes the host wait for the device.
"""

import argparse
import itertools
import json

import torch
from _made_up_frames import spinning_scan
from _peak_memory import peak_memory
from _training_step import (
    PARTS,
    PRECISIONS,
    TEACHERS,
    Clock,
    build_model,
    build_optimiser,
    full_config,
    make_batch,
    median_step_seconds,
    small_config,
    step_in_parts,
    waits_of_a_step,
)

SIZES = dict(
    full=dict(config=full_config, batch_size=16, points=34688, cameras=6),
    small=dict(config=small_config, batch_size=2, points=8192, cameras=2),
)


def measure(
    teacher: str, features: str, precision: str, args: argparse.Namespace, device: str, scans: list
) -> dict[str, object]:
    """One run."""
    cfg = SIZES[args.size]['config'](teacher)
    cfg.model.student.checkpointing = args.checkpoint_student
    cached = features == 'cached'
    model = build_model(cfg, device, cached, args.compile_teacher)
    optimiser = build_optimiser(cfg, model, precision)
    batch = make_batch(cfg, scans, args.cameras, cached, model.teacher.embed_dim)
    with peak_memory(device) as peak:
        seconds = median_step_seconds(model, optimiser, batch, device, args.steps, warm_up=2)
    clock = Clock(device)
    for _ in range(args.steps):
        step_in_parts(model, optimiser, batch, clock)
    return dict(
        teacher=teacher,
        features=features,
        precision=precision,
        samples_per_second=round(args.batch_size / seconds, 3),
        step_ms=round(1000 * seconds, 1),
        parts={part: round(1000 * clock.seconds[part] / args.steps, 1) for part in PARTS},
        peak_mib=round(peak.mib),
        **(dict(waits=waits_of_a_step(model, optimiser, batch)) if device == 'cuda' else {}),
    )


def main() -> None:
    device = 'cuda' if torch.cuda.is_available() else 'cpu'
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    on_gpu = device == 'cuda'
    parser.add_argument('--teachers', nargs='+', choices=TEACHERS, default=list(TEACHERS) if on_gpu else ['s'])
    parser.add_argument('--features', nargs='+', choices=('images', 'cached'), default=['images', 'cached'])
    parser.add_argument('--precisions', nargs='+', choices=PRECISIONS, default=['fp16', 'bf16'] if on_gpu else ['fp32'])
    parser.add_argument('--size', choices=SIZES, default='full' if on_gpu else 'small')
    parser.add_argument('--batch-size', type=int)
    parser.add_argument('--points', type=int)
    parser.add_argument('--cameras', type=int)
    parser.add_argument('--steps', type=int, default=10 if on_gpu else 3)
    parser.add_argument('--compile-teacher', action='store_true')
    parser.add_argument('--checkpoint-student', action='store_true')
    args = parser.parse_args()
    for option in ('batch_size', 'points', 'cameras'):
        if getattr(args, option) is None:
            setattr(args, option, SIZES[args.size][option])
    if not on_gpu and set(args.precisions) != {'fp32'}:
        parser.error('fp16 and bf16 need a GPU')
    scans = [spinning_scan(seed, args.points) for seed in range(args.batch_size)]
    runs = [
        measure(*combination, args, device, scans)
        for combination in itertools.product(args.teachers, args.features, args.precisions)
    ]
    print(
        json.dumps(
            dict(
                runs=runs,
                size=args.size,
                batch_size=args.batch_size,
                points=args.points,
                cameras=args.cameras,
                steps=args.steps,
                compiled_teacher=args.compile_teacher,
                checkpointed_student=args.checkpoint_student,
                teacher_weights='random',
                scans='made up',
                device=torch.cuda.get_device_name() if on_gpu else 'cpu',
                torch=torch.__version__,
                threads=torch.get_num_threads(),
            )
        )
    )


if __name__ == '__main__':
    main()
