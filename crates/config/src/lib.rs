//! The shape, defaults and validation of config.yaml and of the organizations file.
