//! The ledger on a real disk: what is promised, and what happens when the disk does not keep its promises.

mod append;
mod damage;
mod faults;
mod kill;
mod read;
mod recovery;
mod support;
