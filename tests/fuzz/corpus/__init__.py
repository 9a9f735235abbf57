"""Sound files, made by code, from which cases are made."""
