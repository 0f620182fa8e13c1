"""The admin port: what it tells, who may ask, and how it is served."""
