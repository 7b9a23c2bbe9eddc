"""Whether budgets hold: `python -m benchmarks.budget_exactness`.

`generator.py` is the provider: it generates tokens one by one, and its own count of them is the truth. `tenants.py` are
the clients, `fleet.py` the gateway as it is installed: three workers, PostgreSQL, Redis, real Envoy. `charge_after.py`
is the naive gateway, for comparison.
"""
