from cleverdistiller.visualization.study_report.files import draw_study
from cleverdistiller.visualization.study_report.record import StudyRecord
from cleverdistiller.visualization.study_report.results import StudyResults, read_cells

__all__ = ['StudyRecord', 'StudyResults', 'draw_study', 'read_cells']
