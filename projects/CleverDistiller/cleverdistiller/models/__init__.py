from cleverdistiller.models import data_preprocessors, distillers, heads, losses, students, teachers

__all__ = ['data_preprocessors', 'distillers', 'heads', 'losses', 'students', 'teachers']
