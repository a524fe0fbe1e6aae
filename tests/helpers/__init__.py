"""What tests of several rooms share and import by name."""
