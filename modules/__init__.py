"""The First Order Motion Model on PaddlePaddle: networks, losses, configuration and files."""
