//! The store in the simulator: stories, catching up by the byte, and swarms of faults with an
//! oracle that is shown to bite.

mod catch_up;
mod cluster;
mod leaks;
mod looking;
mod mutants;
mod oracle;
mod slow_host;
mod stories;
mod suite;
mod swarm;
