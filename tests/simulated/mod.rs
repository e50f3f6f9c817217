//! The program as a process in simulated worlds: what goes wrong in the procedure, whatever engine and servers there
//! are. What is a matter of real containers, servers and playbooks is in `tests/procedure`.

mod chains;
mod faults;
mod plan;
mod site;
mod world;
