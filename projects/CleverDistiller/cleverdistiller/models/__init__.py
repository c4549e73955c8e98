from cleverdistiller.models import distillers, heads, losses, students, teachers
from cleverdistiller.models.data_preprocessor import DistillationDataPreprocessor

__all__ = ['DistillationDataPreprocessor', 'distillers', 'heads', 'losses', 'students', 'teachers']
