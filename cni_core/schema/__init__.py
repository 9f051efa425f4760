"""What configurations are accepted: the JSON Schemas, and the code that is generated from them at freeze time."""
