//! The rules of the house, as tests. Each rule is a pure function from text to complaints. Its test holds the tree to it and,
//! first, shows that the rule finds what it is there to find: a rule that can't fail proves nothing.

mod circles;
mod dependencies;
mod imports;
mod mask;
mod modules;
mod rooms;
mod screen;
mod tidy;
mod tree;
