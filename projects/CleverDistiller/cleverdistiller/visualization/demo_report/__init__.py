from cleverdistiller.visualization.demo_report.page import demo_page
from cleverdistiller.visualization.demo_report.record import DemoRecord
from cleverdistiller.visualization.demo_report.results import demo_numbers, read_results
from cleverdistiller.visualization.demo_report.summary import summarise

__all__ = ['DemoRecord', 'demo_numbers', 'demo_page', 'read_results', 'summarise']
