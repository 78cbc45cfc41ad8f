"""The commands of the program, a module each: options in, tables out."""
