//! Hubbleflow: the job, its cluster and its command line.

pub mod s3_server;
