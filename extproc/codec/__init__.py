"""The only floor that knows protobuf: Envoy's messages in, frozen events out; frozen replies in, bytes out.

envoy-data-plane (on betterproto2, the living `betterproto`) is the schema. Its pure-Python codec costs 280 µs where
Google's C one costs 1 µs, so `schema.py` derives C message classes from it when the program starts, and `wire.py` reads
with those. `answers.py` writes, mostly by hand, which is faster still.
"""

from extproc.codec.answers import encode as encode
from extproc.codec.messages import ProcessingRequest as ProcessingRequest
from extproc.codec.messages import ProcessingResponse as ProcessingResponse
from extproc.codec.wire import FILTER as FILTER
from extproc.codec.wire import METHOD as METHOD
from extproc.codec.wire import SERVICE as SERVICE
from extproc.codec.wire import decode as decode
