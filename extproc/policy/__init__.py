"""Every yes or no, as pure functions over frozen values. Nothing here awaits, logs or reads a clock."""
