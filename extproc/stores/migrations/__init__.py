"""The history of the schema: one numbered script per step, forward only, packaged with the program.

A step that has been released is never edited; the next one mends it. `sql_database.upgrade` runs them when a store is
opened, inside one transaction that keeps every other process out.
"""
