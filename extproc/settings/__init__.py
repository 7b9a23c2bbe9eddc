"""From `config.yaml` to one frozen `Settings`.

`model.py` says what the program may know; `schema.py` what a file may say (LiteLLM's `config.yaml`); `document.py`
reads YAML and remembers where everything stood, so that an error can name line and column; `load.py` joins them.
"""

from extproc.settings.load import load as load
from extproc.settings.model import Layout as Layout
from extproc.settings.model import Settings as Settings
