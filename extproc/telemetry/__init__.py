"""What can be seen from outside: metrics and log lines, made from outcomes. Never a body, never a key."""
