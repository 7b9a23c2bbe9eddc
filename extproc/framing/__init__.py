"""Bytes into documents and events, and back: nothing here knows what they mean."""
