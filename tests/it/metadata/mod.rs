//! The metadata service: settings, the process alone and next to a relay, reload, and what it
//! answers.

mod alone;
mod commands;
mod discovery;
mod process;
mod reload;
mod settings;
mod stages;
mod tls;
mod world;
