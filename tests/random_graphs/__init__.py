"""Random small networks made from the operator table, through the command itself."""
