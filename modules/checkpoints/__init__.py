"""Every format of weights that is read and written, their names, and downloads."""
