"""The rules by which rows and objects are removed."""
