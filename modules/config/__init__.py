"""Configs: their schema, how they are read, and what is checked."""

from modules.config.loading import check_config, load_config

__all__ = ['check_config', 'load_config']
