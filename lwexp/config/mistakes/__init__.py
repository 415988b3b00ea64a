"""What is wrong in a command line or a YAML file, said in one line with the fix."""
