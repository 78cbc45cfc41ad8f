"""Pretrained networks inside public packages, through the command line."""
