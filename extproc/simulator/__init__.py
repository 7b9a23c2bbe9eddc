"""The simulated provider: OpenAI's chat completions, completions and embeddings, Anthropic's messages, and no model.

For trying the gateway out and for tests. Whatever can be told apart says that it is simulated: the text, the system
fingerprint, the `server` header. The rest is as OpenAI and Anthropic do it: ids, chunks, usage with its details,
pacing, limits on the length, errors. Answers depend on the request alone, so that the same question has the same answer
and usage.

A *token* here is a word or a piece of one, six letters at most; that is near enough to the real ones to be plausible.

`questions` (what may be asked), `answers` (what is said), `forms` (how it is sent), `api` (the endpoints), `messages`
(all of Anthropic's), `serving`.
"""

from extproc.simulator.answers import tokenize as tokenize
from extproc.simulator.api import create_app as create_app
from extproc.simulator.forms import Pace as Pace
from extproc.simulator.serving import serve as serve
