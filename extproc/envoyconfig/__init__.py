"""From settings to the bootstrap that Envoy is started with. Pure: values in, a JSON-able document out.

Built of envoy-data-plane's types, so that a misspelt field is a type error here and not a surprise in Envoy. One file
per part of the bootstrap: `listeners` (sockets, TLS, edge hygiene), `processor_filter` (ext_proc), `routes` (who serves
which path), `clusters` (who is behind a name), `replies` (what Envoy says itself), `access_log`. Nothing may be read or
written here, certificates included: the document only names files.

The subtle thing is that everything must fail closed without this program's help. A request reaches a provider only by a
header that clients cannot send and the processor sets; without it the same path answers 503.
"""

from extproc.envoyconfig.bootstrap import render as render
