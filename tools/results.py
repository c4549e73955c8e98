"""The tables and pictures of a comparison study, from its JSON files and nothing else.

python tools/results.py DIR [--out DIR2]

Reads DIR/study.json and DIR/cells/*.json, as tools/study.py leaves them, and writes to DIR, or DIR2:

    table.md      a row for each method: mean ± standard deviation (n - 1) over the seeds, the number of seeds where
                  it is not the planned one, the paper's number beside; under it, whether the orders asked for hold
    table.tex     the same table for LaTeX with booktabs
    table.csv     a line for each method and column
    rankme.png    RankMe against each score, a point for each method
    labels.png    the share of labels against the score, where tasks differ in their share

What was not run is "missing". The same JSON files make the same files, byte for byte, on one machine. A picture that
has nothing to show is not made, and an older one of its name is removed.

study.json:

{
 "name": "simulated", "title": "...", "seeds": [0, 1, 2],
 "methods": [{"name": "scalr", "label": "(a) linear head", "paper"*: {"rankme": 1.89, "lp": 40.76}}, ...],
 "tasks": [{"name": "ft_10",
            "percent"*: 10,                               share of the labels
            "columns": [{"key": "ft_10", "title": "10 % mIoU", "metric": "seg/miou",
                         "higher_is_better": true | false | null,   null: neither end is better; no bold
                         "unit"*: "%" | ""}]}],           "%": the metric is from 0 to 1, the paper's from 0 to 100
 "orders": [["scalr", "mlp"], ...],                       each should be ahead of the one before it
 "command": "python tools/study.py STUDY.yaml", "plan_sha256": "..."
}                                                         *: may be left out

cells/METHOD_TASK_seedN.json, there only once it is done:

{
 "plan_sha256": "...", "method": "scalr", "task": "ft_10", "seed": 0,
 "metrics": {"seg/miou": 0.1213, ...},                    null, or no entry: missing
 "made_from": {"simulated"*: true, ...}
}
"""

import argparse
from pathlib import Path

from _packaged import clear_errors
from cleverdistiller.fileio import replace_when_complete
from cleverdistiller.visualization.study_report import StudyRecord, draw_study, read_cells


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('study', type=Path, metavar='DIR', help='with study.json and cells/')
    parser.add_argument('--out', type=Path, metavar='DIR2', help='folder to write to, if not DIR')
    args = parser.parse_args()
    out = args.out or args.study
    with clear_errors():
        record = StudyRecord.read(args.study / 'study.json')
        files = draw_study(record, read_cells(args.study / 'cells', record))
    for name, content in files.items():
        if content is None:
            (out / name).unlink(missing_ok=True)
            continue
        with replace_when_complete(out / name) as temporary:
            temporary.write_bytes(content)
    print(files['table.md'].decode())
    print(f'written to {out}: {", ".join(name for name, content in files.items() if content)}')


if __name__ == '__main__':
    main()
