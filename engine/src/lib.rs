//! Hubbleflow: the job, its cluster and its command line.

pub mod sample;
