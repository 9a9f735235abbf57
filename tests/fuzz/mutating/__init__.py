"""Ways to make a sound file lie."""
