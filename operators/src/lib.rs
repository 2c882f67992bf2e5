//! The steps of the dataflow: read, validate, infer, write, commit.
