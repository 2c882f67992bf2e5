//! What Hubbleflow promises, tested on the real program: a module a promise.
#![allow(clippy::unwrap_used)]
mod again_and_again;
mod bundled;
mod chaos;
mod command;
mod conformance;
mod current_view;
mod faulty_store;
mod full;
mod gate;
mod hangs;
mod imports;
mod metrics;
mod moto;
mod one_door;
mod other_readers;
mod report;
mod same_answer;
mod survey;
mod training;
mod two_runs;
mod watching;
mod what_goes_wrong;
