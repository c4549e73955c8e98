"""All files of a study's report."""

from cleverdistiller.visualization.frame_sheet import BANNER
from cleverdistiller.visualization.study_report.charts import draw_labels, draw_rankme
from cleverdistiller.visualization.study_report.orders import state_orders
from cleverdistiller.visualization.study_report.record import StudyRecord
from cleverdistiller.visualization.study_report.results import StudyResults
from cleverdistiller.visualization.study_report.tables import (
    PAPERS,
    csv_table,
    escape_markdown,
    latex_table,
    markdown_table,
)

PICTURES = {'rankme.png': 'RankMe against each score', 'labels.png': 'The share of labels against the score'}


def draw_study(record: StudyRecord, results: StudyResults) -> dict[str, bytes | None]:
    """Make every file; the same study gives the same bytes.

    Args:
        record (StudyRecord): Of the study.
        results (StudyResults): Its numbers.

    Returns:
        dict[str, bytes | None]: Name to content; None for a picture that has nothing to show.
    """
    pictures = {'rankme.png': draw_rankme(record, results), 'labels.png': draw_labels(record, results)}
    shown = [name for name, picture in pictures.items() if picture]
    texts = {
        'table.md': markdown_page(record, results, shown),
        'table.tex': latex_table(record, results),
        'table.csv': csv_table(record, results),
    }
    return {name: text.encode() for name, text in texts.items()} | pictures


def markdown_page(record: StudyRecord, results: StudyResults, pictures: list[str]) -> str:
    """The table, what it shows, and whether the orders hold.

    Args:
        record (StudyRecord): Of the study.
        results (StudyResults): Its numbers.
        pictures (list[str]): Names of the pictures that lie beside it.

    Returns:
        str: Markdown.
    """
    percents = [escape_markdown(column.title) for column in record.columns if column.unit]
    papers = any(method.paper for method in record.methods)
    seeds = ', '.join(map(str, record.seeds))
    says = [
        f'Mean ± standard deviation (n - 1) over the seeds {seeds}.' if len(record.seeds) > 1 else f'Seed {seeds}.',
        *([f'In per cent: {", ".join(percents)}.'] if percents else []),
        'Bold: the best mean of a column.',
        *([f'{PAPERS.capitalize()}: as the paper prints it, of its own data.'] if papers else []),
    ]
    parts = [
        *([f'**{BANNER}**'] if results.simulated else []),
        f'# {escape_markdown(record.title)}',
        ' '.join(says),
        f'```bash\n{record.command}\n```',
        markdown_table(record, results).rstrip(),
        state_orders(record, results).rstrip(),
        *(f'![{PICTURES[name]}]({name})' for name in pictures),
    ]
    return '\n\n'.join(part for part in parts if part) + '\n'
