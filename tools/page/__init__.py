"""What serves tools/webui.py: the page, its queue, its limits and its files."""
