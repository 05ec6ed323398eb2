from .files import is_free as is_free
from .files import replace_text as replace_text
from .location import Place as Place
from .location import digest as digest
from .location import fetch_verified as fetch_verified
from .location import place as place
from .location import remove_folder as remove_folder
from .remote import RemotePath as RemotePath
