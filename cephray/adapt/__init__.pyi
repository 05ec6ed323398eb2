from .adaptation import FEWEST_FILMS as FEWEST_FILMS
from .adaptation import Adaptation as Adaptation
from .adaptation import adapt as adapt
from .adaptation import write_adapted as write_adapted
from .figures import Figures as Figures
from .figures import figures_of as figures_of
from .text import adaptation_json as adaptation_json
from .text import format_adaptation as format_adaptation
