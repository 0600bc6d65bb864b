"""Pure functions over Arrow and NumPy. No Beam, no files, no clock."""
