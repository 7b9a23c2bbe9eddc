"""The two messages of the ext_proc protocol as C classes, derived once, when the program starts."""

from __future__ import annotations

from typing import Any

from envoy_data_plane.envoy.service.ext_proc import v3

from extproc.codec.schema import derive

# What the derived classes hold is known to protobuf only, so they are Any to the type checker.
ProcessingRequest: Any
ProcessingResponse: Any
ProcessingRequest, ProcessingResponse = derive(v3.ProcessingRequest, v3.ProcessingResponse)
