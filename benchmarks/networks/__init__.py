"""The pretrained networks of the data folder, compressed through the command line and measured."""
