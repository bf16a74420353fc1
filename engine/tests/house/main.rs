//! The rules of the house, as tests. What the compiler and clippy can refuse themselves is left to them. Each rule is a pure function from
//! code to complaints. Its test holds the tree to it and, first, shows that the rule finds what it is there to find: a rule that can't
//! fail proves nothing.

mod arrows;
mod circles;
mod code;
mod dependencies;
mod errors;
mod imports;
mod modules;
mod names;
mod publish;
mod rooms;
mod screen;
mod threads;
mod tidy;
mod tree;
mod unified;
