"""`shiftcast estimate`: one model, two files, an answer."""
