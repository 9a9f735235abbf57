#!/bin/sh
# Gradio writes a .pyi file beside a module of yours, and type checkers believe it.
#
# Expected: importing a module that subclasses a component of Gradio reads files and writes none.
# Happens: the metaclass of components writes MODULE.pyi beside MODULE.py, with a copy of the class as
# it is at that import. A type checker takes a .pyi in place of the source: what is added to the module
# afterwards is unknown to it until the module is imported again, and a line that is right is an error.
# Seen with: gradio 6.31.0, mypy 2.4.1.
# Way out: build components by functions instead of subclasses; or ignore and exclude *.pyi.

set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check gradio==6.31.0 mypy==2.4.1
mkdir "$folder/work"
cd "$folder/work"
cat > boxes.py <<'END'
import gradio


class Box(gradio.Textbox):
    def shown(self) -> str:
        return 'shown'


def make_box() -> Box:
    return Box()
END
cat > page.py <<'END'
import boxes

print(boxes.make_box().shown())
END
check() { "$folder/venv/bin/python" -m mypy --ignore-missing-imports --follow-imports=silent page.py || true; }

check > before.txt
echo "files before the import: $(ls *.py* | tr '\n' ' ')"
PYTHONDONTWRITEBYTECODE=1 "$folder/venv/bin/python" page.py > shown.txt
echo "files after it: $(ls *.py* | tr '\n' ' ')"
printf '\n    def added(self) -> str:\n        return self.shown()\n' > method.txt
sed -i -e '/return .shown./r method.txt' boxes.py
echo 'print(boxes.make_box().added())' >> page.py
check > after.txt
echo "mypy before: $(tail -n 1 before.txt)"
echo "mypy, with a method more that is there and is called: $(head -n 1 after.txt)"
echo "Python: $(PYTHONDONTWRITEBYTECODE=1 "$folder/venv/bin/python" page.py | tail -n 1)"
grep -q 'Success' before.txt && grep -q 'has no attribute "added"' after.txt \
    || { echo 'this has changed' >&2; exit 1; }
