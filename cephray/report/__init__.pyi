from .adaptation import write_adaptation_report as write_adaptation_report
from .evaluation import write_report as write_report
from .installation import collect as collect
from .installation import format_info as format_info
from .page import fill as fill
from .page import png_uri as png_uri
