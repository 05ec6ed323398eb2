from .running import serve_cases as serve_cases
from .uploads import Limits as Limits
