//! The metadata service: settings, the process alone, and what it answers.

mod alone;
mod settings;
mod world;
