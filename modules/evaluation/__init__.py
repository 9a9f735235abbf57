"""How good reconstructions are: what tools/evaluate.py and validation in training share."""
