"""`extproc up`: Envoy, the processor and, to try things, a simulated provider, started and looked after by one process.

Before anything starts: `layout` (where things are), `private_files`, `lock`, `certificates`, `master_key`, `ports`,
`envoy` (binary and command line), `plan` (what will run). While things run: `children` (start, wait, start again),
`launch` (nothing outlives the supervisor), `http_probe` with `readiness` and `draining`, `up` (the order of it all),
`first_steps` (what to try), `screen` (what a person sees of the logs).

Nothing here sees a request, at most its line in a log. What goes wrong for the operator is a `ConfigError` with one
sentence; what goes wrong with a child is a sentence on stderr and another start.
"""
