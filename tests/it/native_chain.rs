//! The whole chain of `--source native`: a simulated API server over real HTTP, the relay, a
//! mock reducer. What the reducer knows is compared with what the API server itself says.

mod access;
mod accounts;
mod alone;
mod bad_input;
mod churn;
mod denied;
mod end;
mod kinds;
mod relist;
mod world;
mod zoo;
