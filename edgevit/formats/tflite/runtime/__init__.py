"""Reading and running TFLite files; shares no code with the writer."""
