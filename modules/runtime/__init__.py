"""What every command rests on: errors, files written whole, process set-up, memory, seeds."""
