"""Pictures and frames in, frames out."""
