"""What TEST_MODE and tools/parity.py record and compare."""
