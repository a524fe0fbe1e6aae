"""From a float Keras model to a file. Each exporter is a row of EXPORTERS."""
