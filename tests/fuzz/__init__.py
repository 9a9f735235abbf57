"""Files that lie, by the hundred thousand, read as commands read them.

python -m tests.fuzz --cases 100000 --out FOLDER

A case is a sound file that was changed, by its format's structure or at random; its reader and its
number make it, always the same. A reader may read it, or refuse it in one line. Anything else is a
find, which is kept in the folder.
"""
