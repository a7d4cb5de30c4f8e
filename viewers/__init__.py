"""Viewers of result folders."""
