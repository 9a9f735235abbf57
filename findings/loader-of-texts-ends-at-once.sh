#!/bin/sh
# A DataLoader whose samples hold no array gives no batch at all, and no error.
#
# Expected: six samples in batches of two make three batches, whatever the samples are; lists of texts
# come out where texts go in, as they do beside arrays.
# Happens: the epoch is over before its first batch, as if the dataset were empty. A first pass over
# names or captions alone counts nothing, quietly; with an array in each sample all is well.
# Seen with: PaddlePaddle 3.3.1, num_workers=0.
# Way out: put a number, such as the index, into each sample.

set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check \
    paddlepaddle==3.3.1 numpy==2.2.6
cd "$folder"
"$folder/venv/bin/python" -W ignore - <<'END'
from paddle.io import DataLoader, Dataset


class Samples(Dataset):
    def __init__(self, make):
        self.make = make

    def __len__(self):
        return 6

    def __getitem__(self, index):
        return self.make(index)


kinds = {
    'texts': lambda index: f'name {index}',
    'dicts of texts': lambda index: {'name': f'name {index}'},
    'texts and numbers': lambda index: {'name': f'name {index}', 'index': index},
}
found = {}
for kind, make in kinds.items():
    loader = DataLoader(Samples(make), batch_size=2)
    found[kind] = sum(1 for _ in loader)
    print(f'{kind:18} {found[kind]} batches of {len(loader)}')
assert list(found.values()) == [0, 0, 3], 'this has changed'
END
