from .overlay import crop_around as crop_around
from .overlay import draw_overlay as draw_overlay
from .overlay import encode_jpeg as encode_jpeg
from .overlay import save_picture as save_picture
from .plots import draw_agreement as draw_agreement
from .plots import draw_history as draw_history
from .plots import draw_offsets as draw_offsets
from .plots import draw_success as draw_success
